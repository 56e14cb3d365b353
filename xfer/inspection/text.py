"""What `xfer data check` says and writes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from xfer.data.leaks import FILE as LEAKS
from xfer.data.lists import write_leaks_csv, write_skipped_csv
from xfer.errors import DataError, Finding
from xfer.inspection.check import DataCheck
from xfer.inspection.findings import verdict
from xfer.multilabel import as_words, in_words, several
from xfer.plots.files import attempt, write_figure
from xfer.system.files import write_json
from xfer.system.outputs import read_record, refuse_foreign

MOST_CLASSES = 20
MOST_LISTED = 20


def as_record(c: DataCheck, findings: Sequence[Finding]) -> dict[str, Any]:
    """All of it but the pictures, as JSON has it. Of long lists the first 20."""
    height, width = (_spread(c.sizes[:, axis]) for axis in (0, 1))
    return {
        "name": c.name,
        "root": str(c.root),
        "verdict": verdict(findings),
        "findings": [{"level": f.level, "text": f.text, "cure": f.cure} for f in findings],
        "split_off": len(c.parts) == 1,
        "n_train": len(c.train.labels),
        "n_val": len(c.val.labels),
        "n_known": c.known,
        "test": None if c.test is None else str(c.test),
        "classes": [
            {"name": name, "train": int(n[0]), "val": int(n[1])} for name, n in zip(c.classes, c.counts, strict=True)
        ],
        "height": height,
        "width": width,
        "kinds": dict(kinds(c).most_common()),
        "range": c.levels.model_dump(mode="json", exclude={"op"}) if c.levels else None,
        "left_out": {"reasons": dict(left_out(c)), "first": [s._asdict() for s in islice(c.skipped, MOST_LISTED)]},
        "copies": {**c.leaks.counts(), "first": [leak._asdict() for leak in islice(c.leaks.rows(), MOST_LISTED)]},
        "samples": {"n": len(c.samples), **_colour(c)},
    }


def lines(c: DataCheck, findings: Sequence[Finding]) -> Iterator[str]:
    """The report for people; the verdict comes last."""
    note = " (split off)" if len(c.parts) == 1 else ""
    yield f"{c.name}: {len(c.train.labels):,} training and {len(c.val.labels):,} validation pictures{note} in {c.root}"
    if c.test is not None:
        yield f"kept      {c.test}: not looked at, and not in training; for xfer evaluate --split test"
    if c.known:
        yield f"known     {c.known:,} pictures from an earlier check: by size and times they are as they were then"
    if c.train.groups is not None and c.val.groups is not None:
        in_train, in_val = len(np.unique(c.train.groups)), len(np.unique(c.val.groups))
        yield f"groups    {in_train:,} in training and {in_val:,} in validation"
    if (weights := c.train.weights) is not None:
        yield f"weights   {weights.min():g} to {weights.max():g}, mean {weights.mean():g}, of training pictures"
    if several(c.train.labels):
        yield f"labels    {in_words(c.train.labels, c.val.labels)}"
    train = c.counts[:, 0]
    balance = f", the largest has {train.max() / max(train.min(), 1):.1f} times the pictures of the smallest"
    yield f"classes   {len(c.classes)}{balance if train.min() else ''}"
    order = np.argsort(-train, kind="stable")
    shown = order if len(order) <= MOST_CLASSES else np.concatenate([order[:10], order[-10:]])
    for place, i in enumerate(shown):
        if place == 10 and len(order) > MOST_CLASSES:
            yield f"          ... {len(order) - 20} more ..."
        yield f"          {c.counts[i, 0]:7,} + {c.counts[i, 1]:<6,} {c.classes[i]}"
    for name, axis in (("height", 0), ("width", 1)):
        low, middle, high = _spread(c.sizes[:, axis]).values()
        yield f"{name:9s} {low} to {high}, median {middle:g}"
    yield f"kinds     {', '.join(f'{n:,} {kind}' for kind, n in kinds(c).most_common())}"
    if levels := c.levels:
        yield f"range     {levels.text()}"
    colour = _colour(c)
    mean, std = (", ".join(f"{v:.2f}" for v in colour[key]) for key in ("mean", "std"))
    yield f"colour    mean {mean}, std {std} (red, green, blue in 0..1; {len(c.samples)} pictures)"
    if out := left_out(c):
        yield f"left out  {', '.join(f'{n:,} {reason}' for reason, n in out.most_common())}"
    yield from (finding.line(width=9) for finding in findings)
    yield f"verdict  {verdict(findings)}"


FILES = ("data_check.json", "data_check.png", LEAKS, "skipped_images.csv")


def claim(folder: Path, overwrite: bool = False) -> None:
    """Raises CheckpointError for a folder that holds what is of no report of a data set; see `refuse_foreign`."""
    own = {"verdict", "findings", "n_train", "classes"} <= read_record(folder / FILES[0]).keys()
    refuse_foreign(folder, "report of a data set", FILES, own, overwrite)


def write(c: DataCheck, findings: Sequence[Finding], folder: Path) -> list[Path]:
    """The report, the picture and the lists into a folder. Raises DataError where it cannot be written."""
    report, picture, copies, skipped = (folder / name for name in FILES)
    try:
        write_json(report, as_record(c, findings))
        write_leaks_csv(copies, c.leaks)
        write_skipped_csv(skipped, c.skipped)
        with attempt(picture):
            from xfer.inspection.figure import figure_data_check

            (labels,), words = as_words([c.sample_labels], c.classes)
            write_figure(picture, figure_data_check(c.classes, c.counts, c.sizes, c.size, c.samples, labels, words))
    except OSError as error:
        raise DataError(f"{folder}: cannot be written ({error}). Cure: another --output") from error
    return [file for file in (report, picture, copies, skipped) if file.exists()]


def kinds(c: DataCheck) -> Counter[str]:
    """Pictures by format and mode as stored."""
    return sum((part.kinds for part in c.parts), Counter[str]())


def left_out(c: DataCheck) -> Counter[str]:
    """Files by the reason why they are not used."""
    return Counter(skipped.reason for skipped in c.skipped)


def _spread(values: Any) -> dict[str, float]:
    return {"min": int(values.min()), "median": float(np.median(values)), "max": int(values.max())}


def _colour(c: DataCheck) -> dict[str, list[float]]:
    """Mean and standard deviation of red, green and blue over the samples, in 0..1."""
    pixels = c.samples.reshape(-1, 3) / 255
    return {
        key: [round(float(v), 4) for v in values] for key, values in (("mean", pixels.mean(0)), ("std", pixels.std(0)))
    }
