"""A table of templates, and lines that are put into another language by it.

`"{n#} files left out, see {file}": "略去 {n} 个文件，见 {file}"` has holes: `{file}` for text, which is kept as it is,
and `{n#}` for a number. `{cure?}` is put into the other language where the table has it, and `{message!}` has to be in
the table: the line stays English otherwise. `{reasons*}` is a list of counts, `3 truncated, 1 not an image`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path

LONGEST = 4000  # characters of a line: what is longer is mostly somebody's text
_LINES = ("train", "evaluate", "compare", "data check", "installation", "export", "runs", "parity")
_WORDS = ("words", "pictures", "errors", "cures")  # what stands within other lines alone
_HOLE = re.compile(r"\{(\w+)([#!?*]?)\}")
_NUMBER = r"[+-]{0,2}(?:\d(?:[\d,.]*\d)?(?:e[+-]?\d+)?|nan|inf)%?"
_CURE = ". Cure"  # begins what is no part of a name, but said after a message
_COUNTS = re.compile(r", (?=\d)")


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
        pattern, opened = re.escape(self.literals[0]), False
        for (name, kind), literal in zip(self.holes.items(), self.literals[1:], strict=True):
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


@dataclass(frozen=True)
class Part:
    """Entries that are looked up together. Of those that match a text, the one with most letters of its own is taken.

    entries  English -> the other language
    """

    entries: Mapping[str, str]

    @cached_property
    def templates(self) -> tuple[Template, ...]:
        with_holes = (Template(source, target) for source, target in self.entries.items() if "{" in source)
        return tuple(sorted(with_holes, key=lambda template: -sum(map(len, template.literals))))


class Templates:
    """All entries for a language.

    sections  name -> English -> the other language. `frames` are what stands around other messages, and are tried
              first, in their order; `_LINES` are lines, and `_WORDS` stand within them.
    cells     heading of a column -> English -> the other language
    """

    def __init__(self, sections: Mapping[str, Mapping[str, str]], cells: Mapping[str, Mapping[str, str]]) -> None:
        self.frames = tuple(Template(source, target) for source, target in sections["frames"].items())
        self.lines, self.words = (Part(_joined(sections, names)) for names in (_LINES, _WORDS))
        self.headings, self.labels = Part(sections["headings"]), Part(sections["progress"])
        self.cells = {heading: Part(words) for heading, words in cells.items()}
        self.helps = sections["help"]
        (counted, target), (_, self.joint) = sections["lists"].items()
        self.counted = (Template(counted, target),)

    def line(self, text: str) -> str:
        if len(text) > LONGEST:
            return text
        return self._first(self.frames, text) or self._of(self.lines, text) or text

    def heading(self, text: str) -> str:
        return self._of(self.headings, text) or text

    def label(self, text: str) -> str:
        return self._of(self.labels, text) or text

    def cell(self, heading: str, text: str) -> str:
        part = self.cells.get(heading)
        return text if part is None else self._of(part, text) or text

    def help(self, text: str) -> str:
        """Click shortens a paragraph to its first sentence, without the full stop."""
        return self.helps.get(text) or self.helps.get(f"{text}.", text)

    def _of(self, part: Part, text: str) -> str | None:
        return part.entries.get(text) or self._first(part.templates, text)

    def _word(self, text: str) -> str | None:
        """What stands in a hole that is to be translated."""
        return self._of(self.words, text) or self._of(self.lines, text)

    def _first(self, templates: tuple[Template, ...], text: str) -> str | None:
        for template in templates:
            values = template.match(text)
            if values is not None and (target := self._filled(template, values)):
                return target
        return None

    def _filled(self, template: Template, values: dict[str, str]) -> str | None:
        for name, kind in template.holes.items():
            if kind == "*":
                items = (self._first(self.counted, item) or item for item in _COUNTS.split(values[name]))
                values[name] = self.joint.join(items)
            elif kind in ("!", "?"):
                word = self._word(values[name])
                if word is None and kind == "!":
                    return None
                values[name] = word or values[name]
        return template.target.format_map(values)


def _joined(sections: Mapping[str, Mapping[str, str]], names: Iterable[str]) -> dict[str, str]:
    return {source: target for name in names for source, target in sections[name].items()}


@cache
def packaged(language: str) -> Templates:
    """The table that comes with xfer."""
    sections = json.loads(Path(__file__).with_name(f"{language}.json").read_text(encoding="utf-8"))
    return Templates(sections, cells=sections.pop("cells"))
