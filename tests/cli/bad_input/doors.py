"""What is no file in the place of each file that is read, files without end, and records that are bombs."""

import json
import os
import shutil
import socket
import struct
from pathlib import Path

from bad_input.shared import class_folders, finished_run, picture, table, train
from xfer.formats.files import read_weights, write_weights

ROWS, row = table()

TIB = 2**40


def pipe(path):
    os.mkfifo(path)


def endless(path):
    path.symlink_to("/dev/zero")


def socket_(path):
    with socket.socket(socket.AF_UNIX) as listening:
        here = Path.cwd()
        os.chdir(path.parent)  # the name of a socket may have a hundred bytes
        try:
            listening.bind(path.name)
        finally:
            os.chdir(here)


def folder(path):
    path.mkdir()


KINDS = {"a pipe": pipe, "a device": endless, "a socket": socket_, "a folder": folder}


# Where a file is read: the words of a command, and the file that they read


def alone(name, *words):
    """A command that is given the file itself."""
    return lambda: (words, Path(name))


def in_run(name, *words, without=()):
    """A command that is given a copy of a finished run."""

    def make():
        shutil.copytree(finished_run(), "copy")
        for other in (name, *without):
            Path("copy", other).unlink(missing_ok=True)
        class_folders("new")
        Path("x.png").write_bytes(picture())
        return words, Path("copy", name)

    return make


def converted():
    """A checkpoint whose metadata lie beside it."""
    weights, metadata = read_weights(finished_run() / "best.safetensors")
    write_weights(Path("c.safetensors"), weights, metadata)
    Path("x.png").write_bytes(picture())
    return ("predict", "c.pth", "x.png", "-o", "out/p.csv"), Path("c.pth")


UNFINISHED = {"without": ["result.json"]}
PLACES = {
    "recipe": alone("r.toml", "train", "-c", "r.toml", "-q"),
    "study": alone("s.toml", "study", "s.toml", "-q"),
    "weights .pth": alone("w.pth", "convert", "w.pth", "out/x.ckpt"),
    "weights .ckpt": alone("w.ckpt", "convert", "w.ckpt", "out/x.pth"),
    "weights .safetensors": alone("w.safetensors", "convert", "w.safetensors", "out/x.pth"),
    "result of a run": in_run("result.json", "compare", "RUN", "copy"),
    "predictions of a run": in_run("predictions.csv", "compare", "RUN", "copy"),
    "metrics of a run": in_run("metrics.jsonl", "compare", "RUN", "copy", "-o", "shown"),
    "recipe of a run": in_run("config.toml", "evaluate", "copy", "--data", "new", "-q"),
    "checkpoint of a run": in_run("best.safetensors", "predict", "copy", "x.png", "-o", "out/p.csv", "-q"),
    "state of a run": in_run("state.safetensors", "train", "--resume", "copy", "-q", **UNFINISHED),
    "environment of a run": in_run("env.json", "train", "--resume", "copy", "-q", **UNFINISHED),
    "checkpoint alone": converted,
}


def odd(make, spoil, more=()):
    words, file = make()
    spoil(file)
    return [*words, *more]


for place, make in PLACES.items():
    for kind, spoil in KINDS.items():
        if (kind, place) == ("a folder", "checkpoint alone"):  # that is the folder of a run
            continue
        message = f"{kind}, expected a regular file"
        row(f"{kind} for the {place}", message)(lambda here, make=make, spoil=spoil: odd(make, spoil))


# Files without end, of which nothing is there


def sparse(beginning, size):
    def spoil(path):
        with path.open("wb") as file:
            file.write(beginning)
            file.truncate(size)

    return spoil


def claiming(numbers):
    """A .safetensors file of one tensor of so many numbers, and as large as it says."""
    tensor = {"dtype": "F32", "shape": [numbers], "data_offsets": [0, 4 * numbers]}
    header = json.dumps({"w": tensor}).encode()
    return sparse(struct.pack("<Q", len(header)) + header, 8 + len(header) + 4 * numbers)


HUGE = {
    "a .pth of zeros": ("weights .pth", sparse(b"", 8 * TIB), "neither a zip archive"),
    "a .pth that begins as a zip": ("weights .pth", sparse(b"PK\3\4", 8 * TIB), "not a zip file"),
    "a .pth that begins as a pickle": ("weights .pth", sparse(b"\x80\x02", 8 * TIB), "cut off or damaged"),
    "a .ckpt of zeros": ("weights .ckpt", sparse(b"", 8 * TIB), "not a MindSpore checkpoint"),
    "a .ckpt that begins well": (
        "weights .ckpt",
        sparse(b"\x0a", 8 * TIB),
        "needs about 16 TiB of memory, this machine has",
    ),
    "a .safetensors of terabytes": (
        "weights .safetensors",
        claiming(TIB // 4),
        "needs about 2.0 TiB of memory, this machine has",
    ),
    "a header of a terabyte": (
        "weights .safetensors",
        sparse(struct.pack("<Q", TIB), 2 * TIB),
        "has a header of 1,099,511,627,776 bytes, expected at most 67,108,864. Cure: XFER_LIMIT_HEADER",
    ),
    "a recipe of terabytes": ("recipe", sparse(b"", 8 * TIB), "more than 1,048,576 bytes. Cure: XFER_LIMIT_TOML"),
    "a study of terabytes": ("study", sparse(b"", 8 * TIB), "XFER_LIMIT_TOML"),
    "a result of terabytes": ("result of a run", sparse(b"", 8 * TIB), "XFER_LIMIT_JSON"),
    "predictions of terabytes": ("predictions of a run", sparse(b"", 8 * TIB), "XFER_LIMIT_CSV"),
    "a line without end": ("predictions of a run", sparse(b"", 2**27), "a line of more than 4,194,304 characters"),
    "a state of terabytes": ("state of a run", sparse(struct.pack("<Q", 9), 8 * TIB), "state.safetensors"),
    "a checkpoint of terabytes": ("checkpoint of a run", claiming(TIB // 4), "needs about 2.0 TiB of memory"),
}
for name, (place, spoil, message) in HUGE.items():
    row(name, message)(lambda here, make=PLACES[place], spoil=spoil: odd(make, spoil))


# Small files that would take a machine apart


def holding(content):
    return lambda path: path.write_bytes(content)


def header(content):
    return holding(struct.pack("<Q", len(content)) + content)


MANY = b"{%s}" % b",".join(b'"%d":{"dtype":"F32","shape":[0],"data_offsets":[0,0]}' % i for i in range(170_000))
BOMBS = {
    "a key of 260,000 parts": ("recipe", holding(b"a." * 2**18 + b"a=1"), "a key of more than 64 parts"),
    "a table of 260,000 parts": ("study", holding(b'[a."a"' + b".a" * 2**18 + b"]"), "a key of more than 64 parts"),
    "TOML nested without end": ("recipe", holding(b"a=" + b"[" * 2**19), "not valid TOML"),
    "a number of a million digits": ("recipe", holding(b"seed=" + b"9" * 10**6), "not valid TOML"),
    "a result nested without end": ("result of a run", holding(b"[" * 2**18), "recursion limit exceeded"),
    "an environment nested without end": ("environment of a run", holding(b"[" * 2**18), "recursion limit exceeded"),
    "millions of empty lists": (
        "result of a run",
        holding(b"[" + b"[]," * 5 * 10**6 + b"[]]"),
        "more than 500,000 lists and objects",
    ),
    "metrics that hold lists": ("metrics of a run", holding(b'{"epoch": []}\n' * 10**6), "line 1: epoch = []"),
    "a header nested in lists": ("weights .safetensors", header(b"[" * 2**18), "nested too deeply"),
    "a header that is a number": ("weights .safetensors", header(b"5"), "holds no tensors"),
    "tensors without number": ("weights .safetensors", header(MANY), "more than 500,000 lists and objects"),
}
for name, (place, spoil, message) in BOMBS.items():
    row(name, message)(lambda here, make=PLACES[place], spoil=spoil: odd(make, spoil))


# Folders that lead to each other


def linked(name, to):
    Path(name).symlink_to(to)


@row("folders deeper than the limit", "is more than 64 folders deep. Cure: XFER_LIMIT_DEPTH")
def _(here):
    class_folders()
    Path("set/train/ants/" + "d/" * 65).mkdir(parents=True)
    return train()


@row("a pattern over links that lead to each other", "a pattern that matches some")
def _(here):
    for name, other in (("a", "b"), ("b", "a")):
        Path("loop", name).mkdir(parents=True)
        linked(f"loop/{name}/x", f"../{other}")
        linked(f"loop/{name}/y", f"../{other}")
    return ["predict", "RUN", "loop/**/*.png", "-q"]


@row("a class of links that multiply", "no picture in this class")
def _(here):
    class_folders(classes=["ants", "bees", "wasps"])
    for split in ("train", "val"):
        for path in Path("set", split, "wasps").iterdir():
            path.unlink()
        for level in range(40):  # 2**40 paths
            Path("pool", split, str(level)).mkdir(parents=True)
            for name in ("left", "right"):
                linked(f"pool/{split}/{level}/{name}", f"../{level + 1}")
        linked(f"set/{split}/wasps/deep", f"../../../pool/{split}/0")
    return train()
