"""Class names are whatever folders are called: any script, any length, `$`, newlines. Here they become drawable.

A face draws a text as it stands or an escape in its place, never an empty box, and knows how wide the text gets.
"""

from __future__ import annotations

import re
import unicodedata
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import matplotlib
from matplotlib import font_manager
from matplotlib.font_manager import FontProperties
from matplotlib.ft2font import FT2Font

from xfer.system import own_process

# Parts of file names, most wanted first. Only an order of search: what counts is the glyphs a font has.
_WANTED = (
    *("notosanscjk", "notosanssc", "notosansjp", "notosanskr", "sourcehansans", "pingfang", "hiraginosans"),
    *("msyh", "yugoth", "meiryo", "malgun", "applesdgothic", "wqy", "simhei", "droidsansfallback", "arialunicode"),
    *("dejavusans", "notosans"),
)
_UNWANTED = ("bold", "black", "light", "thin", "italic", "oblique", "mono", "condensed", "serif")
# Fonts that claim every character and draw a box or nothing, and coloured bitmaps, which Agg cannot draw.
_USELESS = ("lastresort", "adobeblank", "coloremoji", "emojicolor", "seguiemj")


class FontWarning(UserWarning):
    """Names that no installed font draws: the pictures show code points instead."""


@dataclass(frozen=True)
class Face:
    """One font file."""

    path: str

    def draws(self, char: str) -> bool:
        return char.isprintable() and bool(font_manager.get_font(self.path).get_char_index(ord(char)))

    def literal(self, text: str) -> str:
        r"""What to draw for a text: itself, with `\n`, `\u8682` and the like where it cannot be drawn."""
        return "".join(c if self.draws(c) else c.encode("unicode_escape").decode() for c in _composed(text))

    def width(self, text: str, size: float) -> float:
        """Width in points at a font size in points, kerning left out."""
        return size * sum(_advance(self.path, char) for char in text)

    def fit(self, text: str, size: float, width: float) -> str:
        """The literal text, its middle cut out where it is wider than `width` points.

        The middle, because long names differ at either end: `001.Black_footed_Albatross`, `Plantae_..._alba`.
        """
        text = self.literal(text)
        if self.width(text, size) <= width:
            return text
        dots = "…" if self.draws("…") else "..."
        shorter = (text[: (n + 1) // 2] + dots + text[len(text) - n // 2 :] for n in range(len(text) - 1, 1, -1))
        return next((short for short in shorter if self.width(short, size) <= width), text[:1] + dots)

    def properties(self, size: float) -> FontProperties:
        return FontProperties(fname=self.path, size=size)


def faces_for(names: Iterable[str]) -> tuple[Face, ...]:
    """The faces that draw a data set's names, the everyday one first.

    Gives a FontWarning, the first time, where some character is drawn by no installed font.
    """
    everyday = Face(str(Path(matplotlib.get_data_path(), "fonts", "ttf", "DejaVuSans.ttf")))
    chars = {c for name in names for c in _composed(name) if c.isprintable()}
    lacking = frozenset(c for c in chars if not everyday.draws(c))
    return (everyday, *(_search(lacking, installed_fonts()) if lacking else ()))


def pick(faces: Sequence[Face], text: str) -> Face:
    """The face that draws most of a text, the first among equals."""
    chars = set(_composed(text))
    return max(faces, key=lambda face: sum(map(face.draws, chars)))


def installed_fonts() -> tuple[str, ...]:
    """Paths of this machine's font files, most wanted first.

    Asked of the system: matplotlib's own list is written at its first start and lacks fonts installed since.
    """
    with own_process.quiet_programs():  # fontconfig complains of a cache that it cannot write, and needs none
        return tuple(sorted(font_manager.findSystemFonts(), key=_rank))


def _composed(text: str) -> str:
    """NFC, since some file systems keep Korean and accented names in pieces; every kind of space a plain one."""
    return "".join(" " if unicodedata.category(c) == "Zs" else c for c in unicodedata.normalize("NFC", text))


def _rank(path: str) -> tuple[int, int, str]:
    name = _squeezed(path)
    wanted = next((i for i, part in enumerate(_WANTED) if part in name), len(_WANTED))
    return wanted, sum(part in name for part in _UNWANTED), path


def _squeezed(path: str) -> str:
    return re.sub(r"[^a-z0-9]", "", Path(path).name.lower())


@lru_cache(maxsize=32)
def _search(chars: frozenset[str], paths: tuple[str, ...]) -> tuple[Face, ...]:
    """The first faces that together draw the characters, or as many of them as any do.

    It is cached for speed, and so that all the pictures of a run give one warning: Python's own record of warnings
    shown is emptied whenever a library touches the filters, as matplotlib does.
    """
    faces: list[Face] = []
    lacking = set(chars)
    for path in paths:
        if not lacking:
            break
        drawn = _drawn(path, lacking)
        if drawn:
            faces.append(Face(path))
            lacking -= drawn
    if lacking:
        _warn(sorted(lacking))
    return tuple(faces)


def _warn(chars: Sequence[str]) -> None:
    shown = " ".join(chars[:5]) + (" ..." if len(chars) > 5 else "")
    warnings.warn(
        f"no installed font draws {len(chars)} of the characters in names ({shown}): pictures show their code "
        "points. Cure: install a font that has them; for Chinese, Japanese and Korean, Noto Sans CJK "
        "(Debian, Ubuntu: apt install fonts-noto-cjk)",
        FontWarning,
        stacklevel=2,
    )


def _drawn(path: str, chars: Iterable[str]) -> set[str]:
    """Those of the characters that a font file has outlines for; none where the file cannot be read."""
    if any(part in _squeezed(path) for part in _USELESS):
        return set()
    try:
        font = FT2Font(path)
    except (OSError, RuntimeError):
        return set()
    return {c for c in chars if font.scalable and font.get_char_index(ord(c))}


@lru_cache(maxsize=8192)
def _advance(path: str, char: str) -> float:
    """Advance width as a share of the font size."""
    font = font_manager.get_font(path)
    font.set_size(100, 72)
    return float(font.load_char(ord(char)).linearHoriAdvance) / 65536 / 100
