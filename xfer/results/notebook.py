"""What a notebook shows of a run, a checkpoint and predictions: HTML that holds its pictures and runs nothing."""

from __future__ import annotations

import io
import os
from base64 import b64encode
from collections.abc import Callable, Iterable, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from PIL import Image

from xfer.display.escape import escaped_lines
from xfer.errors import DataError
from xfer.pixels.content import read_content
from xfer.pixels.images import open_lazily
from xfer.results.figures import FIGURES, NONE, cell

_OF_A_RUN = (
    *("val_accuracy", "val_map", "val_loss", "best_epoch", "epochs", "n_train", "n_val"),
    *("classes", "backend", "device"),
)
_SIDE = 64  # pixels of a thumbnail at most
_QUICK = 2**20  # bytes of a file at most for a thumbnail: ten photographs of this size take half a second
# Without MathJax, which would take what stands between two dollar signs for a formula.
_HTML = '<div class="tex2jax_ignore mathjax_ignore">{}</div>'


def form(make: Callable[[], str]) -> str | None:
    """The HTML that is made; None, for which a notebook shows the text, where that fails."""
    try:
        return escaped_lines(_HTML.format(make()))  # names of files need not be Unicode, and a notebook is
    except Exception:  # a picture that cannot be read, a result of another version: no reason to fail in a cell
        return None


def of_run(path: Path, result: Mapping[str, Any]) -> str:
    """The key figures of a run, and its curves where they were drawn."""
    figures = [(FIGURES[key][0], cell(result[key], FIGURES[key][1])) for key in _OF_A_RUN if key in result]
    title, curves = f"{result.get('arch', NONE)} on {result.get('dataset', NONE)}", path / "plots" / "curves.png"
    words = "loss, accuracy and learning rate by epoch"
    drawn = _image(read_content(curves)[0], "png", words) if curves.exists() else ""
    return table(title, [*figures, ("Folder", escape(str(path)))]) + drawn


def table(title: str, rows: Iterable[tuple[str, str]]) -> str:
    """A line for each label, which is text, and its value, which is HTML."""
    return _table(title, "".join(f"<tr>{_cell(escape(label), 'th')}{_cell(value)}</tr>" for label, value in rows))


def pictures(title: str, rows: Sequence[tuple[str, str, str]], more: int) -> str:
    """A line for each file, with its class and probability and a thumbnail; `more` files are not shown."""
    head = "".join(_cell(name, "th") for name in ("", "picture", "class", "probability"))
    lines = (f"<tr>{_cell(thumbnail(row[0]))}{''.join(_cell(escape(text)) for text in row)}</tr>" for row in rows)
    return _table(title, f"<tr>{head}</tr>{''.join(lines)}") + (f"<p>and {more} more</p>" if more > 0 else "")


def thumbnail(file: str) -> str:
    """A small picture of a file; nothing of one that is in memory, has gone, or is too large to be read by the way."""
    try:
        # What lay in memory is called `image 0`: no file is meant, even if there is one.
        if not Path(file).suffix or os.path.getsize(file) > _QUICK:
            return ""
        image = open_lazily(file, draft=True)
        scale = _SIDE / max(image.width, image.height)
        size = max(1, round(image.width * scale)), max(1, round(image.height * scale))
        content = io.BytesIO()
        image.resize(size, Image.Resampling.BILINEAR).save(content, "JPEG", quality=85)
    except (DataError, OSError):
        return ""
    return _image(content.getvalue(), "jpeg", "")


def _table(title: str, lines: str) -> str:
    return f"<strong>{escape(title)}</strong><table><tbody>{lines}</tbody></table>"


def _cell(html: str, tag: str = "td") -> str:
    return f'<{tag} style="text-align: left">{html}</{tag}>'


def _image(content: bytes, kind: str, words: str) -> str:
    data = b64encode(content).decode()
    return f'<img alt="{words}" style="max-width: 100%" src="data:image/{kind};base64,{data}">'
