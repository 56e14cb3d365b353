"""The laws hold for a healthy backend, and each breakage is caught by the laws it names."""

import pytest

from xfer.testing.broken import BREAKAGES
from xfer.testing.conformance import LAWS
from xfer.testing.laws.model import channels_are_red_green_blue
from xfer.testing.numpy_backend import NumpyBackend

# The tiny network has no convolution over colours: tests/test_conformance.py breaks this law on real ones.
FOR_TINY = [law for law in LAWS if law is not channels_are_red_green_blue]
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
