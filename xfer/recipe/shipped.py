"""The recipes and studies that come with xfer, by name: `ants_bees_frozen`, `tutorials/hotdog_finetune`."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from xfer.errors import ConfigError, expected

_PACKED = Path(__file__).with_name("configs")  # a wheel has them there: see force-include in pyproject.toml
ROOT = _PACKED if _PACKED.is_dir() else Path(__file__).parents[2] / "configs"
"""Where they lie: inside the installed package, or at the top of a checkout."""
STUDIES = ROOT / "studies"


def shipped(what: str = "recipe") -> Mapping[str, Path]:
    """Name -> file, of recipes or of studies: its path below their folder, without .toml."""
    root = STUDIES if what == "study" else ROOT
    files = [path for path in sorted(root.rglob("*.toml")) if what == "study" or STUDIES not in path.parents]
    return {path.relative_to(root).with_suffix("").as_posix(): path for path in files}


def find_recipe(path: Path, what: str = "recipe") -> Path:
    """The file that a path means, or the name of a recipe, or of a study, that comes with xfer.

    What is there goes first, and a path that is not is given back to be complained of. Raises ConfigError for a name
    that nothing has, and for the path that a shipped file has in a checkout, where there is no checkout.
    """
    if os.path.isfile(path):
        return path
    known = shipped(what)
    if (name := path.as_posix()) in known:
        return known[name]
    if os.path.isfile(f"{path}.toml"):
        raise ConfigError(f"{what} {path}: no such file. Cure: {path}.toml")
    if not path.suffix and not os.path.exists(path):
        raise ConfigError(f"{expected(what, name, known)} Or the path of a TOML file")
    bare = path.with_suffix("").as_posix().removeprefix("configs/").removeprefix("studies/" if what == "study" else "")
    if bare in known and not os.path.exists(path):
        raise ConfigError(f"{what} {path}: no such file. Cure: its name alone, {bare}, as it comes with xfer")
    return path
