"""A process that reads pictures for another: it knows files and pixels, and no framework.

`python -m xfer.pixels.worker WORK ANSWERS BOARD NUMBER COUNT FILES TURN DECODED TURN`, descriptors but for two numbers.
"""

from __future__ import annotations

import sys

from xfer.pixels import bounds, reading  # noqa: F401 - what is read with is imported before anything is asked for
from xfer.system import own_process
from xfer.system.shared import SharedBudget
from xfer.system.worker_loop import serve


def main(work: int, answers: int, board: int, number: int, count: int, *budgets: int) -> None:
    own_process.begin()
    bounds.share_budgets(SharedBudget(*budgets[:2]), SharedBudget(*budgets[2:]))
    serve(work, answers, board, number, count)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
