"""A process that reads pictures for another: it knows files and pixels, and no framework.

`python -m xfer.pixels.worker WORK ANSWERS BOARD NUMBER COUNT FILES TURN DECODED TURN SETTINGS`: descriptors but for
the numbers of this process and of all, and the numbers that `xfer.pixels.bounds.settings` gives.
"""

from __future__ import annotations

import sys

from xfer.pixels import bounds, reading  # noqa: F401 - what is read with is imported before anything is asked for
from xfer.system import own_process
from xfer.system.shared import SharedBudget
from xfer.system.worker_loop import serve


def main(work: int, answers: int, board: int, number: int, count: int, *rest: int) -> None:
    own_process.begin()
    bounds.take_settings(rest[4:])
    bounds.share_budgets(SharedBudget(*rest[:2]), SharedBudget(*rest[2:4]))
    serve(work, answers, board, number, count)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
