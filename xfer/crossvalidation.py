"""A run for each fold of a data set, in one folder: those that are done are not repeated, then all are summed up.

<output>/folds.json, fold-1/, fold-2/, ..., summary.json, predictions.csv, report.html
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from xfer.backend import Backend
from xfer.data.locate import anywhere, is_there, name_of
from xfer.errors import CheckpointError
from xfer.recipe.keys import differing, flat
from xfer.recipe.load import as_recipe, as_recorded
from xfer.recipe.meaning import as_begun
from xfer.recipe.recipe import Recipe
from xfer.results.read import AS_GIVEN, LOCK, Places, is_finished, read_recipe, read_result
from xfer.results.records import CURE, check_as
from xfer.results.run import Run
from xfer.section import Section
from xfer.studies.folds import FILES, CrossValidation, save, summarise
from xfer.system.files import write_json
from xfer.system.interrupts import Interrupted
from xfer.system.locks import locked
from xfer.system.outputs import read_record, refuse_foreign
from xfer.system.parts import remove_parts
from xfer.training.prepared import Prepared
from xfer.training.pursue import pursue
from xfer.training.record import Events, Watch
from xfer.training.run import EpochEnd
from xfer.training.write import LONGEST_NAME, make_free

RECORD = "folds.json"


@dataclass(frozen=True)
class FoldBegins:
    """The run of a fold, `number` of `of`, comes next; `before`: it was done by an earlier call."""

    number: int
    of: int
    before: bool


FoldEvents: TypeAlias = "Generator[FoldBegins | Prepared | EpochEnd | Run | CrossValidation, None, None]"


class _Record(Section):
    """What all folds are of. `data`: where the pictures lay then, whatever folder a relative path was given from."""

    backend: str
    data: str
    recipe: dict[str, Any]


def is_folds(path: Path) -> bool:
    return read_record(path / RECORD).keys() >= set(_Record.model_fields)


def recorded(path: Path) -> tuple[Recipe, str]:
    """The recipe, with its number of folds, and the backend of the cross-validation in a folder.

    Raises CheckpointError where its record does not say that.
    """
    record = check_as(_Record, read_record(path / RECORD), f"{path / RECORD}")
    recipe = as_recorded(record.recipe, f"{path / RECORD}: recipe")
    if recipe.data.folds is None:
        raise CheckpointError(f"{path / RECORD}: its recipe has no data.folds. {CURE}")
    return recipe, record.backend


def begin(
    recipe: Recipe,
    folds: int,
    backend: str | Backend,
    device: str = "auto",
    output: Path | None = None,
    overwrite: bool = False,
    watch: Watch | None = None,
) -> FoldEvents:
    """All folds in `output`, or in a new folder below `runs/`: what is not done there already.

    Raises ConfigError for a number of folds that cannot be, and CheckpointError for a folder of something else, or of
    another recipe unless `overwrite`.
    """
    recipe = as_recipe(recipe, {"data.folds": folds, "data.fold": 1})
    name = backend if isinstance(backend, str) else backend.name
    if output is None:
        data = name_of(recipe.data.source).encode()[:LONGEST_NAME].decode(errors="ignore")
        output = make_free(Path("runs"), f"{data}-{Path(recipe.model.arch).stem}-{name}-{folds}-folds")
    refuse_foreign(output, "cross-validation", (RECORD, *FILES), is_folds(output), overwrite, ignored=[LOCK])
    if is_folds(output) and not overwrite:
        _refuse_other(output, recipe, name)
    places = AS_GIVEN if overwrite else _places(output)
    return _begun(recipe, folds, backend, device, output, watch or Watch(), places)


def _begun(
    recipe: Recipe,
    folds: int,
    backend: str | Backend,
    device: str,
    output: Path,
    watch: Watch,
    places: Places,
) -> FoldEvents:
    name, runs = backend if isinstance(backend, str) else backend.name, list[Run]()
    try:
        output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CheckpointError(f"{output}: cannot be written ({error}). Cure: another --output") from error
    try:
        with locked(output / LOCK):
            remove_parts(output, (RECORD, *FILES))
            for summary in FILES:
                (output / summary).unlink(missing_ok=True)  # of folds that are done anew, or once more of the same
            content = recipe.model_dump(mode="json", exclude_none=True)
            record = _Record(backend=name, data=places.data or anywhere(recipe.data.source), recipe=content)
            write_json(output / RECORD, record.model_dump())
            for number in range(1, folds + 1):
                path, own = output / f"fold-{number}", _of_fold(recipe, number)
                before = _is_done(path, own, name)
                yield FoldBegins(number, folds, before)
                if before:
                    runs.append(Run.load(path))
                else:
                    runs.append((yield from _run(pursue(own, backend, device, path, watch, places))))
            result, predicted = summarise(runs, output)
            save(result, predicted)
    except Interrupted as stop:
        raise Interrupted(stop.number, stop.between, output) from None
    finally:
        _remove_unbegun(output)
    yield result


def _run(events: Events) -> Generator[Prepared | EpochEnd | Run, None, Run]:
    """Pass a run on, and give it when it has ended."""
    with closing(events):
        for event in events:
            yield event
    assert isinstance(event, Run), "a run ends with itself"
    return event


def _is_done(path: Path, recipe: Recipe, backend: str) -> bool:
    if not is_finished(path):
        return False
    own = read_recipe(path)
    return as_begun(recipe, own) == own and read_result(path)["backend"] == backend


def _remove_unbegun(output: Path) -> None:
    """Leave no folder in which no run has begun, as where the data could not be opened."""
    if {file.name for file in output.iterdir()} <= {RECORD, LOCK}:
        (output / RECORD).unlink(missing_ok=True)
        with suppress(OSError):
            output.rmdir()


def _places(output: Path) -> Places:
    """Where the data lie, if not where a recipe says: a relative path may have been given from another folder."""
    data = read_record(output / RECORD).get("data")
    return Places(data=data) if isinstance(data, str) and is_there(data) else AS_GIVEN


def _of_fold(recipe: Recipe, number: int) -> Recipe:
    return recipe.model_copy(update={"data": recipe.data.model_copy(update={"fold": number})})


def _refuse_other(path: Path, recipe: Recipe, backend: str) -> None:
    own, name = recorded(path)
    kept, asked = (_settings(each, of) for each, of in ((own, name), (as_begun(recipe, own), backend)))
    if differs := differing([kept, asked]):
        first = differs[0]
        words = f"{first.key} = {first.values[0]}, wanted {first.values[1]}"
        raise CheckpointError(
            f"{path}: holds folds of another recipe ({words}). Cure: another --output, or --overwrite"
        )


def _settings(recipe: Recipe, backend: str) -> dict[str, Any]:
    return dict(flat({"backend": backend, **recipe.model_dump(mode="json", exclude_none=True)}))
