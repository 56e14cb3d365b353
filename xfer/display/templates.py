"""A table of templates, and lines that are put into another language by it.

`"{n#} files left out, see {file}": "略去 {n} 个文件,见 {file}"` has holes: `{file}` for text, which is kept as it is,
and `{n#}` for a number. `{cure?}` is put into the other language where the table has it, and `{message!}` has to be in
the table: the line stays English otherwise. `{reasons*}` is a list of counts, `3 truncated, 1 not an image`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path

_HOLE = re.compile(r"\{(\w+)([#!?*]?)\}")
_NUMBER = r"[+-]{0,2}(?:\d(?:[\d,.]*\d)?(?:e[+-]?\d+)?|nan|inf)%?"
_CURE = ". Cure"  # begins what is no part of a name, but said after a message
LONGEST = 4000  # characters of a line: what is longer is mostly somebody's text
_APART = ("frames", "lists", "headings", "cells", "help")


@dataclass(frozen=True)
class Template:
    """One entry of the table."""

    source: str
    target: str

    @cached_property
    def literals(self) -> tuple[str, ...]:
        """What stands around the holes, in order."""
        return tuple(_HOLE.split(self.source)[::3])

    @cached_property
    def holes(self) -> dict[str, str]:
        """Name -> `#`, `!`, `?`, `*`, or nothing."""
        return dict(_HOLE.findall(self.source))

    @cached_property
    def _pattern(self) -> re.Pattern[str]:
        """Free holes end where what follows them is first found, for good: no line takes longer than its length."""
        pattern, opened = "", False
        first, *rest = _HOLE.split(self.source)
        pattern = re.escape(first)
        for name, kind, literal in zip(rest[::3], rest[1::3], rest[2::3], strict=True):
            if kind != "#":
                pattern += (")" if opened else "") + "(?>"
                opened = True
            pattern += f"(?P<{name}>{_NUMBER if kind == '#' else '.+?'}){re.escape(literal)}"
        return re.compile(pattern + r"\Z" + (")" if opened else ""))

    @cached_property
    def _between(self) -> tuple[str, ...]:
        """The words that end a free hole within the line: in a hole, they leave open where it ends."""
        ends = zip(self.holes.values(), self.literals[1:-1], strict=False)
        return tuple(literal for kind, literal in ends if kind != "#" and re.search("[A-Za-z]{3}", literal))

    def match(self, line: str) -> dict[str, str] | None:
        """What stands in the holes; None for a line that is not of this template, or could be so in two ways."""
        if not line.startswith(self.literals[0]) or not line.endswith(self.literals[-1]):
            return None
        if (found := self._pattern.match(line)) is None:
            return None
        values = found.groupdict()
        if any(words in value for words in self._between for value in values.values()):
            return None
        return None if any(_CURE in values[name] for name, kind in self.holes.items() if not kind) else values


class Templates:
    """All entries for a language. Of those that match a line, the one with most letters of its own is taken.

    sections  name -> English -> the other language. Of `cells`, heading -> English -> the other language. `frames` are
              what stands around other messages, and are tried first, in their order.
    """

    def __init__(self, sections: Mapping[str, Mapping[str, str]], cells: Mapping[str, Mapping[str, str]]) -> None:
        self.frames = _ordered(sections["frames"])
        lines = {key: text for name, section in sections.items() if name not in _APART for key, text in section.items()}
        (counted, joined), (_, self.joint) = sections["lists"].items()
        self.counted = Template(counted, joined)
        self.exact = {key: text for key, text in lines.items() if "{" not in key}
        self.lines = _by_weight({key: text for key, text in lines.items() if "{" in key})
        self.headings = {key: text for key, text in sections["headings"].items() if "{" not in key}
        self.titled = _by_weight({key: text for key, text in sections["headings"].items() if "{" in key})
        self.cells = {heading: (words, _by_weight(words)) for heading, words in cells.items()}
        self.helps = sections["help"]

    def line(self, text: str) -> str:
        return self._found(text) or text

    def heading(self, text: str) -> str:
        return self.headings.get(text) or self._first(self.titled, text) or text

    def cell(self, heading: str, text: str) -> str:
        words, templates = self.cells.get(heading, ({}, ()))
        return words.get(text) or self._first(templates, text) or text

    def help(self, text: str) -> str:
        """Click shortens a paragraph to its first sentence, without the full stop."""
        return self.helps.get(text) or self.helps.get(f"{text}.", text)

    def _found(self, text: str) -> str | None:
        if len(text) > LONGEST:
            return None
        return self.exact.get(text) or self._first(self.frames, text) or self._first(self.lines, text)

    def _first(self, templates: tuple[Template, ...], text: str) -> str | None:
        for template in templates:
            values = template.match(text)
            if values is not None and (target := self._filled(template, values)):
                return target
        return None

    def _filled(self, template: Template, values: dict[str, str]) -> str | None:
        for name, kind in template.holes.items():
            if kind == "*":
                values[name] = self.joint.join(map(self._counted, re.split(r", (?=\d)", values[name])))
            if kind in ("!", "?"):
                word = self._found(values[name])
                if word is None and kind == "!":
                    return None
                values[name] = word or values[name]
        return template.target.format_map(values)

    def _counted(self, item: str) -> str:
        return self._first((self.counted,), item) or item


def _ordered(entries: Mapping[str, str]) -> tuple[Template, ...]:
    return tuple(Template(source, target) for source, target in entries.items())


def _by_weight(entries: Mapping[str, str]) -> tuple[Template, ...]:
    return tuple(sorted(_ordered(entries), key=lambda template: -sum(map(len, template.literals))))


@cache
def packaged(language: str) -> Templates:
    """The table that comes with xfer."""
    content = json.loads(Path(__file__).with_name(f"{language}.json").read_text(encoding="utf-8"))
    cells = content.pop("cells")
    return Templates(content, cells)
