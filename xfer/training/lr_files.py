"""What a learning-rate range test writes where a user named a folder: a record, a table and a picture."""

from __future__ import annotations

from pathlib import Path

from xfer.errors import CheckpointError
from xfer.plots import files as plots
from xfer.system.files import write_json, write_text
from xfer.system.outputs import read_record, refuse_foreign
from xfer.system.tables import csv_text
from xfer.training.lr_range import LrRange

FILES = ("lr_range.json", "lr_range.csv", "lr_range.png")


def claim(folder: Path, overwrite: bool = False) -> None:
    """Raises CheckpointError for a folder that holds what is of no range test; see `refuse_foreign`."""
    own = {"steepest", "valley", "rates", "smoothed"} <= read_record(folder / FILES[0]).keys()
    refuse_foreign(folder, "learning-rate range test", FILES, own, overwrite)


def write(found: LrRange, folder: Path) -> list[Path]:
    """The files. Raises CheckpointError where they cannot be written."""
    record, table, picture = (folder / name for name in FILES)
    suggestions = {"valley": found.valley, "steepest": found.steepest}
    rows = zip(found.rates.tolist(), found.losses.tolist(), found.smoothed.tolist(), strict=True)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_json(record, found.as_json())
        write_text(table, csv_text(("lr", "loss", "smoothed"), rows))
        with plots.attempt(picture):
            marked = {name: rate for name, rate in suggestions.items() if rate is not None}
            plots.plot_lr_range(picture, found.rates, found.losses, found.smoothed, marked)
    except OSError as error:
        raise CheckpointError(f"{folder}: cannot be written ({error}). Cure: another --output") from error
    return [file for file in (record, table, picture) if file.exists()]
