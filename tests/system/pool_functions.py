"""What the processes of test_worker_pool.py do; they import it by this name, and run it."""

import os
import signal
import sys
import time
from dataclasses import dataclass

from xfer.errors import DataError
from xfer.system.worker_loop import serve


class OddError(Exception):
    """One that can be pickled and not be read again."""

    def __init__(self, a, b):
        super().__init__(f"{a} and {b}")


@dataclass(frozen=True)
class Do:
    """An item is a word and a number: the result is ten times the number, unless the word says otherwise."""

    seconds: float = 0.0
    log: str = ""  # a file that gets a byte for each item

    def __call__(self, item):
        word, number = item
        if self.log:
            with open(self.log, "ab") as file:
                file.write(b".")
        time.sleep(self.seconds)
        if word == "fail":
            raise DataError(f"item {number}")
        if word == "odd":
            raise OddError(number, number)
        if word == "die":
            os.kill(os.getpid(), signal.SIGKILL)
        if word == "pid":
            return os.getpid()
        if word == "stay":
            time.sleep(60)
        return (bytes([number]) * 4, 10 * number) if word == "room" else 10 * number

    def name_of(self, item):
        return f"item {item[1]}"


if __name__ == "__main__":
    serve(*map(int, sys.argv[1:6]))
