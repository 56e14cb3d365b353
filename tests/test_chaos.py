"""A short part of `make chaos`, with a fixed seed."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from xfer.testing.fixtures import targets

ROOT = Path(__file__).parents[1]
OTHERS = sorted({target.backend for target in targets()} - {"numpy"})  # which `make chaos` takes in any case


@pytest.mark.parametrize("backend", ["numpy", *(pytest.param(name, marks=pytest.mark.long) for name in OTHERS)])
def test_a_few_kills_change_nothing(backend):
    flags = ["--seed", "2026", "--kills", "6", "--seconds", "600"]
    words = [sys.executable, "-m", "tests.chaos", *flags, "--backends", backend]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=900, check=False)
    assert done.returncode == 0, done
    match = re.search(r"^(\d+) kills in (\d+) runs and \d+ studies: 0 differences$", done.stdout, re.MULTILINE)
    assert match, done.stdout
    assert int(match[1]) >= 6
    assert int(match[2]) >= 1
