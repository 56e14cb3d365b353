import os
import subprocess
import sys

import pytest
from tiny import FOR_TINY

from xfer.testing import fixtures
from xfer.testing.conformance import LAWS
from xfer.testing.fixtures import Target, require, targets

ABSENT = "no_such_backend"


@pytest.fixture(autouse=True)
def environment(monkeypatch):
    for name in ("BACKENDS", "DEVICES", "ARCHS", "ONLY"):
        monkeypatch.delenv(f"XFER_TEST_{name}", raising=False)


def test_numpy_is_always_there():
    backend, device = require("numpy")
    assert (backend.name, device) == ("numpy", "cpu")
    assert targets()[0] == Target("numpy", "cpu")


def test_an_absent_backend_skips_with_its_reason():
    with pytest.raises(pytest.skip.Exception, match=ABSENT):
        require(ABSENT)


def test_an_absent_backend_that_is_required_fails(monkeypatch):
    monkeypatch.setenv("XFER_TEST_BACKENDS", f"numpy, {ABSENT}")
    assert Target(ABSENT, "cpu") in targets()
    with pytest.raises(pytest.fail.Exception, match=f"required, and absent: {ABSENT}-cpu"):
        require(ABSENT)
    with pytest.raises(pytest.skip.Exception):
        require(ABSENT, "cuda")


def test_an_absent_device_that_is_required_fails(monkeypatch):
    with pytest.raises(pytest.skip.Exception, match="can use cpu here"):
        require("numpy", "cuda")
    monkeypatch.setenv("XFER_TEST_DEVICES", "cuda")
    with pytest.raises(pytest.fail.Exception, match="can use cpu here"):
        require("numpy", "cuda")
    monkeypatch.setenv("XFER_TEST_BACKENDS", "another")
    with pytest.raises(pytest.skip.Exception):
        require("numpy", "cuda")


def test_an_unknown_kind_of_device_is_refused(monkeypatch):
    monkeypatch.setenv("XFER_TEST_DEVICES", "gpu")
    with pytest.raises(pytest.UsageError, match="cpu, cuda, npu"):
        fixtures.pytest_configure(None)


def test_listing_targets_imports_no_framework():
    code = "import sys; from xfer.testing.fixtures import *; targets(); pytest_report_header(); print(*sys.modules)"
    modules = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert "xfer.testing.fixtures" in modules
    assert not {"torch", "mindspore"} & set(modules)


STRANGER = """
from xfer.testing.numpy_backend import NETWORK, NumpyBackend

class Stranger(NumpyBackend):
    name = "stranger"
    networks = {"mini": NETWORK, "other": NETWORK}
"""
CONFTEST = 'pytest_plugins = ["xfer.testing.fixtures"]'
SUITE = """
import pytest
from xfer.testing.conformance import LAWS

@pytest.mark.parametrize("law", LAWS, ids=lambda law: law.__name__)
def test_law(law, backend, device, arch_name):
    law(backend, device, arch_name)
"""


@pytest.fixture
def stranger(tmp_path):
    """An installed package that declares a backend with networks of its own, and its suite of two files."""
    files = {
        "stranger.py": STRANGER,
        "stranger-1.0.dist-info/METADATA": "Metadata-Version: 2.1\nName: stranger\nVersion: 1.0\n",
        "stranger-1.0.dist-info/entry_points.txt": "[xfer.backends]\nstranger = stranger:Stranger\n",
        "conftest.py": CONFTEST,
        "test_conformance.py": SUITE,
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)

    def run(selected="stranger", **environment):
        command = [sys.executable, "-m", "pytest", "-rs", "-p", "no:cacheprovider", "-k", selected]
        path = os.pathsep.join([str(tmp_path), *sys.path])
        return subprocess.run(
            command, cwd=tmp_path, env=os.environ | {"PYTHONPATH": path} | environment, capture_output=True, text=True
        )

    return run


def test_a_strangers_suite_is_two_files(stranger):
    """Its first network is tested, under the first name; devices it has not are skipped, and the header says so."""
    result = stranger()
    assert result.returncode == 0, result.stdout
    assert "runs    stranger-cpu on cpu" in result.stdout
    assert "absent  stranger-cuda" in result.stdout
    assert f" {len(FOR_TINY)} passed" in result.stdout
    assert "stranger does not build resnet18; XFER_TEST_ARCHS names others" in result.stdout


def test_a_stranger_names_its_networks(stranger):
    result = stranger(XFER_TEST_ARCHS="mini,other", XFER_TEST_DEVICES="npu")
    assert result.returncode == 1
    assert "MISSING stranger-npu" in result.stdout
    assert f" {2 * len(FOR_TINY)} passed" in result.stdout
    assert f" {2 * len(LAWS)} errors" in result.stdout


def test_a_stranger_can_be_tested_alone(stranger, monkeypatch):
    """Neither NumPy nor what else is installed: what is named is required, and nothing else is collected."""
    result = stranger(XFER_TEST_ONLY="stranger", selected="")
    assert result.returncode == 0, result.stdout
    assert f" {len(FOR_TINY)} passed" in result.stdout
    assert "numpy" not in result.stdout.split("collected")[1]
    monkeypatch.setenv("XFER_TEST_ONLY", ABSENT)
    assert {target.backend for target in targets()} == {ABSENT}
    with pytest.raises(pytest.fail.Exception, match=f"required, and absent: {ABSENT}-cpu"):
        require(ABSENT)
