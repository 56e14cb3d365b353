"""The doors that are fuzzed (`make fuzz`), without a fuzzer: what is sound comes in, and what is damaged is refused."""

import random
import subprocess
import sys
from pathlib import Path

import pytest
from hostile.damage import DAMAGES

from fuzz.__main__ import DOORS, door_of
from fuzz.harness import Door, one_input
from xfer.errors import DataError, XferError

NEEDS_TORCH = {"pth"}


@pytest.fixture(scope="module")
def door(request):
    if request.param in NEEDS_TORCH:
        pytest.importorskip("torch")
    return door_of(request.param)


@pytest.mark.parametrize("door", DOORS, indirect=True)
def test_what_is_sound_comes_in(door, tmp_path):
    seeds = door.seeds()
    assert seeds
    for content in seeds.values():
        assert len(content) <= door.most, "the fuzzer would cut it"
        one_input(door, tmp_path, content)


@pytest.mark.parametrize("door", DOORS, indirect=True)
def test_what_is_damaged_is_read_or_refused(door, tmp_path):
    chance = random.Random(0)
    for content in door.seeds().values():
        for damage in DAMAGES:
            one_input(door, tmp_path, damage(content, chance))


def door_that(read):
    return Door(dict, read, ".x")


def raising(error):
    def read(path):
        raise error

    return read


@pytest.mark.parametrize("error", [ValueError("x"), KeyError("x"), XferError(""), DataError("two\nlines")])
def test_what_is_no_line_of_xfers_is_found(error, tmp_path):
    with pytest.raises((AssertionError, ValueError, KeyError)):
        one_input(door_that(raising(error)), tmp_path, b"")


def test_a_line_of_xfers_is_an_answer(tmp_path):
    seen = []
    one_input(door_that(lambda path: seen.append(path.read_bytes())), tmp_path, b"content")
    assert seen == [b"content"]
    one_input(door_that(raising(DataError("x.png: truncated"))), tmp_path, b"")


# In a process of its own: what others give back meanwhile would hide what is taken.
TOO_MUCH = """
import sys
from pathlib import Path
from fuzz import harness

harness.MEMORY, harness.SECONDS = 50_000_000, 0.2
for read in [lambda path: len(b"x" * 100_000_000), lambda path: sum(range(30_000_000)), lambda path: None]:
    try:
        harness.one_input(harness.Door(dict, read, ".x"), Path(sys.argv[1]), b"")
        print("fine")
    except AssertionError as error:
        print(error)
"""


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="no peak of memory for each input here")
def test_an_input_that_takes_too_much_is_found(tmp_path):
    root = Path(__file__).parents[1]
    said = subprocess.run([sys.executable, "-c", TOO_MUCH, tmp_path], cwd=root, capture_output=True, text=True)
    memory, seconds, fine = said.stdout.splitlines()
    assert memory == "0.1 GB"
    assert "processor time" in seconds
    assert fine == "fine"
