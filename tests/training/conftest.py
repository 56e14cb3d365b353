"""Runs that were stopped, for the tests of resuming."""

import subprocess

import pytest
from stopped_runs import command, recipe_of, stopped_in

from xfer.testing.pictures import write_class_folders
from xfer.training import record


@pytest.fixture(scope="module", autouse=True)
def nothing_is_drawn(undrawn_module):
    """A module whose tests look at pictures overrides this."""


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_class_folders(tmp_path_factory.mktemp("data") / "pictures", counts=(9, 3))


@pytest.fixture
def recipe(data):
    return recipe_of(data)


@pytest.fixture
def unthrottled(monkeypatch):
    """Save the state after every step and every epoch."""
    monkeypatch.setattr(record, "STATE_EVERY", 0.0)
    monkeypatch.setattr(record, "STATE_SHARE", float("inf"))


@pytest.fixture
def stopped(recipe, tmp_path, unthrottled):
    """A run that was stopped in its third epoch."""
    return stopped_in(tmp_path / "stopped", recipe)


@pytest.fixture(scope="module")
def uninterrupted(data, tmp_path_factory):
    path = tmp_path_factory.mktemp("whole") / "run"
    done = subprocess.run(command(data, path, pause=0.0), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done
    return path
