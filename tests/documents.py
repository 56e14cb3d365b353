"""What stands in the pages of the project: blocks, commands of xfer's and what is named beside them."""

import re
import shlex
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
BLOCK = re.compile(r"^(?P<indent> *)```(?P<language>[\w+-]*)[^\n]*\n(?P<body>.*?)^ *```$", re.MULTILINE | re.DOTALL)
CODE = re.compile(r"(?<!`)(`+)(?!`)(.+?)(?<!`)\1(?!`)", re.DOTALL)
COMMAND = re.compile(r"(?:\$ )?(?P<settings>(?:[A-Z_]+=\S+ )*)(?P<words>xfer(?: .*)?)$")
SHELL = {"", "sh", "bash", "console"}


@dataclass(frozen=True)
class Block:
    """A fenced block. `line`: of its first line of text, counted from 1."""

    language: str
    text: str
    line: int


@dataclass(frozen=True)
class Documented:
    """A command as it stands on a page. `whole`: in a block, where nothing may be left out."""

    page: Path
    line: int
    words: tuple[str, ...]
    whole: bool

    def __str__(self):
        return f"{self.page.name}:{self.line}: xfer {shlex.join(self.words)}"


def blocks(text):
    """Every fenced block of a page, in its order."""
    for found in BLOCK.finditer(text):
        yield Block(found["language"], found["body"], text.count("\n", 0, found.start("body")) + 1)


def inline_code(text):
    """(words of each piece of `code` outside of blocks, its line); what is wrapped is one line."""
    without = BLOCK.sub(lambda block: "\n" * block[0].count("\n"), text)
    for found in CODE.finditer(without):
        yield " ".join(found[2].split()), without.count("\n", 0, found.start()) + 1


def commands_of(page):
    """Every `xfer ...` of a page: each line of a block that begins so, and each piece of inline code."""
    text = page.read_text(encoding="utf-8")
    for block in blocks(text):
        if block.language in SHELL:
            for at, line in joined(block.text):
                if found := COMMAND.match(line.strip()):
                    yield Documented(page, block.line + at, _words(found["words"], comments=True), whole=True)
    for code, line in inline_code(text):
        if found := COMMAND.fullmatch(code):
            yield Documented(page, line, _words(found["words"], comments=False), whole=False)


def joined(text):
    """(number, line) of a block; one that ends with a backslash goes on in the next."""
    lines = enumerate(text.splitlines())
    for at, line in lines:
        whole = line
        while whole.endswith("\\"):
            whole = whole[:-1] + next(lines)[1].strip()
        yield at, whole


def _words(command, comments):
    """Without `...`, which says that more may follow, and without the brackets of what may be left out."""
    plain = re.sub(r"\[(--[^\]]*)\]", r"\1", command)
    _, *words = shlex.split(plain, comments=comments)
    return tuple(word for word in words if word != "...")
