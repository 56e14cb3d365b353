"""`xfer serve`: a run or an exported model behind HTTP."""

from __future__ import annotations

from pathlib import Path

import click

from xfer.cli.flags import Command
from xfer.cli.options import backend_option, device_option, quiet_option


@click.command(
    "serve",
    cls=Command,
    help="Classes of pictures by HTTP: a page to drop them on, and POST /predict.\n\n"
    "Of a run, a checkpoint or a model.onnx. It listens on this machine alone unless --host says otherwise, and asks "
    "nobody who he is. docs/export.md has its answers.",
)
@click.argument("source", metavar="RUN|CHECKPOINT", type=click.Path(path_type=Path))
@click.option("--host", default="127.0.0.1", show_default=True, metavar="ADDRESS", help="0.0.0.0: every network.")
@click.option("--port", type=int, default=8000, show_default=True, help="0: one that is free.")
@click.option("--batch", type=int, default=32, show_default=True, metavar="N", help="Pictures computed at once.")
@click.option("--max-upload", metavar="SIZE", help="Bytes of a request, or 20MB. Default: XFER_LIMIT_UPLOAD.")
@backend_option
@device_option
@quiet_option
def serve_(
    source: Path,
    host: str,
    port: int,
    batch: int,
    max_upload: str | None,
    backend: str | None,
    device: str,
    quiet: bool,
) -> None:
    from xfer.cli import console
    from xfer.serving.serve import serve
    from xfer.system.limits import parse_size

    def started(url: str) -> None:
        console.say(url if quiet else f"serving   {source} at {url}; Ctrl-C ends it")

    most = None if max_upload is None else parse_size("--max-upload", max_upload)
    serve(
        source,
        host=host,
        port=port,
        backend=backend,
        device=device,
        batch=batch,
        max_upload=most,
        started=started,
    )
