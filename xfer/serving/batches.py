"""Pictures of many requests at once, in batches: one thread has the model, and takes whatever waits."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from queue import Empty, Queue

import numpy as np

from xfer.arrays import Float32, Pixels
from xfer.results.predict import Predictor

WAITING = 256
"""Pictures that may wait, or four batches: whoever sends more is better told at once."""


@dataclass
class Batches:
    """`make` is called in the thread that has the model: a framework may keep what it made to the thread that made it.

    most   pictures of a batch
    ready  set when the model is there, or when `failed` says why it never will be
    """

    make: Callable[[], Predictor]
    most: int
    ready: threading.Event = field(default_factory=threading.Event)
    failed: BaseException | None = None
    sizes: list[int] = field(default_factory=list)
    _waiting: Queue[tuple[Pixels, Future[Float32]] | None] = field(init=False)
    _thread: threading.Thread = field(init=False)

    def __post_init__(self) -> None:
        self._waiting = Queue(max(WAITING, 4 * self.most))
        self._thread = threading.Thread(target=self._run, daemon=True, name="xfer-model")
        self._thread.start()

    @property
    def alive(self) -> bool:
        """Whether the model is there, and the thread that has it."""
        return self.ready.is_set() and self.failed is None and self._thread.is_alive()

    def submit(self, pixels: Pixels) -> Future[Float32]:
        """Class probabilities (C,) of one picture. Raises queue.Full where too many wait."""
        result: Future[Float32] = Future()
        self._waiting.put_nowait((pixels, result))
        return result

    def close(self) -> None:
        """End behind what waits."""
        self._waiting.put(None)
        self._thread.join()

    def _run(self) -> None:
        try:
            predictor = self.make()
        except BaseException as error:
            self.failed = error
            self.ready.set()
            return
        self.ready.set()
        most = 1 if predictor.whole else self.most  # whole pictures are of any size
        while (first := self._waiting.get()) is not None:
            batch, ended = [first], False
            while len(batch) < most and not ended:
                try:
                    more = self._waiting.get_nowait()
                except Empty:
                    break
                if more is None:
                    ended = True
                else:
                    batch.append(more)
            self._answer(predictor, [pair for pair in batch if pair[1].set_running_or_notify_cancel()])
            if ended:
                return

    def _answer(self, predictor: Predictor, batch: list[tuple[Pixels, Future[Float32]]]) -> None:
        if not batch:  # nobody waits any more
            return
        try:
            rows = predictor.shares(predictor.step(np.stack([pixels for pixels, _ in batch])))
        except Exception as error:
            for _, result in batch:
                result.set_exception(error)
            return
        self.sizes.append(len(batch))
        for row, (_, result) in zip(rows, batch, strict=True):
            result.set_result(row)
