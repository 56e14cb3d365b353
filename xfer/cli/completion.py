"""`xfer completion`."""

from __future__ import annotations

from typing import Any

import click

SHELLS = {
    "bash": 'eval "$(xfer completion bash)" in ~/.bashrc',
    "zsh": 'eval "$(xfer completion zsh)" in ~/.zshrc, below compinit',
    "fish": "xfer completion fish > ~/.config/fish/completions/xfer.fish",
}
"""Shell -> how the script is taken up."""


@click.command(
    "completion",
    help="A script with which a shell completes commands, options and names of files.\n\n"
    + " ".join(f"{shell}: {how}." for shell, how in SHELLS.items()),
)
@click.argument("shell", type=click.Choice([*SHELLS]))
@click.pass_context
def completion_(context: click.Context, shell: str) -> None:
    from click.shell_completion import ShellComplete, get_completion_class

    from xfer.cli import console

    kind: Any = get_completion_class(shell)
    # Not `source` of the class itself: bash's would ask the bash that is here for its version, and another may read it.
    script = ShellComplete.source(kind(context.find_root().command, {}, "xfer", "_XFER_COMPLETE"))
    console.say(*script.strip().split("\n"))
