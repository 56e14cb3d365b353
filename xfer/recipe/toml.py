"""TOML as people's editors and shells write it: other encodings, and the backslashes of Windows."""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from xfer.errors import ConfigError
from xfer.recipe.keys import flat

ESCAPES = {"\b": r"\b", "\t": r"\t", "\n": r"\n", "\f": r"\f", "\r": r"\r"}
"""What a path's backslash and a letter become in double quotes, without an error -> how they were written."""
_VALID = re.compile(r'\\(?:[btnfr"\\]|u[0-9a-fA-F]{4}|U[0-9a-fA-F]{8})')


def read_toml(path: Path, what: str = "recipe") -> dict[str, Any]:
    """Raises ConfigError, in one line, for a file that is missing, no text, no TOML, or whose paths are not meant."""
    where = f"{what} {path}"
    try:
        text = path.read_text(encoding="utf-8-sig")  # Notepad and PowerShell begin UTF-8 with a byte-order mark
    except FileNotFoundError:
        raise ConfigError(f"{where}: no such file") from None
    except UnicodeDecodeError as error:
        encoding = "UTF-16" if error.object[:2] in (b"\xff\xfe", b"\xfe\xff") else f"no UTF-8 ({error})"
        raise ConfigError(f"{where}: cannot be read: it is {encoding}. Cure: save it as UTF-8 in an editor") from None
    except OSError as error:
        raise ConfigError(f"{where}: cannot be read ({error})") from None
    return parse_toml(text, where)


def parse_toml(text: str, where: str) -> dict[str, Any]:
    """Raises ConfigError, in one line that begins with `where`, for no TOML and for a path that is not meant."""
    try:
        content = tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # no TOML, or a number of more digits than Python reads
        raise ConfigError(f"{where}: not valid TOML ({error}){_backslash_cure(str(error), text)}") from None
    _refuse_escaped_paths(content, where)
    return content


def parse_value(text: str, where: str) -> Any:
    """A TOML value, or plain text where it is none. Raises ConfigError for a quoted path that is not meant."""
    try:
        return parse_toml(f"value = {text}", where)["value"]
    except ConfigError as error:
        if "Cure" in str(error):
            raise
        return text.strip()


def _backslash_cure(complaint: str, text: str) -> str:
    """The cure where the complaint is about a line with a backslash that stands for itself; else nothing."""
    lines, number = text.split("\n"), re.search(r"at line (\d+)", complaint)
    line = lines[int(number[1]) - 1] if number else text.rstrip().rsplit("\n", 1)[-1]
    for quoted in re.findall(r'"([^"]*)"', line):
        if "\\" in _VALID.sub("", quoted):
            return f". Cure: single quotes, '{quoted}': in double quotes a backslash begins an escape"
    return ""


def _refuse_escaped_paths(content: Mapping[str, Any], where: str) -> None:
    r"""Raises ConfigError for `"C:\temp"`, as that is `C:`, a tab and `emp`, and for `"data\new"` where it is a file.

    Any other text with such characters may be the name of a file.
    """
    for key, value in flat(content):
        if isinstance(value, str) and not ESCAPES.keys().isdisjoint(value) and not os.path.lexists(value):
            written = "".join(ESCAPES.get(character, character) for character in value)
            if re.match(r"[A-Za-z]:", value) or os.path.lexists(written.replace("\\", os.sep)):
                raise ConfigError(
                    f"{where}: {key} = {value!r}: a backslash in double quotes began an escape. "
                    f"Cure: single quotes, '{written}'"
                )
