"""No kept feature outlives a change to the code that makes pixels, whatever files that code is divided into."""

import shutil
from pathlib import Path

import pytest

from xfer import pixels
from xfer.data import loader
from xfer.features.key import _code
from xfer.testing.numpy_backend import NumpyBackend

FILES = sorted(file.name for file in Path(pixels.__file__).parent.glob("*.py"))


@pytest.fixture
def sources(tmp_path, monkeypatch):
    """A copy of the folder and of the loader, which may be changed."""
    folder = Path(shutil.copytree(Path(pixels.__file__).parent, tmp_path / "pixels"))
    (tmp_path / "data").mkdir()
    monkeypatch.setattr(loader, "__file__", str(shutil.copy(loader.__file__, tmp_path / "data" / "loader.py")))
    monkeypatch.setattr(pixels, "__file__", str(folder / "__init__.py"))
    return tmp_path


@pytest.mark.parametrize("name", [*(f"pixels/{name}" for name in FILES), "pixels/new.py", "data/loader.py"])
def test_every_file_that_makes_pixels_counts(sources, name):
    code = _code.__wrapped__  # a process has one code for as long as it lives
    before = code(NumpyBackend)
    assert code(NumpyBackend) == before
    with (sources / name).open("a") as file:
        file.write("# changed\n")
    assert code(NumpyBackend) != before
