"""Pictures and labels of rows as files and a table: what makes a data set of Hugging Face one like any other."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, TypeAlias

from xfer.data.columns import USUAL, Columns
from xfer.data.hub_rows import Piece
from xfer.errors import DataError, nearest
from xfer.progress import Progress
from xfer.system.files import json_text
from xfer.system.limits import limit, variable_of

MANY = 100  # rows between two tellings
LONGEST = 200  # bytes of a name

_KINDS = ((b"\x89PNG", ".png"), (b"\xff\xd8", ".jpg"), (b"GIF8", ".gif"), (b"RIFF", ".webp"), (b"BM", ".bmp"),
          (b"II*\0", ".tif"), (b"MM\0*", ".tif"))  # fmt: skip
_IMAGES = (*USUAL["path"], "images", "photo", "picture", "pixel_values")
_LABELS = (*USUAL["label"], "labels", "fine_label")

ToText: TypeAlias = Callable[[Any], str | None]
"""From a cell to a label, or None where there is none."""


def write_set(
    folder: Path, table: str, source: str, pieces: Sequence[Piece], columns: Columns, progress: Progress
) -> None:
    """Files `SPLIT/LABEL/NAME` and the table, in an empty folder. Pictures that lie here as files stay where they are.

    Names are those that the rows have, where no other picture of the same split and label has it, and else numbers.
    Raises DataError for columns or cells that say nothing usable, and for more bytes than the limit `remote`.
    """
    total, most, done = 0, limit("remote"), 0
    names = _names(columns, source)
    numbers: dict[str, int] = {}
    taken = set[str]()
    with (folder / table).open("w", encoding="utf-8", errors="surrogatepass") as lines:
        for piece in pieces:
            image, label, group = _columns(piece, columns, source)
            as_text = _labels(piece, label, source)
            if piece.split != "train" and not _has_labels(piece, label, as_text):
                continue  # kept back by those who publish it
            for number, cells in enumerate(_rows(piece, [image, label, *([group] if group else [])])):
                text = as_text(cells[1])
                if text is None:
                    raise DataError(f"data {source}: row {number} of {piece.split} has no label. Cure: leave it out")
                inside = f"{piece.split}/{numbers.setdefault(text, len(numbers)):05d}"
                where = f"data {source}: row {number} of {piece.split}"
                path, content = _picture(cells[0], where)
                if content is not None:
                    path = _free(inside, path, content, number, taken)
                    total += len(content)
                    if total > most:
                        raise DataError(f"data {source}: more than {most:,} bytes. Cure: {variable_of('remote')}")
                    (folder / inside).mkdir(parents=True, exist_ok=True)
                    (folder / path).write_bytes(content)
                row = zip(names, (path, text, piece.split, *cells[2:]), strict=False)
                lines.write(json_text(dict(row)) + "\n")
                done += 1
                if not done % MANY:
                    progress(f"taking pictures out of {source}", done, None)


def _names(columns: Columns, source: str) -> tuple[str, ...]:
    """Of the table's columns path, label, split and group: as asked, so that they are found by the same names."""
    names = tuple(getattr(columns, role) or role for role in ("path", "label", "split", "group"))
    if len(set(names)) < len(names):
        raise DataError(f"data {source}: data.columns = {', '.join(names)}: a column twice. Cure: rename it in the set")
    return names


def _rows(piece: Piece, names: Sequence[str]) -> Iterator[tuple[Any, ...]]:
    for few in piece.rows(names):
        yield from zip(*few, strict=True)


def _has_labels(piece: Piece, label: str, as_text: ToText) -> bool:
    return any(as_text(cell) is not None for (cell,) in _rows(piece, [label]))


def _columns(piece: Piece, columns: Columns, source: str) -> tuple[str, str, str | None]:
    """Those of pictures, labels and groups: as asked, by kind where there is one of that, or by usual names."""
    images = [name for name in piece.names if _kind(piece.features.get(name)) == "Image"]
    classes = [name for name in piece.names if _kind(piece.features.get(name)) == "ClassLabel"]
    image = _one(piece, source, "path", columns.path, images, _IMAGES)
    label = _one(piece, source, "label", columns.label, classes, _LABELS)
    group = columns.group or next((name for name in piece.names if name.lower() in USUAL["group"]), None)
    if columns.group:
        group = _one(piece, source, "group", columns.group, [], ())
    return image, label, group


def _one(piece: Piece, source: str, role: str, asked: str | None, of_kind: Sequence[str], usual: Sequence[str]) -> str:
    listed = ", ".join(name[:40] for name in piece.names[:20])
    if asked:
        if asked in piece.names:
            return asked
        near = nearest(asked, piece.names)
        raise DataError(f"data {source}: no column {asked!r}, which data.columns has for the {role}: expected one of "
                        f"{listed}.{near}")  # fmt: skip
    named = [name for name in piece.names if name.lower() in usual]
    both = [name for name in of_kind if name in named]
    for fitting in (both, of_kind, named):
        if len(fitting) == 1:
            return fitting[0]
        if fitting:
            which = " and ".join(map(repr, fitting[:2]))
            cure = f'Cure: data.columns = {{ {role} = "{fitting[0]}" }}'
            raise DataError(f"data {source}: columns {which} may both be the {role}. {cure}")
    what = "pictures" if role == "path" else "labels"
    cure = f'Cure: data.columns = {{ {role} = "NAME" }}'
    raise DataError(f"data {source}: no column of {what} among {listed}. {cure}")


def _kind(feature: Any) -> str:
    return str(feature.get("_type", "")) if isinstance(feature, dict) else "List" if isinstance(feature, list) else ""


def _labels(piece: Piece, column: str, source: str) -> ToText:
    """What makes texts of a column's cells. One label a picture: a list of them is refused."""
    feature = piece.features.get(column)
    names = feature.get("names") if isinstance(feature, dict) else None

    def as_text(cell: Any) -> str | None:
        if isinstance(cell, list | tuple | dict | bytes):
            cure = 'Cure: a column with one label, data.columns = { label = "NAME" }'
            raise DataError(f"data {source}: column {column!r} holds several labels a picture, or none that is a text, "
                            f"expected one. {cure}")  # fmt: skip
        if cell is None or (isinstance(names, list) and cell == -1):
            return None
        if isinstance(names, list) and isinstance(cell, int):
            if not 0 <= cell < len(names):
                raise DataError(f"data {source}: {column} {cell}, expected 0 to {len(names) - 1}. Cure: save it anew")
            return str(names[cell])
        return str(cell)

    return as_text


def _picture(cell: Any, where: str) -> tuple[str, bytes | None]:
    """Its name or path, and its bytes; None for a file that lies here. Raises DataError for what is neither."""
    content, path = (cell.get("bytes"), cell.get("path")) if isinstance(cell, dict) else (None, cell)
    if isinstance(cell, bytes):
        content, path = cell, None
    if isinstance(content, bytes):
        return path if isinstance(path, str) else "", content
    if isinstance(path, str) and os.path.isabs(path) and "\0" not in path:
        return path, None
    raise DataError(f"{where} has no picture, neither bytes nor the path of a file here. Cure: data.columns, or save "
                    "the set with its pictures in it")  # fmt: skip


def _free(inside: str, name: str, content: bytes, number: int, taken: set[str]) -> str:
    """A path that no other picture has."""
    own = PurePosixPath(name.replace("\\", "/")).name
    suffix = next((suffix for begin, suffix in _KINDS if content.startswith(begin)), "")
    path = f"{inside}/{own}"
    if not own or own.startswith(".") or not own.isprintable() or len(os.fsencode(own)) > LONGEST or path in taken:
        path = f"{inside}/{number:08d}{suffix}"
        while path in taken:
            path = path.replace(f"/{number:08d}", f"/_{number:08d}")
    taken.add(path)
    return path
