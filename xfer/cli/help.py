"""What --help shows: as click has it in English, and laid out for wide characters in another language."""

from __future__ import annotations

import re
from collections.abc import Iterable

import click
from rich.cells import cell_len

from xfer.display.language import translated_help

_EVERYTHING = 10_000  # columns: click cuts no first sentence of a command
_FIRST_COLUMN = 30  # at most, as in click's own
_CLOSES, _OPENS = "、。》”，：；！？）,.:;)", "《“（("
_WIDE = "\u2e80-\ua4cf\uac00-\ud7a3\uf900-\ufaff\ufe30-\ufe4f\uff00-\uff60\u201c\u201d"
_UNIT = re.compile(rf"\s+|[{_OPENS}]*(?:[^\s{_WIDE}{_OPENS}]+|[{_WIDE}])[{_CLOSES}]*|.")
_RANGE = re.compile(r"[\d.e+-]*[<>=]*x[<>=]*[\d.e+-]*")  # which a value has to lie in
_EXTRAS = re.compile(r"(?:(.*)  )?\[([^\[\]]+)\]", re.DOTALL)


def wrapped(text: str, width: int) -> list[str]:
    """Lines of at most `width` columns, broken at blanks and between wide characters, none of which loses its comma."""
    lines, line = [], ""
    for unit in _UNIT.findall(text):
        if cell_len(line + unit.rstrip()) > width and line.strip():
            lines.append(line.rstrip())
            line = ""
        line += unit if line or not unit.isspace() else ""
    return [*lines, line.rstrip()]


def translated_record(text: str) -> str:
    """What an option does, with what click says behind it: `[default: 10; x>=0]`."""
    if not (parts := _EXTRAS.fullmatch(text)):
        return translated_help(text)
    extras = []
    for extra in parts[2].split("; "):
        name, colon, value = extra.partition(": ")
        own = "" if colon or _RANGE.fullmatch(extra) else translated_help(extra)
        extras.append(f"{translated_help(name)}：{value}" if colon else own or extra)
    return "  ".join([*map(translated_help, filter(None, [parts[1]])), f"[{'；'.join(extras)}]"])


class Translated(click.HelpFormatter):
    """Click's, whose own counts a wide character as one column, and wraps at blanks alone."""

    def __init__(self, width: int | None, max_width: int | None) -> None:
        super().__init__(width=width, max_width=max_width)
        self.columns, self.width = self.width, _EVERYTHING

    def write_usage(self, prog: str, args: str = "", prefix: str | None = None) -> None:
        super().write_usage(prog, args, f"{translated_help('Usage')}：")

    def write_heading(self, heading: str) -> None:
        self.write(f"{' ' * self.current_indent}{translated_help(heading)}：\n")

    def write_text(self, text: str) -> None:
        indent = " " * self.current_indent
        paragraphs = (translated_help(" ".join(part.split())) for part in text.split("\n\n"))
        parts = (wrapped(paragraph, self.columns - len(indent)) for paragraph in paragraphs)
        self.write("\n\n".join("\n".join(indent + line for line in lines) for lines in parts) + "\n")

    def write_dl(self, rows: Iterable[tuple[str, str]], col_max: int = _FIRST_COLUMN, col_spacing: int = 2) -> None:
        rows = list(rows)
        first = min(max((len(name) for name, _ in rows), default=0), col_max) + col_spacing
        blank = " " * (first + self.current_indent)
        for name, text in rows:
            begin, *rest = wrapped(translated_record(text), max(self.columns - len(blank), 10))
            beside = f"{' ' * self.current_indent}{name}"
            apart = "\n" + blank if len(beside) > len(blank) - col_spacing else " " * (len(blank) - len(beside))
            self.write("\n".join([(beside + apart + begin).rstrip(), *(blank + line for line in rest)]) + "\n")
