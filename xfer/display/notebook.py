"""The output of a notebook's cell that shows how far work is, drawn over itself."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from html import escape
from typing import Any

from xfer.display.escape import escaped
from xfer.display.screen import Work, picture

DRAWN_EVERY = 0.2  # seconds: each drawing is a message to the browser
WIDTH = 100  # columns of the bar with its label and figures
_STYLE = "font-family: monospace; white-space: pre; overflow-x: auto"  # not every notebook's own style says so of pre
# Without MathJax, which would take what stands between two dollar signs for a formula.
_HTML = f'<pre class="tex2jax_ignore mathjax_ignore" style="{_STYLE}">{{text}}</pre>'


class Output:
    """Lines that stay, and below them a bar while there is work. Rich's own would need ipywidgets to be installed."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.bar = ""
        self.work = Work()
        self.handle: Any = None
        self.drawn = -DRAWN_EVERY

    def progress(self, what: str, done: int, total: int | None) -> None:
        self.work.tell(done, total)
        self.bar = "" if self.work.finished else picture(what, self.work, WIDTH, "utf-8")
        self._draw_now_and_then()

    def say(self, line: str) -> None:
        self.lines.append(escaped(line))
        self._draw_now_and_then()

    def close(self) -> None:
        """Leave the lines alone behind."""
        self.bar = ""
        if self.lines or self.handle is not None:
            self._draw()

    def __repr__(self) -> str:
        return "\n".join([*self.lines, *([self.bar] if self.bar else [])])

    def _repr_html_(self) -> str:
        return _HTML.format(text=escape(repr(self)))

    def _draw_now_and_then(self) -> None:
        if time.monotonic() - self.drawn >= DRAWN_EVERY:
            self._draw()

    def _draw(self) -> None:
        from IPython.display import display  # a notebook has it, and nobody else needs it

        self.drawn = time.monotonic()
        if self.handle is None:
            self.handle = display(self, display_id=True)
        else:
            self.handle.update(self)


@contextmanager
def output_of_progress() -> Iterator[Output]:
    output = Output()
    try:
        yield output
    finally:
        output.close()
