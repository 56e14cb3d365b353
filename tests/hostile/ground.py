"""What calls start from: a folder with sound input of every sort, the plain commands, the places for bad input."""

import random
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import xfer
from xfer.backends import GROUP
from xfer.formats.files import write_weights
from xfer.system.interrupts import Interrupted
from xfer.testing.numpy_backend import NumpyBackend
from xfer.testing.pictures import write_class_folders

Random = random.Random
Make = Callable[[Path, Random], list[str]]
"""Prepares a copy of the ground, which is the current folder then, and gives the words of a command."""
TINY = ["--backend", "numpy", "--arch", "tiny", "--weights", "random", "--size", "32", "--epochs", "1", "-q"]
STUDY = """
name = "two"
backends = ["numpy"]
seeds = 2
[modes.head]
recipe = "recipe.toml"
"""
RECIPE = """
seed = 0
[data]
source = "set"
[augment]
size = 32
[model]
arch = "tiny"
[weights]
source = "random"
[train]
epochs = 1
batch_size = 4
views = 2
"""


def train(*more: str) -> list[str]:
    return ["train", "--data", "set", "--output", "out", *TINY, *more]


ON = ["--arch", "convnet", "--backend"]
PARITY = ["parity", "--arch", "tiny", "--weights", "random", "--backends", "numpy,numpy", "--size", "32"]
PLAIN: Mapping[str, list[str]] = {
    "train": train(),
    "train on torch": train(*ON, "torch"),
    "train on mindspore": train(*ON, "mindspore"),
    "find-lr": ["find-lr", "--data", "set", *TINY],
    "resume": ["train", "--resume", "stopped", "-q"],
    "evaluate": ["evaluate", "run", "--data", "set", "-q"],
    "predict": ["predict", "run", "set/val", "-q"],
    "data check": ["data", "check", "set", "--set", "augment.size=32", "-q"],
    "export": ["export", "run", "-o", "out.onnx", "-q"],
    "convert": ["convert", "w.safetensors", "out.pth"],
    "compare": ["compare", "run", "run2"],
    "cache ls": ["cache", "ls"],
    "cache prune": ["cache", "prune"],
    "parity": [*PARITY, "--batch-size", "2", "--steps", "1", "-q"],
    "study": ["study", "study.toml", "--output", "out", "-q"],
    "backends": ["backends"],
    "doctor": ["doctor"],
}
"""What each command is called with where all is well."""


class Call(NamedTuple):
    """One hostile call.

    kind      what is hostile about it: calls of one kind are summed up in one line
    name      among all calls, the only one of this name; it seeds what `make` draws
    plain     the plain command that its cost is held against
    apart     in a process of its own from the first line of Python on, which reads the environment then
    vanishes  called in a folder that has been removed
    """

    kind: str
    name: str
    plain: str
    make: Make
    environment: Mapping[str, str | None] = {}
    apart: bool = False
    vanishes: bool = False


@dataclass(frozen=True)
class Slot:
    """A place on a command line for a path. `words` gives the line; `suffix` what a name there ends with."""

    plain: str
    name: str
    content: str
    words: Callable[[str], list[str]]
    suffixes: tuple[str, ...] = ("",)


WEIGHTS = (".safetensors", ".pth", ".ckpt")
SLOTS = [
    Slot("train", "--data", "data", lambda p: [*PLAIN["train"], "--data", p], ("", ".zip", ".tar", ".tar.gz")),
    Slot("train", "-c", "recipe", lambda p: train("-c", p), (".toml",)),
    Slot("train", "--weights", "weights", lambda p: train("--weights", p), WEIGHTS),
    Slot("train", "--output", "output", lambda p: train("--output", p)),
    Slot("find-lr", "--output", "output", lambda p: [*PLAIN["find-lr"], "-o", p]),
    Slot("resume", "--resume", "run", lambda p: ["train", "--resume", p, "-q"]),
    Slot("evaluate", "RUN", "run", lambda p: ["evaluate", p, "--data", "set", "-q"], ("", ".safetensors")),
    Slot("evaluate", "--data", "data", lambda p: ["evaluate", "run", "--data", p, "-q"], ("", ".zip", ".tar.xz")),
    Slot("predict", "RUN", "run", lambda p: ["predict", p, "set/val", "-q"], ("", ".safetensors", ".pth")),
    Slot("predict", "IMAGE", "picture", lambda p: ["predict", "run", p, "-q"], (".png", ".jpg")),
    Slot("predict", "--output", "output", lambda p: ["predict", "run", "set/val", "-q", "-o", p], (".csv", ".json")),
    Slot("data check", "DIR", "data", lambda p: ["data", "check", p, "-q"], ("", ".zip", ".tgz")),
    Slot("data check", "--output", "output", lambda p: [*PLAIN["data check"], "-o", p]),
    Slot("export", "RUN", "run", lambda p: ["export", p, "-o", "out.onnx", "-q"], ("", ".safetensors")),
    Slot("export", "--output", "output", lambda p: ["export", "run", "-q", "-o", p], (".onnx", ".safetensors")),
    Slot("export", "--data", "data", lambda p: [*PLAIN["export"], "--data", p], ("", ".zip")),
    Slot("convert", "SOURCE", "weights", lambda p: ["convert", p, "out.pth"], WEIGHTS),
    Slot("convert", "TARGET", "output", lambda p: ["convert", "w.safetensors", p], WEIGHTS),
    Slot("compare", "RUN", "run", lambda p: ["compare", "run", p]),
    Slot("compare", "--output", "output", lambda p: ["compare", "run", "run2", "-o", p]),
    Slot("parity", "--weights", "weights", lambda p: [*PLAIN["parity"], "--weights", p], WEIGHTS),
    Slot("parity", "--weights-other", "weights", lambda p: [*PLAIN["parity"], "--weights-other", p], WEIGHTS),
    Slot("parity", "--images", "picture", lambda p: [*PLAIN["parity"], "--images", p], (".png", "")),
    Slot("parity", "--output", "output", lambda p: [*PLAIN["parity"], "-o", p], (".json",)),
    Slot("study", "STUDY", "study", lambda p: ["study", p, "-q", "-o", "out"], (".toml",)),
    Slot("study", "--data", "data", lambda p: [*PLAIN["study"], "--data", p], ("", ".zip")),
    Slot("study", "--weights", "weights", lambda p: [*PLAIN["study"], "--weights", p], WEIGHTS),
    Slot("study", "--output", "output", lambda p: ["study", "study.toml", "-q", "-o", p]),
]


def giving(words: list[str]) -> Make:
    """Of words that need nothing but the ground."""
    return lambda here, random: words


def slots(content: str) -> list[Slot]:
    return [slot for slot in SLOTS if slot.content == content]


def where(slot: Slot) -> str:
    return f"{slot.plain} {slot.name}"


@dataclass(frozen=True)
class Ground:
    """Folders that are made once: `whole` is copied for each call, `site` declares the NumPy backend everywhere."""

    root: Path

    @property
    def whole(self) -> Path:
        return self.root / "whole"

    @property
    def site(self) -> Path:
        return self.root / "site"

    def copy(self, name: str) -> Path:
        place = self.root / "calls" / name
        shutil.rmtree(place, ignore_errors=True)
        return Path(shutil.copytree(self.whole, place / "here", symlinks=True))


def lay(root: Path) -> Ground:
    """Everything that a call may need, sound, with two finished runs and one that stopped."""
    ground = Ground(root)
    declare(ground.site)
    here = ground.whole
    data = write_class_folders(here / "set", counts=(4, 3))
    overrides = {"data": str(data), "arch": "tiny", "weights": "random", "size": 32, "train_from": "layer1"}
    for name, seed in (("run", 0), ("run2", 1)):
        xfer.train(None, NumpyBackend(), output=here / name, epochs=2, batch_size=4, seed=seed, **overrides)
    stop(here / "stopped", overrides)
    weights = xfer.Run.load(here / "run").checkpoint.weights
    for suffix in WEIGHTS:
        write_weights(here / f"w{suffix}", weights, {})
    (here / "recipe.toml").write_text(RECIPE, encoding="utf-8")
    (here / "study.toml").write_text(STUDY, encoding="utf-8")
    return ground


def stop(path: Path, overrides: Mapping[str, object]) -> None:
    """A run that was interrupted in its second epoch, with the state from which it goes on."""

    def late(what: str, done: int, total: int) -> None:
        if what == "epoch 2" and done >= 1:
            raise Interrupted(2, between=True)

    try:
        xfer.train(
            None, NumpyBackend(), output=path, epochs=3, batch_size=2, progress=late, checkpoint_every=1e-9, **overrides
        )
    except Interrupted:
        return
    raise AssertionError("the run did not stop")


def declare(site: Path) -> None:
    """The NumPy backend as a package, so that processes which xfer starts find it too."""
    about = site / "xfer_sweep_backends-1.dist-info"
    about.mkdir(parents=True)
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: xfer-sweep-backends\nVersion: 1\n")
    (about / "entry_points.txt").write_text(f"[{GROUP}]\nnumpy = xfer.testing.numpy_backend:NumpyBackend\n")
