"""The records of a run: JSON and CSV that somebody has changed. The first byte of an input says which file it is."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from functools import cache, partial
from pathlib import Path

from fuzz.harness import Door, check_line
from fuzz.shared import root
from xfer.comparison.compare import compare
from xfer.errors import XferError
from xfer.formats.files import read_with_metadata, write_weights
from xfer.results.classes import class_table, confused_table
from xfer.results.read import backend_name, is_finished, is_own, places_of
from xfer.results.run import Run
from xfer.studies.plan import Planned
from xfer.studies.processes import is_done
from xfer.system.outputs import read_record

JSON = ("result.json", "metrics.jsonl", "env.json", "classes.json", "w.pth.json")
CSV = ("predictions.csv", "skipped_images.csv")


@cache
def copy() -> Path:
    place = root() / "copy"
    shutil.copytree(root() / "run", place)
    write_weights(place / "w.pth", Run.load(place).checkpoint.weights, {})
    (place / "w.pth.json").write_text('{"weights_digest": "", "metadata": {"format": "xfer-1"}}', encoding="utf-8")
    return place


def seeds(files: tuple[str, ...]) -> Mapping[str, bytes]:
    return {name: bytes([number]) + (copy() / name).read_bytes() for number, name in enumerate(files)}


def read(files: tuple[str, ...], path: Path) -> None:
    content = path.read_bytes() or b"\0"
    changed = copy() / files[content[0] % len(files)]
    sound = changed.read_bytes()
    changed.write_bytes(content[1:])
    try:
        for use in USES:
            try:
                use(copy())
            except XferError as error:
                check_line(str(error))
    finally:
        changed.write_bytes(sound)


def _run(place: Path) -> None:
    run = Run.load(place)
    repr(run), run._repr_html_(), run.history, repr(run.checkpoint)


def _compared(place: Path) -> None:
    compare([Run.load(root() / "run"), Run.load(place)]).as_json()


def _tables(place: Path) -> None:
    class_table(place / "predictions.csv")
    confused_table(place / "predictions.csv")


def _asked(place: Path) -> None:
    read_record(place / "env.json"), is_own(place), is_finished(place), places_of(place)
    is_done(Planned("a", "numpy", 0, Run.load(place).recipe), place, "auto")


USES: tuple[Callable[[Path], object], ...] = (
    _run, _compared, _tables, _asked, backend_name, lambda place: read_with_metadata(place / "w.pth")
)  # fmt: skip
WORDS = (
    b"null",
    b"NaN",
    b"-Infinity",
    b"1e999",
    b"[]",
    b"{}",
    b"\\u001b",
    b"\\ud800",
    b"true",
    b'"":',
    b"label,",
    b"p_",
)
DOORS = {
    "json": Door(partial(seeds, JSON), partial(read, JSON), ".json", WORDS, 1 << 14),
    "csv": Door(partial(seeds, CSV), partial(read, CSV), ".csv", WORDS, 1 << 14),
}
