"""The report of a run: one HTML file that holds its pictures and needs nothing else, not even a network."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from xfer.errors import CheckpointError
from xfer.metrics import OF_CLASSES, OF_LABELS
from xfer.results.classes import class_table, confused_table
from xfer.results.facts import facts
from xfer.results.figures import FIGURES, NONE, cell, parent, percent
from xfer.results.page import folded, picture, write_page
from xfer.results.read import METRICS, RESULT, read_file
from xfer.results.records import check_as
from xfer.results.scores import label_table, scores_table
from xfer.scores.label_record import LabelScores
from xfer.scores.record import Scores
from xfer.system.doors import open_lines, parse_json
from xfer.system.tables import read_rows

_FIRST = (
    ("curves", "Loss, accuracy and learning rate by epoch; a star marks the best epoch"),
    ("confusion_matrix", "Each row is a true class, each column what it was taken for"),
    ("labels", "Average precision and F1 of each label"),
)
_FURTHER = (
    ("samples", "What the model is trained on"),
    ("predictions", "Validation images: right in blue, wrong in red, with the probability of the predicted class"),
    ("top_losses", "The validation images that the model gets most wrong: worth a look for bad labels"),
    ("explained", "What speaks for the predicted class in pictures that the model gets most wrong, by LayerCAM"),
    ("against_random", "Against the run from random weights that lies in from_random/"),
)
PICTURES = _FIRST + _FURTHER
_OF_LABELS = {
    "curves": "Loss, mean average precision and learning rate by epoch; a star marks the best epoch",
    "predictions": "Validation images: blue where every label is right, red where one is not",
}
"""What else is to be said of some, where pictures have any number of labels."""
_MOST_LISTED = 500  # skipped images; the file has them all
_LONG = 40  # characters above which a key figure gets a whole line


def write_report(run_folder: Path) -> Path:
    """Gather a finished run into `report.html` in its folder, and give its path.

    Pictures, metrics, recipe and the list of skipped images are left out where the folder has none.
    Raises CheckpointError for a folder without a readable `result.json`, or where the report cannot be written.
    """
    result = _figures_in(run_folder)
    epochs = _rows(run_folder / METRICS)
    several = "label_metrics" in result
    sections = [
        *_pictures(run_folder, _FIRST, several),
        _metrics(result, run_folder),
        *_by_class(result, run_folder / "predictions.csv"),
        _figures(result, facts(run_folder)),
        *_pictures(run_folder, _FURTHER, several),
        _epochs(epochs, result.get("best_epoch")),
        _skipped(run_folder / "skipped_images.csv"),
        _digests(result),
        _recipe(run_folder / "config.toml"),
    ]
    title = f"{result.get('arch', NONE)} on {result.get('dataset', NONE)}"
    path = run_folder / "report.html"
    write_page(path, title, _subtitle(result), [_headline(result), *sections])
    return path


_WHERE_ANY = ("unvalidated", "ended_early", "parent", "resumed")  # what most runs have none of
_DIGESTS: Mapping[str, str] = {
    "batches_digest": "Digest of the batches",
    "weights_digest": "Digest of the weights",
}
_COLUMNS: Mapping[str, tuple[str, Callable[[Any], str]]] = {
    "epoch": ("epoch", str),
    "phase": ("phase", str),
    "train_loss": ("training loss", "{:.4f}".format),
    "train_accuracy": ("training accuracy", percent),
    "val_loss": ("validation loss", "{:.4f}".format),
    "val_accuracy": ("validation accuracy", percent),
    "train_exact_match": ("training exact match", percent),
    "val_exact_match": ("validation exact match", percent),
    "val_map": ("validation mAP", "{:.4f}".format),
    "lr": ("learning rate", "{:.3g}".format),
    "seconds": ("seconds", "{:.1f}".format),
}


def _figures_in(run_folder: Path) -> dict[str, Any]:
    """Whatever `result.json` says: the page shows figures that it does not know, too."""
    try:
        result = parse_json(read_file(run_folder / RESULT))
    except ValueError as error:
        raise CheckpointError(f"{run_folder / RESULT}: is no JSON ({error})") from None
    if not isinstance(result, dict):
        raise CheckpointError(f"{run_folder / RESULT}: holds no record of a run")
    return result


def _rows(file: Path) -> list[dict[str, Any]]:
    if not file.exists():
        return []
    try:
        with open_lines(file, "metrics") as lines:
            return [parse_json(line) for line in lines]
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{file}: is no JSON ({error})") from None


def _subtitle(result: Mapping[str, Any]) -> str:
    return escape(f"{result.get('backend', NONE)} on {result.get('device', NONE)}")


def _headline(result: Mapping[str, Any]) -> str:
    accuracy, count = result.get("val_accuracy", result.get("val_exact_match")), result.get("n_val")
    if accuracy is None or count is None:
        return ""
    epoch = f", after epoch {result['best_epoch']} of {result.get('epochs', NONE)}" if "best_epoch" in result else ""
    if (precision := result.get("val_map")) is not None:
        words = f"mean average precision on {count} validation images{epoch}"
        return f'<p class="headline"><strong>{precision:.4f}</strong> {escape(words)}</p>'
    right = f"{round(accuracy * count)} of {count} validation images right{epoch}"
    return f'<p class="headline"><strong>{percent(accuracy)}</strong> {escape(right)}</p>'


def _figures(result: Mapping[str, Any], known: Sequence[tuple[str, str]]) -> str:
    """What is `known` besides, figures with a name in their order, then whatever else the result holds but digests.

    A weights file that is what `known` says of the source is not said twice.
    """
    left_out = {key for key in _WHERE_ANY if not result.get(key)}
    if parent(result.get("parent")) == dict(known).get("Weights from"):
        left_out.add("parent")
    named = [(*FIGURES[key], result[key]) for key in FIGURES if key in result and key not in left_out]
    placed = {*FIGURES, *_DIGESTS, "metrics", "label_metrics"}
    unnamed = [(key.replace("_", " "), str, result[key]) for key in result if key not in placed]
    written = [(label, str, words) for label, words in known] + named + unnamed
    items = ((label, cell(value, write)) for label, write, value in written)
    blocks = (f"<div{_span(value)}><dt>{escape(label)}</dt><dd>{value}</dd></div>" for label, value in items)
    return f"<section><h2>Key figures</h2><dl>{''.join(blocks)}</dl></section>"


def _metrics(result: Mapping[str, Any], run_folder: Path) -> str:
    if (of_labels := result.get("label_metrics")) is not None:
        scores = check_as(LabelScores, of_labels, f"{run_folder / RESULT}: label_metrics")
        return scores_table(scores) + label_table(scores, result.get("classes", ()))
    known = result.get("metrics")
    return "" if known is None else scores_table(check_as(Scores, known, f"{run_folder / RESULT}: metrics"))


def _by_class(result: Mapping[str, Any], predictions: Path) -> list[str]:
    """Of labels nothing: `_metrics` has them."""
    return [] if "label_metrics" in result else [confused_table(predictions), class_table(predictions)]


def _digests(result: Mapping[str, Any]) -> str:
    """Folded away: nobody reads them, but runs are told to be the same by them."""
    items = [(label, cell(result[key], str)) for key, label in _DIGESTS.items() if key in result]
    blocks = "".join(
        f"<div{_span(value)}><dt>{label}</dt><dd><code>{value}</code></dd></div>" for label, value in items
    )
    return folded("Digests", f"<dl>{blocks}</dl>") if blocks else ""


def _span(value: str) -> str:
    return ' class="whole"' if len(value) > _LONG else ""


def _pictures(run_folder: Path, pictures: Sequence[tuple[str, str]], several: bool) -> list[str]:
    """`several`: of a run for any number of labels, which has one picture in place of another."""
    words, absent = (_OF_LABELS, "confusion_matrix") if several else ({}, "labels")
    shown = [(name, words.get(name, caption)) for name, caption in pictures if name != absent]
    return [picture(run_folder / "plots" / f"{name}.png", caption) for name, caption in shown]


def _epochs(rows: Sequence[Mapping[str, Any]], best: Any) -> str:
    if not rows:
        return ""
    absent = OF_CLASSES if any("val_map" in row for row in rows) else OF_LABELS
    keys = [key for key in _COLUMNS if key not in absent]
    head = "".join(f"<th>{escape(_COLUMNS[key][0])}</th>" for key in keys)
    body = "".join(_epoch(row, keys, row.get("epoch") == best) for row in rows)
    table = f"<table><thead><tr>{head}<th></th></tr></thead><tbody>{body}</tbody></table>"
    return folded(f"Epochs ({len(rows)})", f'<div class="wide">{table}</div>')


def _epoch(row: Mapping[str, Any], keys: Sequence[str], best: bool) -> str:
    cells = "".join(f"<td>{cell(row.get(key), _COLUMNS[key][1])}</td>" for key in keys)
    return f'<tr class="best">{cells}<td>★ best</td></tr>' if best else f"<tr>{cells}<td></td></tr>"


def _skipped(path: Path) -> str:
    rows = _read_skipped(path)
    if not rows:
        return ""
    items = [f"<li><code>{escape(file)}</code>: {escape(reason)}</li>" for file, reason in rows[:_MOST_LISTED]]
    if len(rows) > _MOST_LISTED:
        items.append(f"<li>and {len(rows) - _MOST_LISTED} more, in {escape(path.name)}</li>")
    return folded(f"Skipped images ({len(rows)})", f"<ul>{''.join(items)}</ul>")


def _read_skipped(path: Path) -> list[tuple[str, str]]:
    if not path.exists():
        return []
    with path.open(encoding="utf-8", errors="surrogateescape", newline="") as lines:
        columns, *rows = [*read_rows(lines)] or [[]]
        places = [columns.index(name) for name in ("path", "reason") if name in columns]
        return [(row[places[0]], row[places[1]]) for row in rows if len(places) == 2 and len(row) > max(places)]


def _recipe(path: Path) -> str:
    if not path.exists():
        return ""
    return folded("Recipe", f"<pre>{escape(path.read_text(encoding='utf-8', errors='replace'))}</pre>")
