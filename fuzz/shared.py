"""A finished run and one that stopped, of a tiny network: what the doors of run folders start from."""

from __future__ import annotations

import tempfile
from functools import cache
from pathlib import Path
from signal import SIGINT

import xfer
import xfer.training.gallery
from xfer.system.interrupts import Interrupted
from xfer.testing.numpy_backend import NumpyBackend
from xfer.testing.pictures import write_class_folders

_KEPT = tempfile.TemporaryDirectory(prefix="xfer-fuzz-runs-")


@cache
def root() -> Path:
    """The folder of `run` and `stopped`, as long as the process lives."""
    place = Path(_KEPT.name)
    data = write_class_folders(place / "pictures", counts=(3, 2))
    overrides = {"data": str(data), "arch": "tiny", "weights": "random", "size": 32, "train_from": "layer1"}
    drawing, xfer.training.gallery.draw = xfer.training.gallery.draw, lambda *_: None  # importing matplotlib takes long
    try:
        xfer.train(None, NumpyBackend(), output=place / "run", epochs=2, batch_size=4, **overrides)
        xfer.train(
            None, NumpyBackend(), output=place / "stopped", epochs=3, batch_size=2, checkpoint_every=1e-9,
            progress=_stop, **overrides,
        )  # fmt: skip
    except Interrupted:
        pass
    finally:
        xfer.training.gallery.draw = drawing
    return place


def _stop(what: str, done: int, total: int | None) -> None:
    if what == "epoch 2" and done >= 1:
        raise Interrupted(SIGINT, between=True)
