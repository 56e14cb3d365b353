"""Names as they are shown: nothing in them moves a cursor, colours a screen, turns a line around or breaks it."""

from __future__ import annotations

import unicodedata


def escaped(line: str) -> str:
    r"""One line, with `\n`, `\x1b`, `\u202e`, `\udcff` and the like in the place of what is not to be printed.

    Names of files and classes, and what files and servers say, may hold commands to a terminal, marks that turn the
    text around, or bytes that are no text. Letters of every script and all kinds of spaces stay as they are.
    """
    return line if line.isprintable() else "".join(char if shows(char) else _code(char) for char in line)


def escaped_lines(text: str) -> str:
    """The same for text of several lines, which stay lines."""
    return "\n".join(map(escaped, text.split("\n")))


def shows(char: str) -> bool:
    """Whether a character is shown as itself."""
    return char.isprintable() or unicodedata.category(char) == "Zs"


def _code(char: str) -> str:
    return char.encode("unicode_escape").decode("ascii")
