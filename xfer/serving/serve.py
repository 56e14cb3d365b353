"""Serving a run, a checkpoint or an ONNX model, until somebody ends it."""

from __future__ import annotations

import logging
import socket
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from xfer.backends import load_backend, pick_device
from xfer.errors import ConfigError, refuse_outside
from xfer.export.packages import package
from xfer.export.runtime import SUFFIX, open_onnx
from xfer.nets.net import PREDICT_BATCH
from xfer.results.checkpoint import load_checkpoint
from xfer.results.predict import Predictor
from xfer.serving.batches import Batches
from xfer.system.limits import limit

MOST_BATCH = 4096
TIMEOUT = 30.0  # seconds for a request to come
AT_ONCE = 128  # connections; more are told to come again


@dataclass(frozen=True)
class Served:
    """`make` gives the predictor, in whatever thread computes; the rest is known before."""

    name: str
    classes: tuple[str, ...]
    transforms: tuple[Any, ...]
    whole: bool
    thresholds: tuple[float, ...] | None
    make: Callable[[], Predictor]


def open_source(source: Path, backend: str | None, device: str) -> Served:
    """Raises XferError for what cannot be served, before any port is taken."""
    if source.suffix == SUFFIX:
        if backend is not None or device not in ("auto", "cpu"):
            raise ConfigError(f"{source} is run by onnxruntime, on the CPU. Cure: leave out --backend and --device")
        predictor = open_onnx(source).predictor
        classes, transforms, cuts = predictor.classes, predictor.transforms, predictor.thresholds
        return Served(source.name, classes, transforms, predictor.whole, cuts, lambda: predictor)
    checkpoint = load_checkpoint(source)
    used = load_backend(backend or checkpoint.backend)
    picked = pick_device(used, device)

    def make() -> Predictor:
        step = checkpoint.net(used, picked).predict_step()
        cuts = checkpoint.thresholds
        return Predictor(step, checkpoint.classes, checkpoint.transforms, checkpoint.name, thresholds=cuts)

    return Served(source.name, checkpoint.classes, checkpoint.transforms, False, checkpoint.thresholds, make)


def bind(host: str, port: int) -> socket.socket:
    """A socket that listens there; port 0 is one that is free. Raises ConfigError for one that cannot be had."""
    refuse_outside("port", port, 0, 65535)
    try:
        family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        listening = socket.socket(family, socket.SOCK_STREAM)
    except OSError as error:
        raise ConfigError(f"--host {host}: {error.strerror or error}. Cure: --host 127.0.0.1") from None
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(address)
        listening.listen(AT_ONCE)
    except OSError as error:
        listening.close()
        raise ConfigError(f"--port {port} on {host}: {error.strerror or error}. Cure: another --port, or 0") from None
    return listening


def serve(
    source: Path,
    *,
    host: str = "127.0.0.1",
    port: int = 8000,
    backend: str | None = None,
    device: str = "auto",
    batch: int = PREDICT_BATCH,
    max_upload: int | None = None,
    started: Callable[[str], None] = lambda url: None,
) -> None:
    """Answer requests until the process is told to end; `started` is called with the address when it is.

    max_upload   bytes of one request; None: the limit `upload`

    Raises AbsentError without the packages of the extra `serve`, and ConfigError for a port that is taken.
    """
    uvicorn = package("uvicorn", "serve")
    for needed in ("starlette", "python_multipart"):
        package(needed, "serve")
    from xfer.serving.app import Model, application

    refuse_outside("batch", batch, 1, MOST_BATCH)
    served = open_source(source, backend, device)
    listening = bind(host, port)
    batches = Batches(served.make, batch)
    batches.ready.wait()
    if batches.failed is not None:
        listening.close()
        raise batches.failed
    model = Model(served.name, served.classes, served.transforms, served.whole, batches, served.thresholds)
    app = application(model, limit("upload") if max_upload is None else max_upload, TIMEOUT)
    # What somebody else sends fills nobody's log: it is answered, and that is all.
    logging.getLogger("python_multipart").setLevel(logging.ERROR)
    options = {"log_level": "error", "access_log": False, "server_header": False, "limit_concurrency": AT_ONCE}
    shown = f"[{host}]" if ":" in host else host
    started(f"http://{shown}:{listening.getsockname()[1]}")
    uvicorn.Server(uvicorn.Config(app, **options)).run(sockets=[listening])
    batches.close()
