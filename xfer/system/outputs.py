"""What may be replaced in a folder that a user named: what was written there before by the same command, nothing else.

A folder is that of a run, a study, ... by what is in it, not by what its files are called: `log.txt` is anybody's.
"""

from __future__ import annotations

import os
from collections.abc import Collection
from pathlib import Path
from typing import Any

from xfer.errors import CheckpointError
from xfer.system.doors import read_json
from xfer.system.parts import parts


def refuse_foreign(
    folder: Path, what: str, names: Collection[str], own: bool, overwrite: bool, ignored: Collection[str] = ()
) -> None:
    """Raises CheckpointError for a folder that holds anything, unless it is `own` or nothing in it is in the way.

    what       is to be written there, such as "run", into the files `names`, relative to the folder
    own        whether it holds such a one already, whose files those are; it may hold others beside them
    overwrite  also write into a folder that holds other things, if none of them has one of these names
    ignored    entries that count as none
    """
    if own or not (inside := _entries(folder, names, ignored)):
        return
    if taken := [name for name in names if os.path.lexists(folder / name)]:
        raise CheckpointError(
            f"{folder}: its {taken[0]} is of no {what}, and would be replaced. Cure: another --output"
        )
    if not overwrite:
        more = f" and {len(inside) - 1} more" if len(inside) > 1 else ""
        raise CheckpointError(
            f"{folder}: holds {inside[0]}{more}, but no {what}. "
            "Cure: another --output, or --overwrite, which leaves what is there as it is"
        )


def refuse_foreign_file(file: Path, what: str, own: bool, overwrite: bool, flag: str = "--output") -> None:
    """Raises CheckpointError where `what` would replace a file that is not empty and not `own`, unless `overwrite`.

    flag   names the file
    """
    if not (own or overwrite) and file.is_file() and file.stat().st_size:
        raise CheckpointError(f"{file}: is there, and holds no {what}. Cure: another {flag}, or --overwrite")


def read_record(file: Path) -> dict[str, Any]:
    """What a JSON file says that tells what a folder is; empty where it is none, or says something else."""
    try:
        record = read_json(file)
    except (OSError, ValueError):
        return {}
    return record if isinstance(record, dict) else {}


def _entries(folder: Path, names: Collection[str], ignored: Collection[str]) -> list[str]:
    """What is in a folder, in order, but for what `replacing` left there of files with these names."""
    if not os.path.isdir(folder):
        return []
    try:
        present = os.listdir(folder)
    except OSError as error:
        raise CheckpointError(f"{folder}: cannot be read ({error.strerror}). Cure: another --output") from error
    return sorted({*present} - {*ignored} - {part.name for part in parts(folder, names)})
