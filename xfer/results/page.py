"""A page in the style of xfer's reports: one HTML file that needs nothing else."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path

from xfer.display.escape import escaped_lines
from xfer.errors import CheckpointError
from xfer.system.files import write_bytes

_LARGE = 1200  # pixels; wider pictures are unreadable in the width of a page

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
dd { margin: 0; overflow-wrap: anywhere; white-space: pre-wrap; }
.whole { grid-column: 1 / -1; }
.wide { overflow-x: auto; }
.wide th, .wide td { text-align: right; }
.wide td { white-space: nowrap; }
.wide tbody th, .wide .name { text-align: left; }
section { margin: 1.5rem 0; }
.best { font-weight: bold; color: var(--strong); }
figure { margin: 2rem 0; }
img { display: block; max-width: max(100%, 36rem); height: auto; margin: 0 auto; background: white; }
.large { cursor: zoom-in; outline: none; }
.large:focus { cursor: auto; max-width: none; }
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


def write_page(path: Path, title: str, subtitle: str, sections: Sequence[str]) -> None:
    """Write a page in the reports' style; `title` is text, the others are HTML. Raises CheckpointError."""
    page = _PAGE.format(title=escape(title), style=_STYLE, subtitle=subtitle, body="".join(sections))
    try:
        # Folder names need not be Unicode, and may turn the text around: such characters are shown as their code.
        write_bytes(path, escaped_lines(page).encode())
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be written ({error})") from error


def picture(path: Path, caption: str) -> str:
    """A PNG file as HTML, inside the page; empty where there is no such file."""
    if not path.exists():
        return ""
    data = path.read_bytes()
    large = _width(data) > _LARGE
    words = escape(f"{caption}. Click to enlarge" if large else caption)
    # Without a script: what is clicked has the focus, and loses it by a click beside it.
    focus = ' class="large" tabindex="0"' if large else ""
    image = f'<img{focus} alt="{words}" src="data:image/png;base64,{base64.b64encode(data).decode()}">'
    return f'<figure><div class="wide">{image}</div><figcaption>{words}</figcaption></figure>'


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Of text. The first cell of a row names it."""
    lines = (f"<th>{escape(name)}</th>" + "".join(f"<td>{escape(cell)}</td>" for cell in rest) for name, *rest in rows)
    body = "".join(f"<tr>{line}</tr>" for line in lines)
    titles = f'<th class="name">{escape(head[0])}</th>' + "".join(f"<th>{escape(title)}</th>" for title in head[1:])
    return f'<div class="wide"><table><thead><tr>{titles}</tr></thead><tbody>{body}</tbody></table></div>'


def listed(lines: Sequence[str]) -> str:
    """Lines of text; empty where there are none."""
    return f"<ul>{''.join(f'<li>{escape(line)}</li>' for line in lines)}</ul>" if lines else ""


def folded(summary: str, body: str) -> str:
    return f"<details><summary>{escape(summary)}</summary>{body}</details>"


def _width(png: bytes) -> int:
    """In pixels, by the header; 0 where there is none."""
    return int.from_bytes(png[16:20], "big") if png[12:16] == b"IHDR" else 0
