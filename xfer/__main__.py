"""The `xfer` command, as a script and as `python -m xfer`."""

import atexit
import gc

from xfer.cli import main


def run() -> None:
    # At its end the interpreter looks for garbage among all objects, and a framework has some 300,000 of them. That
    # took 0.7 s of each command; what is frozen is not looked at, and goes with the process.
    atexit.register(gc.freeze)
    main()


if __name__ == "__main__":
    run()
