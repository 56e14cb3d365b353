"""What a run writes into its folder: before the first step, when it goes on, and at the end."""

from __future__ import annotations

import json
import os
import platform
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from xfer.arrays import Weights
from xfer.data.leaks import FILE as LEAKS
from xfer.data.lists import write_leaks_csv, write_skipped_csv
from xfer.errors import CheckpointError, WeightsError
from xfer.formats.files import digest
from xfer.nets.partial import as_record
from xfer.recipe.load import to_toml
from xfer.results.checkpoint import BEST, Checkpoint
from xfer.results.predict import Predictions, save
from xfer.results.read import STATE, is_finished, read_metrics
from xfer.system.files import remove_parts, write_json, write_text
from xfer.system.memory import peak_memory
from xfer.training.loop import Epoch
from xfer.training.prepared import Prepared
from xfer.training.run import EpochEnd
from xfer.training.state import State

LAST = "last.safetensors"
TAKEN = "weights_loaded.json"  # what partial loading took from the source of the weights
STALE = ("metrics.jsonl", "log.txt", "result.json", "predictions.csv", "report.html")


def claim(p: Prepared, output: Path | None) -> Path:
    """Make an empty run folder: `output`, or a new one below `runs/`. Raises CheckpointError if it cannot be made."""
    path = output
    try:
        if path is None:
            return _make_free(Path("runs"), f"{p.data.name}-{p.net.arch.name}-{p.net.backend.name}")
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be written ({error}). Cure: another --output") from error
    return path


def create(p: Prepared, path: Path, overwrite: bool = False) -> Path:
    """Write into the run folder what is known before training.

    Raises CheckpointError when it already holds a run, or cannot be written.
    """
    if (path / "config.toml").exists() and not overwrite:
        cure = "another --output, or --overwrite" if is_finished(path) else "--resume to go on with it, or --overwrite"
        raise CheckpointError(f"{path} already holds a run. Cure: {cure}")
    try:
        path.mkdir(parents=True, exist_ok=True)
        remove_parts(path)
        for stale in (*STALE, BEST, LAST, TAKEN, LEAKS, STATE):
            (path / stale).unlink(missing_ok=True)
        for stale in ("plots", "from_random"):
            shutil.rmtree(path / stale, ignore_errors=True)
        write_text(path / "config.toml", to_toml(p.recipe))
        write_json(path / "env.json", environment(p))
        write_json(path / "classes.json", list(p.data.classes))
        if p.loaded is not None:
            write_json(path / TAKEN, as_record(p.loaded, p.groups, p.net.arch, p.recipe.weights.source))
        write_skipped_csv(path / "skipped_images.csv", p.data.skipped)
        if len(p.data.leaks.pairs):
            write_leaks_csv(path / LEAKS, p.data.leaks)
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be written ({error}). Cure: another --output") from error
    return path


def _make_free(parent: Path, name: str) -> Path:
    parent.mkdir(parents=True, exist_ok=True)
    number = 1
    while True:
        with suppress(FileExistsError):
            (path := parent / f"{name}-{number}").mkdir()
            return path
        number += 1


def reopen(p: Prepared, path: Path, start: State) -> None:
    """Make the folder as it was when the state was saved. Raises CheckpointError when it cannot be written."""
    with writing(path):
        remove_parts(path)
        write_text(path / "metrics.jsonl", "".join(json.dumps(asdict(epoch)) + "\n" for epoch in start.history))
        write_json(path / "env.json", environment(p))
        log(path, f"resumed at step {start.point.step} of epoch {start.point.epoch + 1} on {p.net.backend.name}")


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
        "versions": p.net.backend.versions(),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "processors": os.cpu_count(),
        "oneDNN": os.environ.get("ONEDNN_MAX_CPU_ISA"),
    }


def save_best(p: Prepared, path: Path, f: EpochEnd) -> int:
    _checkpoint(p, f.best_weights, f.best_epoch).save(path / BEST)
    return f.best_epoch.epoch


def _checkpoint(p: Prepared, arrays: Weights, epoch: Epoch) -> Checkpoint:
    record = {
        "backend": p.net.backend.name,
        "versions": json.dumps(p.net.backend.versions()),
        "epoch": str(epoch.epoch),
        "metrics": json.dumps({"val_accuracy": epoch.val_accuracy, "val_loss": epoch.val_loss}),
        "source_weights_digest": p.source_digest,
    }
    return Checkpoint(arrays, p.net.spec, p.data.classes, p.data.seen(p.recipe.augment.eval_transforms), record)


def finish(
    p: Prepared, path: Path, last: EpochEnd, seconds: float, resumed: Sequence[Mapping[str, Any]] = ()
) -> dict[str, Any]:
    """Write the last weights, the predictions and `result.json`, and give what is in that.

    `seconds`: of it all. `resumed`: {epoch, step, backend} of each time the run went on.
    """
    _checkpoint(p, p.net.export(), last.epoch).save(path / LAST)
    predictions = Predictions(tuple(map(str, p.data.val.files)), p.data.classes, last.best.probabilities)
    save(path / "predictions.csv", predictions, last.best.labels)
    result = {**_result(p, path, last, seconds), "resumed": list(resumed)}
    write_json(path / "result.json", result)
    return result


def _result(p: Prepared, path: Path, last: EpochEnd, seconds: float) -> dict[str, Any]:
    epochs, best = read_metrics(path), last.best_epoch
    training = sum(len(p.data.train.labels) / e["images_per_second"] for e in epochs)
    return {
        "backend": p.net.backend.name,
        "device": p.net.device,
        "arch": p.net.arch.name,
        "dataset": p.data.name,
        "classes": list(p.data.classes),
        "n_train": len(p.data.train.labels),
        "n_val": len(p.data.val.labels),
        "seed": p.recipe.seed,
        "epochs": len(epochs),
        "best_epoch": best.epoch,
        "val_accuracy": best.val_accuracy,
        "val_loss": best.val_loss,
        "train_accuracy": best.train_accuracy,
        "seconds_total": seconds,
        "seconds_features": last.seconds_features,
        "seconds_training": sum(e["seconds"] for e in epochs),
        "peak_memory": peak_memory(),
        "images_per_second": len(epochs) * len(p.data.train.labels) / training,
        "batches_digest": last.epoch.batches_digest,
        "weights_digest": digest(last.best_weights),
        "versions": p.net.backend.versions(),
    }


def epoch_line(e: Epoch) -> str:
    mark = "  * best" if e.best else ""
    return (
        f"epoch {e.epoch:3d}  train loss {e.train_loss:.4f} acc {e.train_accuracy:6.2%}  "
        f"val loss {e.val_loss:.4f} acc {e.val_accuracy:6.2%}  lr {e.lr:.2g}  {e.seconds:.1f} s{mark}"
    )


def log(path: Path, line: str) -> None:
    with (path / "log.txt").open("a", encoding="utf-8") as lines:
        lines.write(f"{time.strftime('%Y-%m-%d %H:%M:%S')} {line}\n")
