"""Memory is told in bytes, and holds what was taken, though it was given back."""

import subprocess
import sys

TAKEN = 200_000_000


def test_peak_holds_what_was_taken_and_given_back():
    code = "taken = bytearray({}); taken[::4096] = b'x' * len(taken[::4096]); del taken\n"
    code += "from xfer.system.memory import peak_memory; print(peak_memory())"
    little, much = (
        int(subprocess.run([sys.executable, "-c", code.format(size)], capture_output=True, check=True).stdout)
        for size in (4096, TAKEN)
    )
    assert 0.9 * TAKEN < much - little < 1.2 * TAKEN
