"""A short part of `make chaos`, with a fixed seed."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from xfer.testing.fixtures import targets

ROOT = Path(__file__).parents[1]
LONG = "XFER_TEST_LONG" in os.environ  # and `make chaos` takes all backends in any case


@pytest.mark.parametrize("backend", sorted({target.backend for target in targets()} | {"numpy"}) if LONG else ["numpy"])
def test_a_few_kills_change_nothing(backend):
    flags = ["--seed", "2026", "--kills", "12" if backend == "numpy" else "6", "--seconds", "600"]
    words = [sys.executable, "-m", "tests.chaos", *flags, "--backends", backend]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=900, check=False)
    assert done.returncode == 0, done
    match = re.search(r"^(\d+) kills in (\d+) runs and \d+ studies: 0 differences$", done.stdout, re.MULTILINE)
    assert match, done.stdout
    assert int(match[1]) >= 6
    assert int(match[2]) >= 1
