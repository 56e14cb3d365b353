"""Damage to the bytes of any file, and files that are written with it."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hostile.ground import Make, Random

Content = Callable[[Random], bytes]
Damage = Callable[[bytes, Random], bytes]
Change = Callable[[Path, Random], None]
MB = 1 << 20
WRONG: list[Any] = [None, -1, 10**30, 1e308, float("nan"), "text", [], {}, True, [[[]]]]
"""What hardly any field may be."""


def truncated(content: bytes, random: Random) -> bytes:
    return content[: random.randrange(len(content))]


def flipped(content: bytes, random: Random) -> bytes:
    changed = bytearray(content)
    for _ in range(random.choice([1, 1, 3, 30])):
        at = random.randrange(min(len(changed), random.choice([64, 1024, len(changed)])))
        changed[at] ^= 1 << random.randrange(8)
    return bytes(changed)


def spliced(content: bytes, random: Random) -> bytes:
    start, end = sorted(random.randrange(len(content)) for _ in range(2))
    return (
        content[:start]
        + content[start:end] * random.randrange(3)
        + random.randbytes(random.randrange(40))
        + content[end:]
    )


def extreme(content: bytes, random: Random) -> bytes:
    """A number in the file becomes one of those at the ends of its range."""
    width = random.choice([1, 2, 4, 8])
    at = random.randrange(max(1, min(len(content) - width, 2000)))
    end = random.choice(
        [b"\xff" * width, bytes(width), b"\x7f" + b"\xff" * (width - 1), b"\xff" * (width - 1) + b"\x7f"]
    )
    return content[:at] + end + content[at + width :]


DAMAGES = [truncated, flipped, spliced, extreme]


def written(path: str, make: Content, words: list[str], damage: Damage | None = None) -> Make:
    """Words for a call, and the file that they speak of."""

    def arranged(here: Path, random: Random) -> list[str]:
        content = make(random)
        Path(path).write_bytes(damage(content, random) if damage else content)
        return words

    return arranged


def kept(path: str, name: str, make: Content, words: list[str]) -> Make:
    """As `written`, of content that takes long to make: it is made once for all calls, beside their ground."""

    def arranged(here: Path, random: Random) -> list[str]:
        bombs = here.parents[2] / "bombs"
        bombs.mkdir(exist_ok=True)
        if not (bombs / name).exists():
            part = bombs / f"{name}.{os.getpid()}"
            part.write_bytes(make(random))
            part.replace(bombs / name)
        shutil.copyfile(bombs / name, path)
        return words

    return arranged


def damaged(source: str, target: str, words: list[str], damage: Damage) -> Make:
    return written(target, lambda random: Path(source).read_bytes(), words, damage)


def changed(path: str, change: Change, words: list[str]) -> Make:
    """Words for a call, and a file that is made, or made into another, by code."""

    def arranged(here: Path, random: Random) -> list[str]:
        change(Path(path), random)
        return words

    return arranged
