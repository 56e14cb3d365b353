import pytest


@pytest.fixture(autouse=True, scope="module")
def declare_everywhere(declare):
    """The NumPy backend is the one that wrote the run."""
