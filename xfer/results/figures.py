"""What the figures of a run are called, and how they are written for people."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from html import escape
from typing import Any

NONE = "–"
_MOST_CLASSES = 30


def percent(share: Any) -> str:
    return f"{100 * share:.1f} %"


def _duration(seconds: Any) -> str:
    whole = round(seconds)
    if whole < 60:
        return f"{seconds:.1f} s"
    hours, minutes = divmod(whole // 60, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {whole % 60} s"


def _names(classes: Any) -> str:
    if not isinstance(classes, list):
        return str(classes)
    more = len(classes) - _MOST_CLASSES
    return ", ".join(map(str, classes[:_MOST_CLASSES])) + (f" and {more} more" if more > 0 else "")


def parent(file: Any) -> str:
    """The path of the weights file that a run started from."""
    return str(file.get("path", NONE)) if isinstance(file, Mapping) else str(file)


def _resumed(times: Any) -> str:
    if not isinstance(times, list):
        return str(times)
    epochs = [f"in epoch {time.get('epoch', NONE)} on {time.get('backend', NONE)}" for time in times]
    return ", ".join(epochs)


def _early(ends: Any) -> str:
    if not isinstance(ends, list):
        return str(ends)
    return ", ".join(f"phase {end.get('phase', NONE)} after epoch {end.get('epoch', NONE)}" for end in ends)


def _thresholds(values: Any) -> str:
    return _names([f"{value:.3g}" for value in values]) if isinstance(values, list) else str(values)


def _versions(versions: Any) -> str:
    return ", ".join(f"{k} {v}" for k, v in versions.items()) if isinstance(versions, Mapping) else str(versions)


FIGURES: Mapping[str, tuple[str, Callable[[Any], str]]] = {
    "arch": ("Network", str),
    "backend": ("Backend", str),
    "device": ("Device", str),
    "dataset": ("Data set", str),
    "classes": ("Classes", _names),
    "n_train": ("Training images", str),
    "n_val": ("Validation images", str),
    "unvalidated": ("Classes without validation images", _names),
    "seed": ("Seed", str),
    "epochs": ("Epochs", str),
    "ended_early": ("Ended early", _early),
    "best_epoch": ("Best epoch", str),
    "val_accuracy": ("Validation accuracy", percent),
    "val_map": ("Validation mAP", "{:.4f}".format),
    "val_exact_match": ("Exact match at 0.5", percent),
    "val_loss": ("Validation loss", "{:.4f}".format),
    "train_accuracy": ("Training accuracy", percent),
    "train_exact_match": ("Training exact match at 0.5", percent),
    "thresholds": ("Thresholds", _thresholds),
    "seconds_total": ("Time in all", _duration),
    "seconds_features": ("Time for features", _duration),
    "seconds_training": ("Time for training", _duration),
    "images_per_second": ("Images per second", "{:,.1f}".format),
    "peak_memory": ("Peak memory", lambda size: f"{size / 2**20:,.0f} MiB"),
    "parent": ("Weights file", parent),
    "resumed": ("Resumed", _resumed),
    "versions": ("Versions", _versions),
}


def cell(value: Any, write: Callable[[Any], str]) -> str:
    return escape(NONE if value is None else write(value))
