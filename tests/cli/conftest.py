"""The command line is tested on the NumPy backend, so that no framework is needed, waited for or chosen by default."""

import pytest


@pytest.fixture(autouse=True, scope="module")
def declare_everywhere(declare):
    """For every test of this folder. A module may bring backends of its own: see `declared_backends`."""
