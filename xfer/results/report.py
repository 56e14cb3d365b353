"""The report of a run: one HTML file that holds its pictures and needs nothing else, not even a network."""

from __future__ import annotations

import base64
import csv
from collections.abc import Callable, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from xfer.errors import CheckpointError
from xfer.results.classes import class_table
from xfer.results.facts import facts
from xfer.results.figures import FIGURES, NONE, cell, percent
from xfer.results.read import read_metrics, read_result
from xfer.system.files import write_bytes

_FIRST = (
    ("curves", "Loss, accuracy and learning rate by epoch; a star marks the best epoch"),
    ("confusion_matrix", "Each row is a true class, each column what it was taken for"),
)
_FURTHER = (
    ("samples", "What the model is trained on"),
    ("predictions", "Validation images: right in blue, wrong in red, with the probability of the predicted class"),
    ("top_losses", "The validation images that the model gets most wrong: worth a look for bad labels"),
    ("against_random", "Against the run from random weights that lies in from_random/"),
)
PICTURES = _FIRST + _FURTHER
_MOST_LISTED = 500  # skipped images; the file has them all
_LONG = 40  # characters above which a key figure gets a whole line

_STYLE = """
:root { color-scheme: light dark; --line: #8885; --soft: #8882; --strong: #0057b8; }
@media (prefers-color-scheme: dark) { :root { --strong: #7db5ff; } }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 64rem; margin: 0 auto; padding: 1.5rem 1rem 4rem; }
h1 { font-size: 1.6rem; line-height: 1.2; margin: 0; overflow-wrap: anywhere; }
h2 { font-size: 1.15rem; margin: 0 0 .5rem; }
.subtitle { margin: .25rem 0 0; opacity: .75; }
.headline { margin: 1.25rem 0; padding: .75rem 1rem; border-left: 4px solid var(--strong); background: var(--soft); }
.headline strong { font-size: 2rem; line-height: 1.2; margin-right: .5rem; color: var(--strong); white-space: nowrap; }
table { border-collapse: collapse; font-size: .9rem; font-variant-numeric: tabular-nums; }
th, td { padding: .3rem .75rem .3rem 0; border-bottom: 1px solid var(--line); text-align: left; vertical-align: top; }
dl { display: grid; grid-template-columns: repeat(auto-fill, minmax(10rem, 1fr)); gap: .75rem 1.5rem; margin: 0; }
dt { font-size: .85rem; opacity: .75; }
dd { margin: 0; overflow-wrap: anywhere; }
.whole { grid-column: 1 / -1; }
.wide { overflow-x: auto; }
.wide th, .wide td { text-align: right; }
.wide td { white-space: nowrap; }
.wide tbody th { text-align: left; }
section { margin: 1.5rem 0; }
.best { font-weight: bold; color: var(--strong); }
figure { margin: 2rem 0; }
img { display: block; max-width: max(100%, 36rem); height: auto; margin: 0 auto; background: white; }
figcaption { margin-top: .5rem; font-size: .9rem; opacity: .75; text-align: center; }
details { border-bottom: 1px solid var(--line); padding: .6rem 0; }
summary { cursor: pointer; font-weight: 600; }
pre, code { font: .85rem/1.45 ui-monospace, monospace; }
pre { overflow-x: auto; padding: .75rem; background: var(--soft); border-radius: 6px; }
li { overflow-wrap: anywhere; }
"""

# The policy forbids scripts and everything from outside: whatever a class may be called, the page only shows it.
_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>{style}</style>
</head>
<body>
<h1>{title}</h1>
<p class="subtitle">{subtitle}</p>
{body}
</body>
</html>
"""


def write_report(run_folder: Path) -> Path:
    """Gather a finished run into `report.html` in its folder, and give its path.

    Pictures, metrics, recipe and the list of skipped images are left out where the folder has none.
    Raises CheckpointError for a folder without a readable `result.json`, or where the report cannot be written.
    """
    result = read_result(run_folder)
    epochs = read_metrics(run_folder) if (run_folder / "metrics.jsonl").exists() else []
    sections = [
        *_pictures(run_folder, _FIRST),
        class_table(run_folder / "predictions.csv"),
        _figures(result, facts(run_folder)),
        *_pictures(run_folder, _FURTHER),
        _epochs(epochs, result.get("best_epoch")),
        _skipped(run_folder / "skipped_images.csv"),
        _digests(result),
        _recipe(run_folder / "config.toml"),
    ]
    title = f"{result.get('arch', NONE)} on {result.get('dataset', NONE)}"
    path = run_folder / "report.html"
    write_page(path, title, _subtitle(result), [_headline(result), *sections])
    return path


def write_page(path: Path, title: str, subtitle: str, sections: Sequence[str]) -> None:
    """Write a page in the reports' style; `title` is text, the others are HTML. Raises CheckpointError."""
    page = _PAGE.format(title=escape(title), style=_STYLE, subtitle=subtitle, body="".join(sections))
    try:
        # Folder names need not be Unicode; what cannot be encoded is shown as its code.
        write_bytes(path, page.encode(errors="backslashreplace"))
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be written ({error})") from error


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
    "lr": ("learning rate", "{:.3g}".format),
    "seconds": ("seconds", "{:.1f}".format),
}


def _subtitle(result: Mapping[str, Any]) -> str:
    return escape(f"{result.get('backend', NONE)} on {result.get('device', NONE)}")


def _headline(result: Mapping[str, Any]) -> str:
    accuracy, count = result.get("val_accuracy"), result.get("n_val")
    if accuracy is None or count is None:
        return ""
    epoch = f", after epoch {result['best_epoch']} of {result.get('epochs', NONE)}" if "best_epoch" in result else ""
    right = f"{round(accuracy * count)} of {count} validation images right{epoch}"
    return f'<p class="headline"><strong>{percent(accuracy)}</strong> {escape(right)}</p>'


def _figures(result: Mapping[str, Any], known: Sequence[tuple[str, str]]) -> str:
    """What is `known` besides, figures with a name in their order, then whatever else the result holds but digests."""
    named = [(*FIGURES[key], result[key]) for key in FIGURES if key in result]
    unnamed = [(key.replace("_", " "), str, result[key]) for key in result if key not in {*FIGURES, *_DIGESTS}]
    written = [(label, str, words) for label, words in known] + named + unnamed
    items = ((label, cell(value, write)) for label, write, value in written)
    blocks = (f"<div{_span(value)}><dt>{escape(label)}</dt><dd>{value}</dd></div>" for label, value in items)
    return f"<section><h2>Key figures</h2><dl>{''.join(blocks)}</dl></section>"


def _digests(result: Mapping[str, Any]) -> str:
    """Folded away: nobody reads them, but runs are told to be the same by them."""
    items = [(label, cell(result[key], str)) for key, label in _DIGESTS.items() if key in result]
    blocks = "".join(
        f"<div{_span(value)}><dt>{label}</dt><dd><code>{value}</code></dd></div>" for label, value in items
    )
    return _folded("Digests", f"<dl>{blocks}</dl>") if blocks else ""


def _span(value: str) -> str:
    return ' class="whole"' if len(value) > _LONG else ""


def _pictures(run_folder: Path, pictures: Sequence[tuple[str, str]]) -> list[str]:
    return [picture(run_folder / "plots" / f"{name}.png", caption) for name, caption in pictures]


def picture(path: Path, caption: str) -> str:
    """A PNG file as HTML, inside the page; empty where there is no such file."""
    if not path.exists():
        return ""
    data = base64.b64encode(path.read_bytes()).decode()
    words = escape(caption)
    image = f'<img alt="{words}" src="data:image/png;base64,{data}">'
    return f'<figure><div class="wide">{image}</div><figcaption>{words}</figcaption></figure>'


def _epochs(rows: Sequence[Mapping[str, Any]], best: Any) -> str:
    if not rows:
        return ""
    head = "".join(f"<th>{escape(label)}</th>" for label, _ in _COLUMNS.values())
    body = "".join(_epoch(row, row.get("epoch") == best) for row in rows)
    table = f"<table><thead><tr>{head}<th></th></tr></thead><tbody>{body}</tbody></table>"
    return _folded(f"Epochs ({len(rows)})", f'<div class="wide">{table}</div>')


def _epoch(row: Mapping[str, Any], best: bool) -> str:
    cells = "".join(f"<td>{cell(row.get(key), write)}</td>" for key, (_, write) in _COLUMNS.items())
    return f'<tr class="best">{cells}<td>★ best</td></tr>' if best else f"<tr>{cells}<td></td></tr>"


def _skipped(path: Path) -> str:
    rows = _read_skipped(path)
    if not rows:
        return ""
    items = [f"<li><code>{escape(file)}</code>: {escape(reason)}</li>" for file, reason in rows[:_MOST_LISTED]]
    if len(rows) > _MOST_LISTED:
        items.append(f"<li>and {len(rows) - _MOST_LISTED} more, in {escape(path.name)}</li>")
    return _folded(f"Skipped images ({len(rows)})", f"<ul>{''.join(items)}</ul>")


def _read_skipped(path: Path) -> list[tuple[str, str]]:
    if not path.exists():
        return []
    with path.open(encoding="utf-8", errors="surrogateescape", newline="") as lines:
        return [(row.get("path") or "", row.get("reason") or "") for row in csv.DictReader(lines)]


def _recipe(path: Path) -> str:
    if not path.exists():
        return ""
    return _folded("Recipe", f"<pre>{escape(path.read_text(encoding='utf-8', errors='replace'))}</pre>")


def _folded(summary: str, body: str) -> str:
    return f"<details><summary>{escape(summary)}</summary>{body}</details>"
