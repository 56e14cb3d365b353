"""The files of a stranger's package, as docs/backends.md gives them, are found and accepted as they stand."""

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from tiny import FOR_TINY

PAGE = Path(__file__).parents[2] / "docs" / "backends.md"
FENCED = re.compile(r"`([\w./]+)`:\n\n```\w+\n(.*?)^```$", re.MULTILINE | re.DOTALL)
BACKEND = """
from xfer.testing.numpy_backend import NETWORK, NumpyBackend

class {cls}(NumpyBackend):
    name = "{name}"
    networks = {{"mini": NETWORK}}
"""


@pytest.fixture(scope="module")
def files():
    """Name -> text of every file on the page."""
    return dict(FENCED.findall(PAGE.read_text(encoding="utf-8")))


@pytest.fixture(scope="module")
def project(files):
    return tomllib.loads(files["pyproject.toml"])


def declared(project):
    """Name, module and class of the one backend."""
    ((name, place),) = project["project"]["entry-points"]["xfer.backends"].items()
    return name, *place.split(":")


def test_the_page_has_all_the_files_and_they_agree(files, project):
    assert list(files) == ["pyproject.toml", "tests/conftest.py", "tests/test_conformance.py"]
    name, module, _ = declared(project)
    assert module == project["project"]["name"].replace("-", "_"), "hatchling would not find the folder"
    # The cure of a missing framework is `pip install 'package[backend]'`.
    assert name in project["project"]["optional-dependencies"]


def test_it_asks_for_what_this_project_offers(project):
    own = tomllib.loads((PAGE.parents[1] / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["project"]["dependencies"] == [own["name"]]
    assert project["project"]["requires-python"] == own["requires-python"]
    assert project["project"]["optional-dependencies"]["test"] == [f"{own['name']}[test]"]


def test_a_backend_is_accepted_with_them(files, project, tmp_path):
    """Installed as its pyproject.toml declares it, a healthy backend passes, and every law that applies has run."""
    name, module, cls = declared(project)
    installed = {
        f"{module}/__init__.py": BACKEND.format(cls=cls, name=name),
        "it-1.0.dist-info/METADATA": f"Metadata-Version: 2.1\nName: {project['project']['name']}\nVersion: 1.0\n",
        "it-1.0.dist-info/entry_points.txt": f"[xfer.backends]\n{name} = {module}:{cls}\n",
    }
    for path, text in (files | installed).items():
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_text(text, encoding="utf-8")
    environment = {key: value for key, value in os.environ.items() if not key.startswith("XFER_TEST_")}
    environment |= {"XFER_TEST_ONLY": name, "PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path])}
    command = [sys.executable, "-m", "pytest", "-v", "-p", "no:cacheprovider"]
    result = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout
    assert f"runs    {name}-cpu on cpu" in result.stdout
    passed = set(re.findall(rf"test_law\[{name}-cpu-\w+-(\w+)\] PASSED", result.stdout))
    assert passed == {law.__name__ for law in FOR_TINY}
    assert re.search(rf"test_breakage_is_caught\[{name}-cpu-.*\] PASSED", result.stdout)
