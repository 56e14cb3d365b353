from importlib.metadata import EntryPoint

import pytest

from xfer.backends import GROUP, load_backend, pick_device
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
