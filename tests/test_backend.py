import json
import sys
from importlib.metadata import EntryPoint

import pytest
from click.testing import CliRunner

from xfer.backends import GROUP, load_backend, pick_device
from xfer.cli.main import main
from xfer.errors import BackendError
from xfer.testing.numpy_backend import NumpyBackend


class Rich(NumpyBackend):
    def devices(self):
        return ("cuda:0", "cuda:1", "npu:0", "cpu")


@pytest.mark.parametrize(
    ("wanted", "given"),
    [("auto", "cuda:0"), ("cuda", "cuda:0"), ("cuda:1", "cuda:1"), ("npu", "npu:0"), ("cpu", "cpu")],
)
def test_a_device_is_the_best_the_first_of_its_kind_or_itself(wanted, given):
    assert pick_device(Rich(), wanted) == given


@pytest.mark.parametrize("wanted", ["cuda:2", "gpu", "cud", ""])
def test_a_device_that_is_not_there_is_refused_with_those_that_are(wanted):
    with pytest.raises(BackendError, match="can use cuda:0, cuda:1, npu:0, cpu here"):
        pick_device(Rich(), wanted)


def test_backends_are_found_by_their_entry_points(monkeypatch, declared_backends):
    entry = EntryPoint("mine", declared_backends["numpy"].value, GROUP)
    monkeypatch.setattr("xfer.backends.entry_points", lambda group: [entry] if group == "xfer.backends" else [])
    assert isinstance(load_backend("mine"), NumpyBackend)
    with pytest.raises(BackendError, match="Did you mean 'mine'"):
        load_backend("mien")


def install(site, monkeypatch, code, extras=("jax",)):
    """A stranger's package, xfer-jax, whose module has this code."""
    about = site / "xfer_jax-1.dist-info"
    about.mkdir(parents=True)
    lines = "".join(f"Provides-Extra: {extra}\n" for extra in extras)
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: xfer-jax\nVersion: 1\n{lines}")
    (about / "entry_points.txt").write_text(f"[{GROUP}]\njax = broken_jax:JaxBackend\n")
    (site / "broken_jax.py").write_text(code)
    monkeypatch.syspath_prepend(str(site))
    monkeypatch.delitem(sys.modules, "broken_jax", raising=False)


WHERE = """; python -c "from broken_jax import JaxBackend" shows where"""
MISSING = "needs a package that cannot be imported (No module named 'no_such_jax'). Cure: pip install"
BROKEN = "Cure: pip install --force-reinstall 'xfer-jax[jax]'" + WHERE


@pytest.mark.parametrize(
    ("code", "extras", "message"),
    [
        ("import no_such_jax", ["test", "jax"], f"{MISSING} 'xfer-jax[jax]'"),
        ("import no_such_jax.lax", ["Jax"], f"{MISSING} 'xfer-jax[jax]'"),
        ("import no_such_jax", ["test"], f"{MISSING} 'xfer-jax'"),
        ("import no_such_jax", [], f"{MISSING} 'xfer-jax'"),
        (
            "raise OSError('libcudart.so.12: cannot open')",
            ["jax"],
            f"(OSError: libcudart.so.12: cannot open). {BROKEN}",
        ),
        ("raise RuntimeError('\\n version 9\\nand more')", ["jax"], f"(RuntimeError: version 9). {BROKEN}"),
        ("raise ImportError('undefined symbol: x')", ["jax"], f"(ImportError: undefined symbol: x). {BROKEN}"),
        ("raise KeyError", ["jax"], f"(KeyError: no reason given). {BROKEN}"),
        ("def JaxBackend(): 1 / 0", ["jax"], f"(ZeroDivisionError: division by zero). {BROKEN}"),
        ("x = 1", [], "has no attribute 'JaxBackend'). Cure: pip install --force-reinstall 'xfer-jax'" + WHERE),
        ("import broken_jax.part", ["jax"], BROKEN),
        ("from xfer.errors import BackendError\nraise BackendError('none. Cure: b')", ["jax"], "none. Cure: b"),
    ],
)
def test_a_framework_that_is_absent_or_broken_is_one_line_with_a_cure_that_exists(
    tmp_path, monkeypatch, code, extras, message
):
    install(tmp_path, monkeypatch, code, extras)
    with pytest.raises(BackendError) as caught:
        load_backend("jax")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_broken_framework_is_listed_beside_the_others(tmp_path, monkeypatch):
    install(tmp_path, monkeypatch, "raise OSError('libcudart.so.12: cannot open')")
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}:{':'.join(sys.path)}")
    monkeypatch.setattr("xfer.doctor.declared", lambda: {"jax": None})
    (record,) = json.loads(CliRunner().invoke(main, ["backends", "--json"]).stdout)
    assert (record["works"], "libcudart.so.12" in record["problem"]) == (False, True)
