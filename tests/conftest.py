import os
import sys
from contextlib import contextmanager
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from xfer.backends import GROUP

pytest_plugins = ["xfer.testing.fixtures"]


LONG = pytest.mark.skipif("XFER_TEST_LONG" not in os.environ, reason="long: XFER_TEST_LONG=1 runs it")


FIRST = ("backends", "test_hostile_folder.py", "test_sweep.py", "test_chaos.py", "studies", "porting", "cli")
"""What takes longest, so that two processes, to which xdist gives whole files in turn, end at about the same time."""


def pytest_collection_modifyitems(items):
    def place(item):
        part = item.path.relative_to(Path(__file__).parent).parts[0]
        return FIRST.index(part) if part in FIRST else len(FIRST)

    items.sort(key=place)
    for item in items:
        if item.get_closest_marker("long"):
            item.add_marker(LONG)


@pytest.fixture(autouse=True, scope="session")
def no_cache_of_the_user(tmp_path_factory):
    """No test reads or writes what the user has cached, and none shares what is kept with another unless it says so."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XFER_CACHE", str(tmp_path_factory.mktemp("cache")))
        patch.setenv("XFER_CACHE_LIMIT", "0")
        patch.setenv("XFER_LIMIT_CHECKED", "0")
        yield


@pytest.fixture(autouse=True, scope="session")
def english():
    """Whatever the language of the user is, tests read English unless they ask for another."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XFER_LANG", "en")
        yield


@pytest.fixture(autouse=True)
def no_pictures_read_before():
    """No test reads by processes because others before it have read much."""
    if readers := sys.modules.get("xfer.data.readers"):
        readers._Count.pictures = 0


@pytest.fixture(scope="module")
def declared_backends():
    """name -> entry point: NumPy's alone. A module that wants others as well overrides this fixture."""
    return {"numpy": EntryPoint("numpy", "xfer.testing.numpy_backend:NumpyBackend", GROUP)}


@pytest.fixture(scope="module")
def declaring(declared_backends):
    """Makes contexts in which these backends are declared, and no others."""

    @contextmanager
    def context():
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("xfer.backends.declared", lambda: declared_backends)
            yield

    return context


@pytest.fixture(scope="module")
def declare(declaring):
    """They are declared until the module ends: the run that its tests share is trained under it too."""
    with declaring():
        yield


def draw_nothing():
    """Runs of this test, or of this module, draw no pictures, which would take most of their time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("xfer.training.record.draw", lambda *args: None)
        yield


undrawn = pytest.fixture(draw_nothing)
undrawn_module = pytest.fixture(draw_nothing, scope="module")


SET_BY_COMMANDS = {name: os.environ.get(name) for name in ("PYTHONSAFEPATH", "MPLBACKEND", "MATPLOTLIBRC")}


@pytest.fixture(autouse=True)
def no_command_leaves_its_environment():
    """A command sets these for its own process, which is here that of all tests; scripts then miss their neighbours."""
    yield
    for name, value in SET_BY_COMMANDS.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value
