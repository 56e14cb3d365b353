"""TOML: a file is read as a recipe and as a study, and each of its lines as an override."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from fuzz.harness import Door, check_line
from xfer.errors import XferError
from xfer.recipe.keys import flat
from xfer.recipe.load import load_recipe, make_recipe, parse_override, to_toml
from xfer.recipe.recipe import Recipe
from xfer.studies.plan import read_plan

CONFIGS = Path(__file__).parents[1] / "configs"
WORDS = (
    b'"""',
    b"'''",
    b"[[",
    b"inf",
    b"nan",
    b"0x",
    b"1979-05-27T07:32:00Z",
    b"\\u0000",
    b"modes.",
    b"recipe = ",
    b"op = ",
)


def seeds() -> Mapping[str, bytes]:
    return {f"{file.parent.name}-{file.stem}": file.read_bytes() for file in CONFIGS.rglob("*.toml")} | {
        "all": to_toml(Recipe()).encode(),
        "study": b'[modes.a]\nrecipe = "recipe.toml"\nset = { "train.epochs" = 2 }\n',
    }


def read(path: Path) -> None:
    recipe = path.parent / "recipe.toml"
    if not recipe.exists():
        recipe.write_text("seed = 0\n", encoding="utf-8")
    for kind in (_override, _study, _recipe):
        try:
            kind(path)
        except XferError as error:
            check_line(str(error))


def _override(path: Path) -> None:
    text = path.read_bytes()[:2000].decode("utf-8", "surrogateescape")
    recipe = make_recipe({}, dict(map(parse_override, text.splitlines()[:3])))
    assert make_recipe(recipe.model_dump(mode="json", exclude_none=True), {}) == recipe


def _study(path: Path) -> None:
    read_plan(path)


def _recipe(path: Path) -> None:
    recipe = load_recipe(path)
    path.write_text(to_toml(recipe), encoding="utf-8")
    assert load_recipe(path) == recipe


KEYS = [key for key, _ in flat(Recipe().model_dump(mode="json"), lists=False)]
DOORS = {"toml": Door(seeds, read, ".toml", (*WORDS, *(key.encode() for key in KEYS)), 1 << 12)}
