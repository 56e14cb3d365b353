"""`make parity-all` on one small network, and that it tells a difference. It takes half a minute: XFER_TEST_LONG=1."""

import os
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(not hasattr(os, "fork"), reason="it gives each network a process by forking"),
    pytest.mark.skipif(None in map(find_spec, ("torchvision", "mindspore")), reason="it compares both frameworks"),
]
ROOT = Path(__file__).parents[1]
WORDS = ["squeezenet1_1", "--size", "64"]
LINE = r"^squeezenet1_1 +1\.2 M  torch (\S+)  mindspore (\S+)  top-1 same  at 64 px(.*)$"


def call(*words):
    done = subprocess.run([sys.executable, *words], cwd=ROOT, capture_output=True, text=True, timeout=600, check=False)
    match = re.search(LINE, done.stdout, re.MULTILINE)
    assert match, done.stdout + done.stderr
    return done, *map(float, match.groups()[:2]), match[3]


def test_a_network_is_compared(tmp_path):
    table = tmp_path / "table.md"
    done, of_torch, of_mindspore, complaint = call("-m", "tests.parity_all", *WORDS, "--table", str(table))
    assert (done.returncode, complaint) == (0, ""), done
    assert of_torch <= 1e-6
    assert 0 < of_mindspore <= 1e-5, "the two frameworks add in another order"
    (row,) = table.read_text(encoding="utf-8").splitlines()[2:]
    assert row.startswith("| `squeezenet1_1` | 1.2 M | ")
    assert row.endswith(" | same | 64 |")
    assert done.stdout.splitlines()[-1].startswith("1 compared in ")


BROKEN = f"""
import os
from tests import parity_all

def broken(*words):
    os._exit(9)

parity_all.MINDSPORE = 0
codes = [parity_all.main({WORDS})]
parity_all.compare = broken
raise SystemExit("codes %s" % [*codes, parity_all.main({WORDS})])
"""


def test_a_difference_beyond_its_bound_and_a_process_that_dies_fail():
    done, *_, complaint = call("-c", BROKEN)
    assert complaint == "  MINDSPORE BEYOND 0", done
    assert done.stderr.endswith("codes [1, 1]\n")
    assert "squeezenet1_1        its process ended with exit code 9\n" in done.stdout
    assert re.findall(r"^(\d) compared in \d+ minutes, 1 wrong, 0 left out$", done.stdout, re.MULTILINE) == ["1", "0"]
