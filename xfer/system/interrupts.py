"""Signals that ask a run to end: answered at once, or, in training, where the work next says how far it is."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from xfer.progress import Progress


class Interrupted(KeyboardInterrupt):
    """A signal asked the run to end.

    number    of the signal; the exit code for it is 128 + number
    between   raised between two steps, when model and optimizer are whole; not in the midst of whatever was going on
    run       the folder in which the run can go on, if there is one by now
    """

    def __init__(self, number: int, between: bool = False, run: Path | None = None) -> None:
        super().__init__(f"interrupted by signal {number}")
        self.number, self.between, self.run = number, between, run


class Interrupts:
    """What has been asked of this process since `caught`. One that nobody listens with never interrupts anything."""

    def __init__(self) -> None:
        self.asked: int | None = None
        self.held = False

    @contextmanager
    def hold(self) -> Iterator[None]:
        """In here the first signal only leaves word; `watched` progress raises it. A second one is answered at once."""
        self.held = True
        try:
            yield
        finally:
            self.held = False

    def handle(self, number: int, frame: FrameType | None) -> None:
        again, self.asked = self.asked is not None, number
        if again or not self.held:
            raise Interrupted(number)

    def watched(self, progress: Progress) -> Progress:
        """The same progress, which also raises Interrupted once that was asked for."""

        def show(what: str, done: int, total: int | None) -> None:
            progress(what, done, total)
            if self.asked is not None:
                raise Interrupted(self.asked, between=True)

        return show


@contextmanager
def caught(numbers: Sequence[int]) -> Iterator[Interrupts]:
    """Listen to these signals, and leave their handlers as they were.

    Only those that nobody else has taken or silenced, and only in the main thread, where alone Python allows it.
    """
    interrupts = Interrupts()
    main = threading.current_thread() is threading.main_thread()
    usual = (signal.SIG_DFL, signal.default_int_handler)
    before = {n: old for n in numbers if main and (old := signal.getsignal(n)) in usual}
    try:
        for number in before:
            signal.signal(number, interrupts.handle)
        yield interrupts
    finally:
        for number, old in before.items():
            signal.signal(number, old)
