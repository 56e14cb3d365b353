"""Whether the files of a finished run tell the same story: what one of them says of another is held against that."""

from __future__ import annotations

import math
from typing import Any

from xfer.comparison.labelled import RANKED, label_figures
from xfer.comparison.predicted import Predicted, read_predicted
from xfer.errors import CheckpointError
from xfer.metrics import Epoch
from xfer.multilabel import several
from xfer.results.read import ENV, METRICS, RESULT, read_environment
from xfer.results.records import CURE, RESULT_FIGURES, early_ends, history_faults
from xfer.results.run import Run

_HALF = 0.5  # of a picture


def predicted_by(run: Run) -> Predicted:
    """The predictions of a run. Raises CheckpointError, with the field, where its files contradict each other."""
    predicted = read_predicted(run.path)
    for file, figures in _said(run, predicted).items():
        for key, value in figures.items():
            had = run.result.get(key, [])  # what is absent is younger than the run, and a list
            if not _same(had, value):
                received = f"{key} = {had!r}, and {file} says {value!r}"
                raise CheckpointError(f"{run.path / RESULT}: {received}. {CURE}")
    own, other = ("val_map", "val_accuracy") if several(predicted.labels) else ("val_accuracy", "val_map")
    if mixed := [line for line, row in enumerate(run.history, start=1) if other in row]:
        where = f"{run.path / METRICS}, line {mixed[0]}"
        raise CheckpointError(f"{where}: {other}, expected {own}, as of predictions.csv. {CURE}")
    for fault in history_faults(_epochs(run), run.recipe):
        number, _, words = fault.partition(".")
        raise CheckpointError(f"{run.path / METRICS}, line {int(number) + 1}: {words}. {CURE}")
    return predicted


def _epochs(run: Run) -> list[Epoch]:
    return [Epoch(**row) for row in run.history]


def _said(run: Run, predicted: Predicted) -> dict[str, dict[str, Any]]:
    """Figures of `result.json`, by the file that says them too."""
    history, recipe, environment, result = run.history, run.recipe, read_environment(run.path), run.result
    own = {"arch": recipe.model.arch, "seed": recipe.seed}
    made: dict[str, Any] = {}
    if environment is not None:
        made = {"backend": environment.backend, "device": environment.device, "versions": environment.versions}
        if environment.weights is None or result["parent"] is None:
            made["parent"] = environment.weights
    logged: dict[str, Any] = {"epochs": len(history)}
    if result["best_epoch"] <= result["epochs"] == len(history):
        best = history[result["best_epoch"] - 1]
        logged |= {key: best[key] for key in RESULT_FIGURES if key in best}
        logged["ended_early"] = early_ends(_epochs(run), recipe)
        logged["batches_digest"] = history[-1]["batches_digest"]
        logged["seconds_training"] = sum(epoch["seconds"] for epoch in history)
    listed = {"n_val": len(predicted.names), "classes": list(predicted.classes)}
    if several(predicted.labels):
        return {"config.toml": own, ENV: made, METRICS: logged, "predictions.csv": listed | _of_labels(run, predicted)}
    right = int(predicted.right.sum())
    if "val_accuracy" not in result or abs(right - result["val_accuracy"] * result["n_val"]) > predicted.ties + _HALF:
        listed["val_accuracy"] = right / len(predicted.names)
    return {"config.toml": own, ENV: made, METRICS: logged, "predictions.csv": listed}


def _of_labels(run: Run, predicted: Predicted) -> dict[str, Any]:
    """The figures where they are others than what the predictions come to."""
    known = run.result.get("label_metrics")
    if known is None:
        return {"label_metrics": "figures of any number of labels"}
    precision, exact = label_figures(predicted)[RANKED], float(predicted.right.mean())
    for key, value in ((RANKED, precision), ("exact_match", exact)):
        if not math.isclose(known[key]["value"], value, rel_tol=_CLOSE, abs_tol=_CLOSE):
            return {"label_metrics": known | {key: known[key] | {"value": value}}}
    return {}


_CLOSE = 1e-9  # of sums in another order


def _same(a: Any, b: Any) -> bool:
    if isinstance(a, float) and isinstance(b, float):
        return math.isclose(a, b, rel_tol=1e-12)  # sums, added up in the same order
    return bool(a == b)
