import pytest

from xfer.system import locks


@pytest.fixture(params=["with", "without"])
def way(request, monkeypatch):
    """With locks, and as on systems that have none."""
    if request.param == "without":
        monkeypatch.setattr(locks, "fcntl", None)
    return request.param
