"""Files of weights: arrays come out, and nothing is executed."""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable, Mapping
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fuzz.harness import Door
from xfer.formats.ckpt import write_ckpt
from xfer.formats.files import read_with_metadata
from xfer.formats.safetensors import write_safetensors

Arrays = Mapping[str, NDArray[Any]]
TYPES = ("float16", "float32", "float64", "int8", "int64", "uint8", "bool")
NAMES = ("layer1.0.conv1.weight", "module.fc.weight", "moments.fc.weight", "bn1.moving_mean", "learning_rate")
SETS: dict[str, Arrays] = {
    "types": {kind: np.ones((2, 3), kind) for kind in TYPES}
    | {"scalar": np.array(3, np.float32), "empty": np.ones((0, 2))},
    "names": {name: np.ones(2, np.float32) for name in NAMES},
}


def read(path: Path) -> None:
    weights, metadata = read_with_metadata(path)
    assert all(isinstance(name, str) and array.dtype == np.float32 for name, array in weights.items())
    assert all(isinstance(key, str) and isinstance(value, str) for key, value in metadata.items())


def safetensors() -> Mapping[str, bytes]:
    return {
        name: _file(arrays, lambda path, arrays: write_safetensors(path, arrays, {"mean": "[0, 0, 0]"}))
        for name, arrays in SETS.items()
    }


def ckpt() -> Mapping[str, bytes]:
    return {name: _file(arrays, write_ckpt) for name, arrays in SETS.items()}


def _file(arrays: Arrays, write: Callable[[Path, Arrays], None]) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "w")
        write(path, arrays)
        return path.read_bytes()


def pth() -> Mapping[str, bytes]:
    """Both formats, as torch has written them."""
    import torch

    options = {"args": argparse.Namespace(lr=0.1, device=torch.device("cpu")), "best": np.float64(0.5), "set": {1, 2}}
    averaged = {"n_averaged": torch.tensor(1), "module.w": torch.ones(2)}
    states = {
        "linear": torch.nn.Linear(3, 2).state_dict(),
        "norm": torch.nn.BatchNorm2d(2).state_dict(),
        "checkpoint": {"epoch": 3, "state_dict": {"w": torch.ones(2, 2).half().t(), "b": torch.zeros(1)}},
        "options": {"model": {"w": torch.ones(2)}, "model_ema": averaged, **options},
    }
    made = {}
    for name, state in states.items():
        for zipped in (True, False):
            file = BytesIO()
            torch.save(state, file, _use_new_zipfile_serialization=zipped)
            made[f"{name}-{zipped}"] = file.getvalue()
    return made


WORDS = (b'"dtype":"F8_E4M3"', b'"BF16"', b'"data_offsets":[0,', b"__metadata__")
OPCODES = (b"ctorch._utils\n_rebuild_tensor_v2\n", b"ccollections\nOrderedDict\n", b"cposix\nsystem\n")
DOORS = {
    "safetensors": Door(safetensors, read, ".safetensors", WORDS),
    "pth": Door(pth, read, ".pth", OPCODES),
    "ckpt": Door(ckpt, read, ".ckpt", (b"Float32", b"BFloat16", b"str", b"crc_num")),
}
