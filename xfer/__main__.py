"""The `xfer` command, as a script and as `python -m xfer`."""

import atexit
import os
import sys
from contextlib import suppress
from typing import NoReturn

from xfer.cli.main import main
from xfer.display import warned
from xfer.system import own_process


def run() -> None:
    own_process.begin()
    warned.show_in_lines()
    code: object = 0
    try:
        main()
    except SystemExit as stop:
        code = stop.code
    leave(code if isinstance(code, int) else int(code is not None))


def leave(code: int) -> NoReturn:
    """End the process with its exit functions run and all that was said written, and leave its memory to the system.

    Taking apart, one by one, the 300,000 objects that a framework consists of takes 0.7 s, which the commands, whose
    files are closed and whose threads have ended by now, need not wait for.
    """
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with suppress(AttributeError, OSError, ValueError):  # there is none, it is closed, or its disk is full
            stream.flush()
    os._exit(code)


if __name__ == "__main__":
    run()
