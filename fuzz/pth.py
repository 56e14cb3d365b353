"""Coverage-guided fuzzing of the .pth reader: `python fuzz/pth.py -max_total_time=600`.

Whatever the bytes are, the reader gives arrays or raises ValueError, executes nothing, and takes no more memory than
libFuzzer's `-rss_limit_mb` allows. It starts from small files of both formats that torch has written.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from io import BytesIO
from pathlib import Path

import atheris
import numpy as np

with atheris.instrument_imports(include=["xfer"]):
    from xfer.formats.pth import parse_pth


def seeds(folder: Path) -> None:
    import torch

    options = {"args": argparse.Namespace(lr=0.1, device=torch.device("cpu")), "best": np.float64(0.5), "set": {1, 2}}
    averaged = {"n_averaged": torch.tensor(1), "module.w": torch.ones(2)}
    states = {
        "linear": torch.nn.Linear(3, 2).state_dict(),
        "norm": torch.nn.BatchNorm2d(2).state_dict(),
        "checkpoint": {"epoch": 3, "state_dict": {"w": torch.ones(2, 2).half().t(), "b": torch.zeros(1)}},
        "options": {"model": {"w": torch.ones(2)}, "model_ema": averaged, **options},
    }
    for name, state in states.items():
        for zipped in (True, False):
            file = BytesIO()
            torch.save(state, file, _use_new_zipfile_serialization=zipped)
            (folder / f"{name}-{zipped}").write_bytes(file.getvalue())


def one_input(data: bytes) -> None:
    try:
        arrays = parse_pth(data)
    except ValueError:
        return
    assert arrays
    assert all(isinstance(name, str) for name in arrays)


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        seeds(Path(folder))
        atheris.Setup([sys.argv[0], "-rss_limit_mb=2048", "-timeout=10", *sys.argv[1:], folder], one_input)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
