"""Files of weights, to train from or to convert: hostile, damaged, lying, or of another network."""

import io
import json
import os
import pickle
import struct
import zipfile
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file, save_file

from bad_input.shared import class_folders, finished_run, picture, table, train
from xfer.formats.files import read_weights, write_weights
from xfer.nets.convert import convert

ROWS, row = table()
OVERFLOWING = 3e38  # a number of float32, and no sum of two of them is


class Evil:
    """Whoever unpickles it makes a folder `out`, which a refusal has not to leave behind."""

    def __reduce__(self):
        return os.mkdir, ("out",)


def weighted(name, content=None):
    """Training from the file `name`, with this content if there is any."""
    class_folders()
    if content is not None:
        Path(name).write_bytes(content)
    return train("set", "--weights", name)


def safetensors(header, data=b""):
    """The bytes of a .safetensors file with any header, true or not."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


@row("weights that run code", "Cure")
def _(here):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        file.writestr("a/data.pkl", pickle.dumps({"w": Evil()}, 2))
    return weighted("w.pth", buffer.getvalue())


@row("a bare pickle that runs code", "w.pth")
def _(here):
    return weighted("w.pth", pickle.dumps(Evil(), 2))


@row("weights cut short", "w.pth")
def _(here):
    write_weights(Path("w.pth"), {"w": np.zeros(1000, np.float32)}, {})
    return weighted("w.pth", Path("w.pth").read_bytes()[:2000])


@row("weights with a flipped bit", "w.pth")
def _(here):
    write_weights(Path("w.pth"), {"w": np.zeros(1000, np.float32)}, {})
    content = bytearray(Path("w.pth").read_bytes())
    content[len(content) // 2] ^= 1
    return weighted("w.pth", bytes(content))


@row("weights of another network", "does not fit the network")
def _(here):
    save_file({"conv1.weight": np.zeros(3, np.float32)}, "w.safetensors")
    return weighted("w.safetensors")


@row("weights that are not finite", "not finite")
def _(here):
    weights = load_file(finished_run() / "best.safetensors")
    save_file({name: np.full_like(value, np.nan) for name, value in weights.items()}, "w.safetensors")
    return weighted("w.safetensors")


def unusable(file, name="norm1.running_var", value=-0.5):
    """The finished run's weights and metadata, one tensor full of one value, in a file of any format."""
    weights, metadata = read_weights(finished_run() / "best.safetensors")
    weights[name] = np.full_like(weights[name], value)
    write_weights(Path(file), weights, metadata)
    return file


for suffix in ("safetensors", "pth", "ckpt"):

    @row(f"a negative variance in .{suffix}", f"w.{suffix}: norm1.running_var holds a variance below 0. Cure: another")
    def _(here, file=f"w.{suffix}"):
        class_folders()
        return train("set", "--weights", unusable(file))

    @row(f"converting NaN from .{suffix}", f"w.{suffix}: fc.bias holds values that are not finite")
    def _(here, file=f"w.{suffix}"):
        return ["convert", unusable(file, "fc.bias", np.nan), "out.pth"]


@row("converting a negative variance", "w.pth: norm1.running_var holds a variance below 0")
def _(here):
    return ["convert", unusable("w.pth"), "out.ckpt"]


@row("parity of weights that are not finite", "w.pth: fc.weight holds values that are not finite")
def _(here):
    return ["parity", "--arch", "resnet18", "--weights", unusable("w.pth", "fc.weight", np.inf)]


@row("parity within no bound", "tolerance = inf")
def _(here):
    return ["parity", "--arch", "resnet18", "--weights", "random", "--tolerance", "inf"]


@row("predicting with a negative variance", "w.safetensors: norm1.running_var holds a variance below 0")
def _(here):
    Path("x.png").write_bytes(picture())
    return ["predict", unusable("w.safetensors"), "x.png", "-o", "out/p.csv"]


@row("evaluating weights that are not finite", "w.safetensors: stem.bias holds values that are not finite")
def _(here):
    class_folders()
    return ["evaluate", unusable("w.safetensors", "stem.bias", -np.inf), "--data", "set", "-q"]


@row("predicting with numbers too large", "x.png are not finite. Cure: another checkpoint: the numbers in w.saf")
def _(here):
    Path("x.png").write_bytes(picture())
    return ["predict", unusable("w.safetensors", "fc.weight", OVERFLOWING), "x.png", "-o", "out/p.json"]


@row("evaluating numbers too large", "are not finite. Cure: another checkpoint: the numbers in w.safetensors")
def _(here):
    class_folders()
    return ["evaluate", unusable("w.safetensors", "fc.weight", OVERFLOWING), "--data", "set", "-q"]


@row("weights with a suffix of no format", "w.bin")
def _(here):
    return weighted("w.bin", b"x")


@row("a .ckpt that is none", "w.ckpt")
def _(here):
    return weighted("w.ckpt", os.urandom(300))


@row("a folder called .pth", "w.pth")
def _(here):
    Path("w.pth").mkdir()
    return weighted("w.pth")


@row("a header longer than its file", "w.safetensors")
def _(here):
    return weighted("w.safetensors", struct.pack("<Q", 2**60) + b"{}")


@row("a header that promises a terabyte", "w.safetensors")
def _(here):
    return weighted("w.safetensors", safetensors({"w": {"dtype": "F32", "shape": [2**38], "data_offsets": [0, 2**40]}}))


@row("a header whose shape lies", "w.safetensors")
def _(here):
    lie = {"w": {"dtype": "F32", "shape": [9, 9], "data_offsets": [0, 8]}}
    return weighted("w.safetensors", safetensors(lie, bytes(8)))


@row("a header nested without end", "w.safetensors")
def _(here):
    return weighted("w.safetensors", safetensors(b"[" * 100_000))


HUGE = "9" * 400
BAD_NORMALIZE = {
    "a mean that is no number": ("[NaN, 0.5, 0.5]", "[0.5, 0.5, 0.5]"),
    "an infinite mean": ("[0.5, -Infinity, 0.5]", "[0.5, 0.5, 0.5]"),
    "a huge mean": ("[-1e300, 0.5, 0.5]", "[0.5, 0.5, 0.5]"),
    "a mean of 400 digits": (f"[{HUGE}, 0, 0]", "[0.5, 0.5, 0.5]"),
    "a mean of bytes": ("[123.7, 116.3, 103.5]", "[58.4, 57.1, 57.4]"),
    "a deviation that is no number": ("[0.5, 0.5, 0.5]", "[0.5, NaN, 0.5]"),
    "a deviation of nothing": ("[0.5, 0.5, 0.5]", "[0, 0.5, 0.5]"),
    "a negative deviation": ("[0.5, 0.5, 0.5]", "[0.5, 0.5, -0.5]"),
    "a deviation too small for float32": ("[0.5, 0.5, 0.5]", "[0.5, 0.5, 1e-60]"),
    "a mean of text": ('["a", "b", "c"]', "[0.5, 0.5, 0.5]"),
    "a mean of numbers in quotes": ('["0.5", "0.5", "0.5"]', "[0.5, 0.5, 0.5]"),
    "a mean that is no JSON": ("0.5, 0.5, 0.5", "[0.5, 0.5, 0.5]"),
    "a mean of four": ("[0.5, 0.5, 0.5, 0.5]", "[0.5, 0.5, 0.5]"),
    "a deviation of one": ("[0.5, 0.5, 0.5]", "0.5"),
    "a nested mean": ("[[0.5, 0.5, 0.5]]", "[0.5, 0.5, 0.5]"),
    "a mean nested without end": ("[" * 100_000, "[0.5, 0.5, 0.5]"),
    "a mean that is a table": ('{"r": 0.5}', "[0.5, 0.5, 0.5]"),
}
"""What the metadata of a file may say of its pictures: in a file of weights, and in a checkpoint."""


@row("weights whose mean is NaN, in a file beside them", "w.pth: its metadata mean and std cannot be used: mean: ")
def _(here):
    weights = load_file(finished_run() / "best.safetensors")
    write_weights(Path("w.safetensors"), weights, {"mean": "[NaN, 0, 0]", "std": "[1, 1, 1]"})
    convert(Path("w.safetensors"), Path("w.pth"))
    class_folders()
    return ["parity", "--arch", "tiny", "--weights", "w.pth", "--backends", "numpy,numpy", "--size", "32"]


for name, (mean, std) in BAD_NORMALIZE.items():

    @row(f"weights of {name}", "w.safetensors: its metadata mean and std cannot be used: ")
    def _(here, mean=mean, std=std):
        weights = load_file(finished_run() / "best.safetensors")
        save_file(weights, "w.safetensors", {"mean": mean, "std": std})
        return weighted("w.safetensors")


@row("converting what is not there", "none.pth")
def _(here):
    return ["convert", "none.pth", "out/x.ckpt"]


@row("converting text", "w.safetensors")
def _(here):
    Path("w.safetensors").write_text("text")
    return ["convert", "w.safetensors", "out/x.pth"]


@row("converting code", "Cure")
def _(here):
    Path("w.pth").write_bytes(pickle.dumps(Evil(), 2))
    return ["convert", "w.pth", "out/x.safetensors"]


@row("converting to no format", "x.onnx")
def _(here):
    write_weights(Path("w.pth"), {"w": np.zeros(3, np.float32)}, {})
    return ["convert", "w.pth", "out/x.onnx"]


@row("converting onto what is there", "exists already")
def _(here):
    write_weights(Path("w.pth"), {"w": np.zeros(3, np.float32)}, {})
    write_weights(Path("x.ckpt"), {"w": np.zeros(3, np.float32)}, {})
    return ["convert", "w.pth", "x.ckpt"]
