import subprocess
import sys

import pytest

from xfer.testing import fixtures
from xfer.testing.fixtures import Target, require, targets

ABSENT = "no_such_backend"


@pytest.fixture(autouse=True)
def environment(monkeypatch):
    for name in ("BACKENDS", "DEVICES", "ARCHS"):
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
