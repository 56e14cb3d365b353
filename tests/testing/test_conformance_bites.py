"""The laws hold for a healthy backend, and each breakage is caught by the laws it names."""

import pytest
from tiny import FOR_TINY

from xfer.testing.broken.breakages import BREAKAGES
from xfer.testing.conformance import LAWS
from xfer.testing.numpy_backend import NumpyBackend

PAIRS = [
    pytest.param(breakage, law, id=f"{breakage.what}-{law.__name__}")
    for breakage in BREAKAGES
    for law in breakage.laws
    if law in FOR_TINY
]


@pytest.mark.parametrize("law", FOR_TINY, ids=lambda law: law.__name__)
def test_a_healthy_backend_keeps_the_law(law):
    law(NumpyBackend(), "cpu", "tiny")


@pytest.mark.parametrize(("breakage", "law"), PAIRS)
def test_a_broken_backend_breaks_the_law(breakage, law):
    with pytest.raises(AssertionError):
        law(breakage.make(NumpyBackend()), "cpu", "tiny")


def test_every_law_is_broken_by_something():
    named = {law for breakage in BREAKAGES for law in breakage.laws}
    assert {law.__name__ for law in LAWS} == {law.__name__ for law in named}
