"""Going on with a run: which one, and whether everything it depends on is as it was."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from xfer.data.dataset import Dataset
from xfer.errors import CheckpointError, ConfigError, XferError
from xfer.nets.net import Net
from xfer.nets.network_file import is_file
from xfer.recipe.keys import differing, flat
from xfer.recipe.load import as_recipe, as_recorded
from xfer.recipe.meaning import as_begun
from xfer.recipe.recipe import Recipe
from xfer.results.read import ENV, STATE, is_finished, is_run, read_environment, read_recipe
from xfer.results.run import Run
from xfer.system.outputs import read_record
from xfer.training.prepared import Prepared
from xfer.training.state import CURE, State

AUTO = "auto"
Kind = Literal["small", "same"]
"""What a run is compared with, from random weights: the small network, in a few seconds, or that of the run itself."""
TO_COMPARE = "to_compare"  # in `env.json`: what is to be compared with the run, see `xfer.training.baseline`


def identity(p: Prepared) -> dict[str, Any]:
    """What a state belongs to: it goes on to the same end only where all of this is the same, the backend aside."""
    counts = f"{len(p.data.train.labels)} + {len(p.data.val.labels)}"
    return {
        "recipe": p.recipe.model_dump(mode="json", exclude_none=True),
        "source_digest": p.source_digest,
        "data_digest": data_digest(p.data),
        "pictures": counts,
        "backend": p.net.backend.name,
        "network": _network_digest(p.net),
    }


def _network_digest(net: Net) -> str:
    """Of the network, and of how it normalises pictures: of one in a file, both may have changed."""
    return hashlib.sha256(f"{net.graph.digest()} {net.spec.mean} {net.spec.std}".encode()).hexdigest()


def data_digest(data: Dataset) -> str:
    """Sha256, in hexadecimal, of classes, and in order of all files: names below the root, labels, contents.

    And of the weights of training pictures, where these have any: those of others change nothing."""
    total = hashlib.sha256("\n".join(data.classes).encode())
    root = os.path.join(data.root, "")
    for split in (data.train, data.val):
        for i, file in enumerate(split.files):  # one by one: all names together may take a hundred megabytes
            name = str(file).removeprefix(root)
            total.update((f"\n{name}" if i else name).encode("utf-8", "surrogateescape"))
        total.update(split.labels.tobytes())
        total.update(b"" if split.digests is None else split.digests.tobytes())
    if data.train.weights is not None:
        total.update(data.train.weights.tobytes())
    return total.hexdigest()


def refuse_changes(p: Prepared, stored: Mapping[str, Any], path: Path) -> None:
    """Raises CheckpointError, naming it, when something is not what it was when the state was written."""
    now = identity(p)
    try:
        stored_recipe = as_recorded(stored["recipe"], f"{path / STATE}: identity.recipe")
    except XferError as error:
        raise CheckpointError(f"{str(error).rstrip('.')}. {CURE}") from None
    was = stored_recipe.model_dump(mode="json")  # with keys that are younger than it
    if (recipe := p.recipe.model_dump(mode="json")) != was:
        key = _first_difference(was, recipe)
        raise CheckpointError(f"{path}/config.toml: changed since the run stopped ({key} now). Cure: undo that change")
    if now["data_digest"] != stored["data_digest"]:
        were = f"{stored['pictures']} pictures then, {now['pictures']} now"
        raise CheckpointError(
            f"data {p.data.root}: changed since {path} stopped ({were}). Cure: bring back the data as they were, or "
            f"start again with --overwrite"
        )
    if stored["network"] not in (None, now["network"]):  # None: of before every network was a graph
        cure = "bring back the file as it was" if is_file(p.recipe.model.arch) else "the xfer that began the run"
        raise CheckpointError(f"network {p.recipe.model.arch}: changed since {path} stopped. Cure: {cure}")
    if now["source_digest"] != stored["source_digest"]:
        raise CheckpointError(
            f"weights {p.recipe.weights.source}: changed since {path} stopped, which trains on from them. "
            f"Cure: bring back the file as it was"
        )


def resumed_origin(path: Path, command: Sequence[str] | str | None) -> dict[str, Any]:
    """What `env.json` is to say of what made a run: what began it, if that is known, and each that went on with it."""
    known = read_environment(path)
    if known is None:
        return {"resumed_by": [command]}
    begun = known.model_dump(include={"command", TO_COMPARE} & known.model_fields_set)
    return {**begun, "resumed_by": [*known.resumed_by, command]}


def find_run(resume: str | Path, output: Path | None, overwrite: bool = False) -> Path | None:
    """The run to go on with. `auto`: the one in `output`, or the newest below `runs/` that has not ended, or None.

    Raises CheckpointError when a folder that was named holds none, and ConfigError for what contradicts itself.
    """
    if overwrite:
        raise ConfigError("--resume goes on with a run, and --overwrite replaces it. Cure: leave out one of them")
    if str(resume) == AUTO:
        if output is not None:
            return output if is_run(output) else None
        waiting = (path for path in _folders_in("runs") if is_run(path) and not _is_done(path))
        return max(waiting, key=_last_written, default=None)
    path = Path(resume)
    if not is_run(path):
        raise CheckpointError(f"--resume {path}: expected the folder of a run, with a config.toml, or 'auto'")
    return path


def _folders_in(parent: str) -> Iterator[Path]:
    """One by one; none where there is no such folder."""
    with suppress(FileNotFoundError, NotADirectoryError), os.scandir(parent) as entries:
        yield from (Path(entry.path) for entry in entries if entry.is_dir())


def _is_done(path: Path) -> bool:
    return is_finished(path) and to_compare(path) is None


def to_compare(path: Path) -> Kind | None:
    """What the run in `path` has still to be compared with."""
    kind = read_record(path / ENV).get(TO_COMPARE)
    return "small" if kind == "small" else "same" if kind == "same" else None


def refuse_folder(path: Path, output: Path | None, new: bool) -> None:
    """Raises ConfigError where a run is to go on in another folder than its own, or a `new` one after it there."""
    if output is None or (output.resolve() != path.resolve()) == new:
        return
    if new:
        cure = f"Cure: --resume {path} with another --output, or without one"
        raise ConfigError(f"--output {output}: is finished, and what trains on from it is a new run. {cure}")
    raise ConfigError(f"--output {output}: a run goes on in its own folder, {path}. Cure: leave out --output")


def _last_written(path: Path) -> float:
    return max(file.stat().st_mtime for file in (path / "config.toml", path / STATE) if file.exists())


def own_recipe(path: Path, asked: Recipe | None) -> Recipe:
    """The recipe of a run. Raises ConfigError when another one is asked for."""
    recipe = read_recipe(path)
    if asked is not None and as_begun(asked, recipe) != recipe:
        key = _first_difference(recipe.model_dump(mode="json"), asked.model_dump(mode="json"))
        raise ConfigError(f"{path}: a run goes on with its own recipe ({key} asked for). Cure: leave that out")
    return recipe


def further(path: Path, asked: Recipe | None) -> Recipe | None:
    """The recipe of a new run that trains on where the finished one in `path` ended; None unless that is asked for.

    It is asked for by more epochs than the run has. The new one has the recipe of the run, for the epochs that are
    missing, and starts from its best weights with their head. Raises ConfigError where other keys differ as well.
    """
    if asked is None or not is_finished(path):
        return None
    own = read_recipe(path)
    if own.phases or own.train.strategy or asked.phases or asked.train.epochs <= own.train.epochs:
        return None
    own_recipe(path, as_recipe(asked, {"train.epochs": own.train.epochs}))
    start = {"weights.source": str(path), "weights.head": "keep", "weights.partial": False}
    done = Run.load(path).result["epochs"]  # which may have ended early
    return as_recipe(own, start | {"train.epochs": asked.train.epochs - done})


def _first_difference(old: Mapping[str, Any], new: Mapping[str, Any]) -> str:
    """The first key that differs, by its dotted name, with both of its values."""
    first, *_ = differing([dict(flat(recipe, lists=False)) for recipe in (old, new)])
    return f"{first.key} was {first.values[0]!r}, {first.values[1]!r} is"


def asked_of(path: Path, recipe: Recipe | str | Path | None, overrides: Mapping[str, Any]) -> Recipe:
    """The recipe that somebody asks for who resumes a run; what they leave open is as in the run."""
    return as_recipe(read_recipe(path) if recipe is None else recipe, overrides)


def went_on(start: State, backend: str) -> State:
    """The state, with a record of who goes on from it, and where."""
    record = {"epoch": start.point.epoch + 1, "step": start.point.step, "backend": backend}
    return replace(start, resumed=(*start.resumed, record))
