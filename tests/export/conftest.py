import pytest


@pytest.fixture(autouse=True, scope="module")
def declare_everywhere(declare):
    """The NumPy backend stands for those that write a run, unless a module says otherwise."""
