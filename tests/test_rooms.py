"""What a reader may rely on when walking through the rooms."""

import ast
import inspect
import subprocess
import sys
from pathlib import Path

import pytest

import xfer

ROOT = Path(xfer.__file__).parent
ROOMS = sorted(path.parent for path in ROOT.rglob("__init__.py") if path.parent != ROOT)


@pytest.mark.parametrize("room", ROOMS, ids=lambda room: str(room.relative_to(ROOT)))
def test_a_room_says_what_it_is_for_and_hands_on_nothing(room):
    body = ast.parse((room / "__init__.py").read_text(encoding="utf-8")).body
    (statement,) = body
    assert isinstance(statement, ast.Expr)
    assert isinstance(statement.value.value, str)


@pytest.mark.parametrize("name", xfer.__all__)
def test_every_public_name_is_there(name):
    assert getattr(xfer, name) is not None


def test_public_names_are_listed_before_anything_is_imported():
    code = "import sys, xfer; print(dir(xfer)); print('numpy' in sys.modules, 'PIL' in sys.modules)"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    names, loaded = result.stdout.splitlines()
    assert [name for name in ast.literal_eval(names) if not name.startswith("__")] == sorted(xfer.__all__)
    assert loaded == "False False"


def test_no_room_bears_the_name_of_a_public_verb():
    verbs = {name for name in xfer.__all__ if inspect.isfunction(getattr(xfer, name))}
    assert {"train", "compare", "study", "parity"} <= verbs
    assert not verbs & {path.stem for path in ROOT.iterdir()}


def test_no_file_is_longer_than_a_reader_can_keep_in_mind():
    sources = [
        *ROOT.rglob("*.py"),
        *(ROOT.parent / "backends").rglob("*.py"),
        *(ROOT.parent / "benchmarks").rglob("*.py"),
    ]
    assert {str(path): n for path in sources if (n := len(path.read_text(encoding="utf-8").splitlines())) > 300} == {}
