"""TensorBoard, by tensorboardX: event files in `tensorboard` in the run folder. It needs no framework.

Where torch is installed, tensorboardX imports it, whatever trains.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from PIL import Image
from tensorboardX import SummaryWriter

from xfer.tracking.logger import Started, figures, flat

FOLDER = "tensorboard"


class TensorBoard:
    """Figures by epoch, the recipe as a text, and at the end the pictures of the run.

    Of a run that goes on, what was logged of epochs that come again is taken back, as TensorBoard has it.
    """

    def __init__(self, started: Started) -> None:
        self.path, done = started.path, len(started.history)
        folder = started.path / FOLDER
        number = len(list(folder.glob("events.out.tfevents.*")))  # its names tell seconds apart, and no more
        purge = done + 1 if done else None
        self.writer = SummaryWriter(str(folder), purge_step=purge, filename_suffix=f".{number}")
        if not done:
            rows = "\n".join(f"| {key} | {value} |" for key, value in flat(started.recipe).items())
            self.writer.add_text("recipe", f"| key | value |\n|---|---|\n{rows}", 0)

    def epoch(self, record: Mapping[str, Any]) -> None:
        for key, value in figures(record).items():
            self.writer.add_scalar(key, value, record["epoch"])
        self.writer.flush()

    def end(self, result: Mapping[str, Any] | None) -> None:
        if result is not None:
            for file in sorted((self.path / "plots").glob("*.png")):
                with Image.open(file) as picture:
                    pixels = np.asarray(picture.convert("RGB"))
                self.writer.add_image(file.stem, pixels, result["epochs"], dataformats="HWC")
        self.writer.close()
