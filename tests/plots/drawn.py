"""What tests of pictures share: data to draw, and what is written in a figure."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text

from xfer.plots import files as plots
from xfer.plots.style import settings


def images(count: int, height: int = 8, width: int = 8) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, height, width, 3), dtype=np.uint8)


def epochs(count: int, phases: int = 1, **more: object) -> list[dict[str, object]]:
    return [
        {
            "epoch": e + 1,
            "phase": e * phases // count + 1,
            "train_loss": 2 / (e + 2),
            "train_accuracy": 1 - 1 / (e + 2),
            "val_loss": 2.2 / (e + 2),
            "val_accuracy": 1 - 1.1 / (e + 2),
            "lr": 0.1 ** (e * phases // count + 1),
            "seconds": 1.5,
            "best": e <= count // 2,
            **more,
        }
        for e in range(count)
    ]


def texts(figure: Figure) -> list[Text]:
    """The texts that end up in the picture: matplotlib also keeps some for ticks that it does not draw."""
    drawn: list[Text] = []
    draw = Text.draw

    def record(text: Text, *args: object, **more: object) -> None:
        if text.get_visible() and text.get_text():
            drawn.append(text)
        draw(text, *args, **more)

    with settings(), pytest.MonkeyPatch.context() as patch:
        patch.setattr(Text, "draw", record)
        figure.draw_without_rendering()
    return list(dict.fromkeys(drawn))


def assert_tidy(figure: Figure) -> None:
    """No text leaves the picture or touches another."""
    boxes = [(t, t.get_window_extent()) for t in texts(figure)]
    assert boxes
    for text, box in boxes:
        assert box.x0 >= -1, text
        assert box.y0 >= -1, text
        assert box.x1 <= figure.bbox.x1 + 1, text
        assert box.y1 <= figure.bbox.y1 + 1, text
    for (a, box_a), (b, box_b) in combinations(boxes, 2):
        width = min(box_a.x1, box_b.x1) - max(box_a.x0, box_b.x0)
        height = min(box_a.y1, box_b.y1) - max(box_a.y0, box_b.y0)
        assert width <= 1 or height <= 1, f"{a.get_text()!r} lies on {b.get_text()!r}"


def captions(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.axes[0].texts]


def write_all(folder: Path, classes: list[str]) -> None:
    """Every picture of a run."""
    count = 4
    labels = np.arange(count) % len(classes)
    guesses = np.roll(labels, 1)
    chances = np.full((count, len(classes)), 1 / len(classes), np.float32)
    plots.plot_samples(folder / "samples.png", images(count), labels, classes)
    plots.plot_curves(folder / "curves.png", epochs(3))
    plots.plot_confusion_matrix(folder / "confusion_matrix.png", labels, guesses, classes)
    plots.plot_predictions(folder / "predictions.png", images(count), labels, guesses, chances, classes)
    plots.plot_top_losses(folder / "top_losses.png", images(count), labels, guesses, np.ones(count), classes)
