"""The notebooks of docs/notebooks: what is stored in them is small, plain and whole, and their cells run."""

import json
import os
import re
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.documents import ROOT
from xfer.testing.fixtures import require

nbformat = pytest.importorskip("nbformat", reason="nbclient is not installed")
pytest.importorskip("nbclient", reason="nbclient is not installed")
pytest.importorskip("ipykernel", reason="ipykernel is not installed")

from tools import notebook as tool  # noqa: E402

NOTEBOOKS = sorted((ROOT / "docs" / "notebooks").glob("*.ipynb"))
MOST = 300_000  # bytes of a notebook with its pictures
SMALL = ("size=64, epochs=10", 'size=32, epochs=1, arch="convnet", weights="random", train_from="stem"')
ABSOLUTE = re.compile(r"(?<![\w./:<])/(?:home|root|tmp|Users|work|var|opt|usr|private)/|[A-Z]:\\\\")

pytestmark = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


def outputs_of(path):
    """Everything that is stored of what cells gave, as text; pictures are left out."""
    stored = nbformat.read(path, as_version=4)
    for cell in stored.cells:
        for output in cell.get("outputs", ()):
            yield output.get("text", "")
            yield from (str(value) for kind, value in output.get("data", {}).items() if not kind.startswith("image/"))


def test_what_is_stored_is_small_and_of_no_machine(path):
    assert path.stat().st_size < MOST
    for text in outputs_of(path):
        assert not ABSOLUTE.search(text), ABSOLUTE.search(text)
    assert set(json.loads(path.read_text(encoding="utf-8"))["metadata"]) == {"kernelspec", "language_info"}


def test_all_cells_were_run_in_their_order(path):
    stored = nbformat.read(path, as_version=4)
    nbformat.validate(stored)
    code = [cell for cell in stored.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    kinds = [kind for cell in tool.kinds(stored) for output in cell for kind in output]
    assert "error" not in kinds
    assert kinds.count("image/jpeg") + kinds.count("image/png") >= 2
    shown = [text for text in outputs_of(path) if "data:image/png" in text]
    assert any("efficientnet_lite0 on pictures" in text for text in shown), "the run with its curves"


@pytest.fixture
def kernel(monkeypatch):
    """Another process imports what this one does."""
    for framework in ("torch", "mindspore"):
        if not find_spec(framework):
            require(framework)  # skips, or fails where it has to be there
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(map(str, filter(None, sys.path))))


@pytest.mark.usefixtures("kernel")
def test_its_cells_run_in_small(path, tmp_path):
    small = tmp_path / path.name
    text = path.read_text(encoding="utf-8")
    quoted = json.dumps(SMALL[1])[1:-1]
    assert text.count(SMALL[0]) == 2
    small.write_text(text.replace(SMALL[0], quoted), encoding="utf-8")
    (tmp_path / "here").mkdir()
    executed = tool.executed(small, tmp_path / "here")
    assert tool.kinds(executed) == tool.kinds(nbformat.read(path, as_version=4))
    assert (tmp_path / "here" / "runs" / "mindspore" / "best.safetensors").is_file()
    assert "bit for bit: True" in "".join(outputs_of_notebook(executed))


def outputs_of_notebook(executed):
    return (output.get("text", "") for cell in executed.cells for output in cell.get("outputs", ()))


@pytest.mark.long  # in small it is run always
@pytest.mark.usefixtures("kernel")
def test_its_cells_run_as_they_stand(path, tmp_path):
    assert tool.kinds(tool.executed(path, tmp_path)) == tool.kinds(nbformat.read(path, as_version=4))


def test_a_cell_that_raises_is_no_output(path, tmp_path):
    from nbclient.exceptions import CellExecutionError

    broken = tmp_path / path.name
    nbformat.write(nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("1 / 0")]), broken)
    with pytest.raises(CellExecutionError, match="division by zero"):
        tool.executed(broken, Path(tmp_path))
