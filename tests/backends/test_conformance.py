"""Every declared backend keeps the laws of `xfer.backend`; broken on purpose, it is caught."""

from contextlib import suppress

import pytest

from xfer.testing.broken.breakages import BREAKAGES
from xfer.testing.conformance import LAWS
from xfer.testing.laws import graphs


@pytest.mark.parametrize("law", LAWS, ids=lambda law: law.__name__)
def test_law(law, backend, device, arch_name, arch_names):
    if law in graphs.LAWS and arch_name != arch_names[0]:
        pytest.skip("it builds networks of its own: once for a backend is enough")
    law(backend, device, arch_name)


@pytest.mark.parametrize("breakage", BREAKAGES, ids=lambda breakage: breakage.what)
def test_breakage_is_caught(breakage, backend, device, arch_names):
    """By the first law it names, on the first network to which that applies."""
    for arch_name in arch_names:
        with suppress(pytest.skip.Exception):
            with pytest.raises(AssertionError):
                breakage.laws[0](breakage.make(backend), device, arch_name)
            return
    pytest.skip(f"{breakage.laws[0].__name__} applies to none of {', '.join(arch_names)}")
