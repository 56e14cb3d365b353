"""The command line is tested on the NumPy backend, so that no framework is needed, waited for or chosen by default."""

from importlib.metadata import EntryPoint

import pytest

from xfer.backends import GROUP


@pytest.fixture(scope="module")
def declared_backends():
    """name -> entry point. A module that wants others as well overrides this fixture."""
    return {"numpy": EntryPoint("numpy", "xfer.testing.numpy_backend:NumpyBackend", GROUP)}


@pytest.fixture(autouse=True, scope="module")
def declare(declared_backends):
    """For a module and not for a test: the run that its tests share is trained under it too."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("xfer.backends.declared", lambda: declared_backends)
        yield
