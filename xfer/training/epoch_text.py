"""An epoch in words: for the terminal, and for `log.txt`."""

from __future__ import annotations

from xfer.metrics import Epoch
from xfer.training.run import EpochEnd


def epoch_line(e: Epoch) -> str:
    mark = "  * best" if e.best else ""
    if e.val_map is not None:
        return (
            f"epoch {e.epoch:3d}  train loss {e.train_loss:.4f}  val loss {e.val_loss:.4f} mAP {e.val_map:.4f} "
            f"exact {e.val_exact_match:6.2%}  lr {e.lr:.2g}  {e.seconds:.1f} s{mark}"
        )
    return (
        f"epoch {e.epoch:3d}  train loss {e.train_loss:.4f} acc {e.train_accuracy:6.2%}  "
        f"val loss {e.val_loss:.4f} acc {e.val_accuracy:6.2%}  lr {e.lr:.2g}  {e.seconds:.1f} s{mark}"
    )


def epoch_lines(ended: EpochEnd) -> list[str]:
    """The epoch, and where its phase ends early, that."""
    return [epoch_line(ended.epoch), *([ended.note] if ended.note else [])]
