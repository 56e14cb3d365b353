"""What a run writes into its folder: before the first step, when it goes on, and at the end."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from xfer.arrays import Weights
from xfer.data.leaks import FILE as LEAKS
from xfer.data.lists import write_leaks_csv, write_skipped_csv
from xfer.errors import CheckpointError, WeightsError
from xfer.formats.files import digest
from xfer.formats.sealed import BEST
from xfer.metrics import Epoch, Evaluation
from xfer.nets.partial import as_record
from xfer.recipe.load import to_toml
from xfer.results.checkpoint import Checkpoint
from xfer.results.judged import judge, thresholds_of
from xfer.results.predictions import Predictions, save
from xfer.results.read import ENV, LOCK, STATE, is_finished, is_own, is_run, read_metrics
from xfer.results.records import RESULT_FIGURES, early_ends
from xfer.results.report import PICTURES
from xfer.system.doors import to_append
from xfer.system.files import json_text, write_json, write_text
from xfer.system.locks import locked
from xfer.system.memory import peak_memory
from xfer.system.outputs import refuse_foreign
from xfer.system.parts import parts, remove_abandoned, remove_parts
from xfer.tracking.logger import Started
from xfer.training.diverged import refuse_broken
from xfer.training.prepared import Prepared
from xfer.training.run import EpochEnd
from xfer.training.state import State, moved_until

LAST = "last.safetensors"
LONGEST_NAME = 128  # bytes of a data set's name in that of its run's folder, where no file system has room for 256
TAKEN = "weights_loaded.json"  # what partial loading took from the source of the weights
BASELINE = "from_random"  # the folder of the run from random weights that this one is compared with
EVENTS = "tensorboard"  # the folder of that logger
OWN = (
    "result.json",  # first: what is left of a run, where removing it ends early, is not finished
    *(STATE, "classes.json", "skipped_images.csv", LEAKS, TAKEN, "metrics.jsonl", "log.txt", BEST, LAST),
    *("predictions.csv", "report.html"),
    *("metrics.csv", "mlflow.json"),  # of loggers
    *(f"plots/{name}.png" for name in dict(PICTURES)),
    *("config.toml", ENV),  # last: while they are there, what is left is known as a run's, and begins again
)
"""Every file that a run leaves in its folder, in the order in which they are removed."""


def claim(p: Prepared, output: Path | None) -> Path:
    """Make a run folder: `output`, or a new one below `runs/`. Raises CheckpointError if it cannot be made."""
    try:
        if output is None:
            data = p.data.name.encode()[:LONGEST_NAME].decode(errors="ignore")
            return make_free(Path("runs"), f"{data}-{p.net.arch.name}-{p.net.backend.name}")
        output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CheckpointError(f"{output or 'runs'}: cannot be written ({error}). Cure: another --output") from error
    return output


def create(p: Prepared, path: Path, overwrite: bool = False, origin: Mapping[str, Any] | None = None) -> Path:
    """Write into the run folder what is known before training, in the place of the run that was there.

    `origin`: what its `env.json` is to say of what made it.
    Raises CheckpointError when it cannot be written; when it already holds a run, unless `overwrite`; and always for
    what must not be replaced: files that are of no run, and the weights that training starts from.
    """
    refuse_others(path, overwrite)
    if not overwrite and any((path / name).exists() for name in OWN if name != ENV):
        unfinished = is_run(path) and not is_finished(path)
        cure = "--resume to go on with it, or --overwrite" if unfinished else "another --output, or --overwrite"
        raise CheckpointError(f"{path} already holds a run. Cure: {cure}")
    _refuse_source(path, p)
    try:
        path.mkdir(parents=True, exist_ok=True)
        _remove(path)
        write_json(path / ENV, {**environment(p), **(origin or {})})  # first: by it a folder is known as a run's
        write_text(path / "config.toml", to_toml(p.recipe))
        write_json(path / "classes.json", list(p.data.classes))
        if p.loaded is not None:
            write_json(path / TAKEN, as_record(p.loaded, p.groups, p.net.arch, p.recipe.weights.source))
        write_skipped_csv(path / "skipped_images.csv", p.data.skipped)
        if len(p.data.leaks.pairs):
            write_leaks_csv(path / LEAKS, p.data.leaks)
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be written ({error}). Cure: another --output") from error
    return path


def refuse_others(path: Path, overwrite: bool) -> None:
    """Raises CheckpointError for a folder that holds what is of no run; see `refuse_foreign`."""
    refuse_foreign(path, "run", OWN, is_own(path), overwrite, ignored=[LOCK])


def _refuse_source(path: Path, p: Prepared) -> None:
    """Raises CheckpointError where the file that training starts from is among those that would be removed."""
    removed = {Path(os.path.realpath(folder / name)) for folder in (path, path / BASELINE) for name in OWN}
    if p.parent is not None and Path(p.parent["path"]) in removed:
        source = p.recipe.weights.source
        raise CheckpointError(
            f"weights {source}: belong to the run in {path}, which was to be replaced. Cure: another --output"
        )


def _remove(path: Path) -> None:
    """Take away the files of a run, and its folders where nothing else is in them."""
    remove_left(path)
    for name in OWN:
        (path / name).unlink(missing_ok=True)
    for file in (path / EVENTS).glob("events.out.tfevents.*"):
        file.unlink(missing_ok=True)
    if is_own(path / BASELINE):
        _remove(path / BASELINE)
    for folder in ("plots", EVENTS, BASELINE):
        with suppress(OSError):  # there is none, or it holds something else
            (path / folder).rmdir()


def remove_run(path: Path) -> None:
    """Take away a run, and its folder where nothing else is in it. Raises CheckpointError where it is being trained."""
    with locked(path / LOCK):
        _remove(path)
    with suppress(OSError):  # it holds something else
        path.rmdir()


def make_free(parent: Path, name: str) -> Path:
    """Make the first of the folders NAME-1, NAME-2, ... that is not there."""
    parent.mkdir(parents=True, exist_ok=True)
    sweep(parent)
    number = 1
    while True:
        with suppress(FileExistsError):
            (path := parent / f"{name}-{number}").mkdir()
            return path
        number += 1


def sweep(parent: Path) -> None:
    """Take away what killed processes have left half written of the runs in a folder, and runs that never began.

    What is not a run's stays, and so does what a living process writes.
    """
    for path in (file.parent for name in (ENV, LOCK) for file in parent.glob(f"*/{name}")):
        for folder in (path, path / BASELINE):
            remove_abandoned(parts(folder, OWN))
        _remove_unbegun(path)


def remove_left(path: Path) -> None:
    """Take away what is half written in a run folder whose lock is held."""
    remove_parts(path, OWN)


def _remove_unbegun(path: Path) -> None:
    if {file.name for file in path.iterdir()} <= {ENV, LOCK}:
        with suppress(CheckpointError), locked(path / LOCK):
            (path / ENV).unlink(missing_ok=True)
        with suppress(OSError):  # another has it
            path.rmdir()


def reopen(p: Prepared, path: Path, start: State, origin: Mapping[str, Any]) -> None:
    """Make the folder as it was when the state was saved; `origin` as of `create`. Raises CheckpointError."""
    with writing(path):
        remove_left(path)
        write_text(path / "metrics.jsonl", "".join(json_text(epoch.model_dump()) + "\n" for epoch in start.history))
        write_json(path / ENV, {**environment(p), **origin})
        log(path, f"resumed at step {start.point.step} of epoch {start.point.epoch + 1} on {p.net.backend.name}")


def started(p: Prepared, path: Path, start: State) -> Started:
    history = [epoch.model_dump() for epoch in start.history]
    return Started(path, p.recipe.model_dump(mode="json"), p.net.backend.name, p.net.device, history)


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Say in one line what could not be written, and that nothing is lost."""
    try:
        yield
    except (OSError, WeightsError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise CheckpointError(
            f"{path}: cannot be written ({reason}); what was saved before is whole. "
            f"Cure: make room or grant access there, then xfer train --resume {path}"
        ) from error


def environment(p: Prepared) -> dict[str, Any]:
    return {
        "backend": p.net.backend.name,
        "device": p.net.device,
        "precision": p.net.spec.precision,
        "data": p.data.source,
        "weights": None if p.parent is None else p.parent["path"],
        "network": p.network,
        "versions": p.net.backend.versions(),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "processors": os.cpu_count(),
        "oneDNN": os.environ.get("ONEDNN_MAX_CPU_ISA"),
    }


def save_best(p: Prepared, path: Path, f: EpochEnd) -> int:
    _checkpoint(p, f.best_weights, f.best_epoch, f.best).save(path / BEST)
    return f.best_epoch.epoch


def _checkpoint(p: Prepared, arrays: Weights, epoch: Epoch, result: Evaluation) -> Checkpoint:
    record = {
        "backend": p.net.backend.name,
        "versions": json_text(p.net.backend.versions()),
        "epoch": str(epoch.epoch),
        "metrics": json_text({key: figure for key, figure in _figures(epoch).items() if key.startswith("val")}),
        "source_weights_digest": p.source_digest,
        **({"parent": json_text(p.parent)} if p.parent else {}),
    }
    transforms, thresholds = p.data.seen(p.recipe.augment.eval_transforms), thresholds_of(result)
    return Checkpoint(arrays, p.net.spec, p.data.classes, transforms, record, thresholds=thresholds)


def finish(
    p: Prepared, path: Path, last: EpochEnd, seconds: float, resumed: Sequence[Mapping[str, Any]] = ()
) -> dict[str, Any]:
    """Write the last weights, the predictions and `result.json`, and give what is in that.

    Raises XferError, and writes none of it, where the last step has broken the weights.

    `seconds`: of it all. `resumed`: {epoch, step, backend} of each time the run went on.
    """
    weights = last.weights()
    refuse_broken(weights, moved_until(p, len(p.groups)), last.epoch, p.net.spec.precision)
    _checkpoint(p, weights, last.epoch, last.result).save(path / LAST)
    judged = judge(last.best, p.data.classes)
    files = tuple(map(str, p.data.val.files))
    predictions = Predictions(files, p.data.classes, last.best.probabilities, decided=judged.decided)
    save(path / "predictions.csv", predictions, last.best.labels)
    result = {**_result(p, path, last, seconds, judged.record), "resumed": list(resumed)}
    write_json(path / "result.json", result)
    return result


def _result(p: Prepared, path: Path, last: EpochEnd, seconds: float, scores: Mapping[str, Any]) -> dict[str, Any]:
    epochs, best = read_metrics(path), last.best_epoch
    training = sum(len(p.data.train.labels) / e["images_per_second"] for e in epochs)
    return {
        "backend": p.net.backend.name,
        "device": p.net.device,
        "precision": p.net.spec.precision,
        "arch": p.net.arch.name,
        "dataset": p.data.name,
        "classes": list(p.data.classes),
        "n_train": len(p.data.train.labels),
        "n_val": len(p.data.val.labels),
        "unvalidated": list(p.data.unvalidated),
        "seed": p.recipe.seed,
        "epochs": len(epochs),
        "ended_early": early_ends([Epoch(**e) for e in epochs], p.recipe),
        "best_epoch": best.epoch,
        **_figures(best),
        **scores,
        "seconds_total": seconds,
        "seconds_features": last.seconds_features,
        "seconds_training": sum(e["seconds"] for e in epochs),
        "peak_memory": peak_memory(),
        "images_per_second": len(epochs) * len(p.data.train.labels) / training,
        "parent": p.parent,
        "batches_digest": last.epoch.batches_digest,
        "weights_digest": digest(last.best_weights),
        "versions": p.net.backend.versions(),
    }


def _figures(e: Epoch) -> dict[str, float]:
    """Those of an epoch that a result repeats."""
    row = e.model_dump()
    return {key: row[key] for key in RESULT_FIGURES if key in row}


def log(path: Path, line: str) -> None:
    with open(path / "log.txt", "a", encoding="utf-8", opener=to_append) as lines:
        lines.write(f"{time.strftime('%Y-%m-%d %H:%M:%S')} {line}\n")
