"""Pictures of what speaks for a class: of a run's own validation pictures in its folder, or of any in another."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
from PIL import Image

from xfer.backend import Backend
from xfer.backends import pick_device
from xfer.data.given import Picture, read_given
from xfer.data.lists import Skipped
from xfer.errors import CheckpointError, DataError, expected
from xfer.multilabel import several
from xfer.plots import files as plots
from xfer.progress import Progress, silent
from xfer.results import layercam
from xfer.results.checkpoint import Checkpoint
from xfer.results.layercam import Explanation
from xfer.results.predict import to_predict
from xfer.results.predicted import read_predictions
from xfer.results.read import LOCK
from xfer.results.report import write_report
from xfer.scores.labels import log_losses
from xfer.system.files import replacing, write_json
from xfer.system.locks import locked
from xfer.system.outputs import read_record, refuse_foreign

RECORD, PAGE = "explained.json", "explained.png"
_SHOWN = 8
_BY_PICTURE = ("pictures", "classes", "probabilities", "maps")  # of an explanation, in its order
_END = 2  # parts of a path that tell files from each other


@dataclass(frozen=True)
class Explained:
    """Names of pictures and what speaks for a class in each, in order; and those that cannot be used."""

    files: tuple[str, ...]
    classes: tuple[str, ...]
    explanation: Explanation
    skipped: tuple[Skipped, ...] = ()


def explain(
    checkpoint: Checkpoint,
    pictures: Sequence[tuple[str, Picture]],
    backend: Backend,
    device: str = "auto",
    at: str | None = None,
    class_: str | None = None,
    progress: Progress = silent,
) -> Explained:
    """See `xfer.results.layercam.explain`; `class_`: in all pictures, if not the predicted one.

    Raises ConfigError for a boundary that no maps cross, and DataError where no picture can be used, or for a class
    that the checkpoint does not know.
    """
    if class_ is not None and class_ not in checkpoint.classes:
        raise DataError(expected("class", class_, checkpoint.classes))
    label = None if class_ is None else checkpoint.classes.index(class_)
    net = checkpoint.net(backend, pick_device(backend, device))
    layercam.choose_place(net, at)
    names, skipped, parts = list[str](), list[Skipped](), list[Explanation]()
    with closing(read_given(pictures, checkpoint.transforms)) as results:
        read = iter(zip((name for name, _ in pictures), results, strict=True))
        while batch := list(islice(read, net.predict_batch())):
            skipped += [result for _, result in batch if isinstance(result, Skipped)]
            usable = [(name, result) for name, result in batch if not isinstance(result, Skipped)]
            if usable:
                names += [name for name, _ in usable]
                pixels = np.stack([picture for _, picture in usable])
                many = checkpoint.thresholds is not None
                parts.append(layercam.explain(net, pixels, [label] * len(usable), at, many))
            progress("explaining", len(names) + len(skipped), len(pictures))
    if not parts:
        raise DataError(f"{skipped[0].path}: {skipped[0].reason}")
    together = Explanation(
        parts[0].boundary,
        *(np.concatenate([getattr(part, key) for part in parts]) for key in _BY_PICTURE),
    )
    return Explained(tuple(names), checkpoint.classes, together, tuple(skipped))


def most_wrong(run: Path) -> list[tuple[str, Picture]]:
    """The validation pictures of a finished run whose own class is the least probable. Raises CheckpointError.

    Of any number of labels those with the highest binary cross-entropy.
    """
    file = run / "predictions.csv"
    try:
        rows = read_predictions(file)
    except (OSError, ValueError, csv.Error) as error:
        raise CheckpointError(f"{file}: cannot be read ({error}). Cure: name pictures") from error
    if several(rows.labels):
        chances = -log_losses(rows.labels, rows.probabilities)
    else:
        chances = np.take_along_axis(rows.probabilities, rows.labels[:, None], axis=1)[:, 0]
    return to_predict([rows.files[i] for i in np.argsort(chances, kind="stable")[:_SHOWN]])


def into_report(run: Path, explained: Explained) -> Path:
    """Draw into the run's folder and its report; gives the picture."""
    file = run / "plots" / PAGE
    with locked(run / LOCK):
        _draw(file, explained)
        with plots.attempt(run / "report.html"):
            write_report(run)
    return file


def refuse_others(folder: Path, overwrite: bool) -> None:
    """Raises CheckpointError for a folder that holds what is of no explanation, see `refuse_foreign`."""
    own = read_record(folder / RECORD)
    refuse_foreign(folder, "explanation", (RECORD, PAGE), {"boundary", "pictures"} <= own.keys(), overwrite)


def save(folder: Path, explained: Explained) -> list[Path]:
    """Write a page of the first pictures, each picture with its map over it, and what they show as JSON.

    Gives the page and the JSON. Raises CheckpointError where it cannot be written.
    """
    from xfer.plots.overlay import overlaid

    e, rows, digits = explained.explanation, list[dict[str, object]](), len(str(len(explained.files)))
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for i, file in enumerate(explained.files):
            name = f"{i + 1:0{digits}d}.png"
            with replacing(folder / name) as written:
                Image.fromarray(overlaid(e.pictures[i], e.maps[i])).save(written, "PNG")
            own = {"class": explained.classes[e.classes[i]], "probability": float(e.probabilities[i, e.classes[i]])}
            rows.append({"file": file, "picture": name, **own})
        _draw(folder / PAGE, explained)
        write_json(folder / RECORD, {"boundary": e.boundary, "pictures": rows})
    except OSError as error:
        raise CheckpointError(f"{folder}: cannot be written ({error}). Cure: another --output") from error
    return [folder / PAGE, folder / RECORD]


def _draw(file: Path, explained: Explained) -> None:
    e = explained.explanation
    names = ["/".join(Path(name).parts[-_END:]) for name in explained.files]
    with plots.attempt(file):
        file.parent.mkdir(parents=True, exist_ok=True)
        plots.plot_explained(file, e.pictures, e.maps, e.classes, e.probabilities, explained.classes, names, e.boundary)
