"""What a comparison leaves in a folder: its numbers as JSON, and its pictures."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from xfer.comparison.compare import Comparison, Disagreement
from xfer.comparison.predicted import read_predicted
from xfer.data.loader import read_now
from xfer.data.split import Split
from xfer.errors import CheckpointError
from xfer.plots import files as plots
from xfer.results.predicted import chance
from xfer.results.run import Run
from xfer.system.files import write_json
from xfer.system.outputs import read_record, refuse_foreign

TILES = 16


def draw(comparison: Comparison, runs: Sequence[Run], folder: Path) -> list[Path]:
    """Draw what there is to draw, and give the files. What cannot be drawn is warned of, and left out."""
    curves, tiles = folder / "curves.png", folder / "disagreements.png"
    with plots.attempt(curves):
        plots.plot_comparison(curves, histories(runs), chance(read_predicted(runs[0].path).labels))
    tiles.unlink(missing_ok=True)  # of a comparison that lay here before
    present = [(image, file) for image in comparison.disagreements if (file := _file(image))][:TILES]
    if present:
        shown, files = zip(*present, strict=True)
        split = Split(files, np.zeros(len(files), np.int64))
        with plots.attempt(tiles):
            plots.plot_disagreements(
                tiles,
                read_now(split, runs[0].checkpoint.transforms, np.arange(len(files))),
                [image.label for image in shown],
                [image.predicted for image in shown],
                len(comparison.disagreements),
                [image.name for image in shown],
            )
    return [file for file in (curves, tiles) if file.exists()]


def histories(runs: Sequence[Run]) -> dict[str, list[dict[str, Any]]]:
    """The epochs of each run, by what it is called in figures."""
    return {f"run {i} ({run.result['backend']})": run.history for i, run in enumerate(runs, start=1)}


def _file(image: Disagreement) -> str | None:
    """Where the image lies on this machine, if it does."""
    return next((file for file in image.files if file is not None and Path(file).is_file()), None)


def save(comparison: Comparison, runs: Sequence[Run], folder: Path, overwrite: bool = False) -> list[Path]:
    """Write `compare.json`, `curves.png` and, where runs disagree, `disagreements.png`; gives what was written.

    Images that are no longer where any run read them are left out of the picture. Raises CheckpointError where the
    folder cannot be written, or holds what is of no comparison; see `refuse_foreign`.
    """
    own = {"runs", "settings", "pairs", "disagreements"} <= read_record(folder / "compare.json").keys()
    refuse_foreign(folder, "comparison", ("compare.json", "curves.png", "disagreements.png"), own, overwrite)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_json(folder / "compare.json", comparison.as_json())
        return [folder / "compare.json", *draw(comparison, runs, folder)]
    except OSError as error:
        raise CheckpointError(f"{folder}: cannot be written ({error}). Cure: another --output") from error
