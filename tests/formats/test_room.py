"""Weights of every format are held against the memory that is free before they are read."""

from pathlib import Path

import numpy as np
import pytest

from xfer.errors import WeightsError
from xfer.formats.files import SUFFIXES, read_weights, write_weights
from xfer.system import memory

WEIGHTS = {"w": np.arange(25_000, dtype=np.float32)}  # 100 kB, and as much again as an array


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_file_that_does_not_fit_is_refused_with_what_it_needs(suffix: str, tmp_path: Path, monkeypatch) -> None:
    path = tmp_path / f"w{suffix}"
    write_weights(path, WEIGHTS, {})
    monkeypatch.setattr(memory, "free_memory", lambda: 2 * path.stat().st_size)
    np.testing.assert_array_equal(read_weights(path)[0]["w"], WEIGHTS["w"])
    monkeypatch.setattr(memory, "free_memory", lambda: 199_999)
    with pytest.raises(
        WeightsError, match=r"w\.\w+: needs about 19\d KiB of memory, this machine has 195 KiB free\. Cure: a machine"
    ):
        read_weights(path)
    monkeypatch.setattr(memory, "free_memory", lambda: None)
    np.testing.assert_array_equal(read_weights(path)[0]["w"], WEIGHTS["w"])
