"""The `xfer` command, as a script and as `python -m xfer`."""

import atexit
import os
import sys
from typing import NoReturn

from xfer.cli import main


def run() -> None:
    try:
        main()
    except SystemExit as stop:
        leave(stop.code if isinstance(stop.code, int) else int(stop.code is not None))


def leave(code: int) -> NoReturn:
    """End the process as `sys.exit` does, but leave its memory to the system.

    Taking apart, one by one, the 300,000 objects that a framework consists of takes 0.7 s, and nobody waits for it.
    """
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os._exit(code)


if __name__ == "__main__":
    run()
