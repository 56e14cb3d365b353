"""The language of what is printed: English as the code has it, or what a table of templates makes of that.

The rest of the code knows of one language. Whoever prints hands each line to `translated`, which gives it back as it is
where English is spoken, and then nothing is read or imported.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from xfer.display.templates import Templates

LANGUAGES = ("en", "zh")
_SAMPLE = "译，。："  # an encoding that has these has what the table is written with
_spoken: Templates | None = None


def language_of(environ: Mapping[str, str]) -> str:
    """That of the locale: of POSIX's three variables for messages, the first that is set and not empty decides."""
    locale = next(filter(None, map(environ.get, ("LC_ALL", "LC_MESSAGES", "LANG"))), "")
    return "zh" if locale.lower().startswith("zh") else "en"


def named(name: str) -> str | None:
    """One of LANGUAGES, which may be named as a locale is: zh, zh_CN, zh-Hans, zh_CN.UTF-8; None for another."""
    return next((known for known in LANGUAGES if re.fullmatch(rf"{known}([-_.@].*)?", name, re.I)), None)


def shows_chinese(streams: Iterable[TextIO | None]) -> bool:
    """Whether each of these that is there can be written Chinese to."""
    try:
        for stream in streams:
            _SAMPLE.encode(getattr(stream, "encoding", None) or "utf-8")
    except (UnicodeEncodeError, LookupError):
        return False
    return True


def speak(language: str) -> None:
    """From now on, in this process."""
    global _spoken
    if language == "zh":
        from xfer.display.templates import packaged

        _spoken = packaged(language)
    else:
        _spoken = None


def speaks_english() -> bool:
    return _spoken is None


def translated(line: str) -> str:
    """One line, escaped before; as it is where the table has nothing for it."""
    return line if _spoken is None else _spoken.line(line)


def translated_label(label: str) -> str:
    """What progress is about, or how far it is, escaped before."""
    return label if _spoken is None else _spoken.label(label)


def translated_heading(heading: str) -> str:
    """What stands above a column."""
    return heading if _spoken is None else _spoken.heading(heading)


def translated_cell(heading: str, cell: str) -> str:
    """What stands in a column: a word there may be one of ours, and in another column somebody's class."""
    return cell if _spoken is None else _spoken.cell(heading, cell)


def translated_help(text: str) -> str:
    """A paragraph of what a command says of itself, or what an option does."""
    return text if _spoken is None else _spoken.help(text)
