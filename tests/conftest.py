import pytest

pytest_plugins = ["xfer.testing.fixtures"]


@pytest.fixture(autouse=True, scope="session")
def no_cache_of_the_user(tmp_path_factory):
    """No test reads or writes what the user has cached, and none shares features with another unless it says so."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XFER_CACHE", str(tmp_path_factory.mktemp("cache")))
        patch.setenv("XFER_CACHE_LIMIT", "0")
        yield
