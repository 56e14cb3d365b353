"""What xfer does on a GPU beside its peers, in five minutes, on pictures that it makes itself: one Markdown table.

    python -m benchmarks.gpu                           on a machine with a GPU
    python -m benchmarks.gpu --device cpu --quick      tries the script where there is none; its figures mean nothing

The peers need `benchmarks/requirements.txt`; one that is not installed is a row that says so. Each measured thing has a
process of its own, in turns; what takes a few seconds only is repeated as long as the minutes last.

training     a bare loop with the same settings (`gpu_step`), on batches that are in memory
inference    the same
fine-tuning  a whole epoch from JPEG files, with validation: torchvision's DataLoader, timm with its prefetcher
frozen       the whole command of a small recipe, from its start to its end, beside the features and training in it
bits         two runs, and one that is killed and resumed
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.common import Figures, Row, child, in_turns, table
from benchmarks.gpu_bits import DIFFERENT, SAME
from benchmarks.made_pictures import class_folders
from xfer.formats.files import write_weights
from xfer.nets.catalogue import graph_named
from xfer.nets.weights import init_weights

SIDES, PRECISIONS = ("xfer", "bare"), ("float32", "tf32", "bfloat16")
LOADERS = {"torchvision": "torchvision's DataLoader", "timm": "timm with its prefetcher"}
RECIPE = "configs/ants_bees_frozen.toml"
ROUNDS = 5
HEADINGS = ("", "xfer", "peer", "xfer / peer", "wanted", "")
STEPS_WANTED, EPOCH_WANTED, FROZEN_WANTED = 0.97, 1.0, 2.0
"""Of xfer's figure to the peer's: at least, of steps in tf32 and bfloat16; at most, of the other two's seconds."""

Cases = dict[str, list[Any]]
Line = list[object]


@dataclass(frozen=True)
class Sizes:
    """How much of each thing is measured.

    train, val   pictures of fine-tuning
    few          pictures of the frozen recipe and of the runs that are to repeat
    size         height and width in pixels that networks see, but for the frozen recipe
    picture      (height, width) of the files
    seconds      of a measurement of steps
    repeated     the network of the runs that are to repeat
    """

    train: int = 2928
    val: int = 1836
    few: tuple[int, int] = (244, 153)
    picture: tuple[int, int] = (375, 500)
    batch: int = 64
    steps: int = 20
    size: int = 224
    seconds: float = 2.0
    epochs: int = 3
    frozen_epochs: int = 20
    workers: int = 16
    minutes: float = 5.0
    archs: tuple[str, ...] = ("resnet18", "resnet50")
    repeated: str = "resnet18"


QUICK = Sizes(
    train=4, val=2, few=(4, 2), picture=(60, 80), batch=2, steps=1, size=32, seconds=0, epochs=1, frozen_epochs=1,
    workers=1, minutes=0, archs=("resnet18",), repeated="convnet",
)  # fmt: skip


def measure(device: str, sizes: Sizes) -> Figures:
    """Rows by case, as `plan` names them."""
    until = time.monotonic() + 60 * sizes.minutes
    with TemporaryDirectory() as folder:
        pictures = class_folders(Path(folder, "pictures"), sizes.train, sizes.val, sizes.picture)
        few = class_folders(Path(folder, "few"), *sizes.few, sizes.picture)
        weights = Path(folder, "resnet18.safetensors")
        write_weights(weights, init_weights(graph_named("resnet18").weights, seed=0), {})
        once, often = plan(device, sizes, pictures, few, weights)
        return in_turns(once, 1) | in_turns(often, ROUNDS, until=until)


def plan(device: str, sizes: Sizes, pictures: Path, few: Path, weights: Path) -> tuple[Cases, Cases]:
    """Modules and their arguments by name: what is measured once, and what is as often as there is time."""
    where = ("--device", device)
    epoch = [pictures, weights, *where, "--precision", "bfloat16", "--size", sizes.size, "--epochs", sizes.epochs]
    epoch += ["--batch", sizes.batch]
    theirs = [*epoch, "--workers", sizes.workers, "--channels-last"]
    inputs = ("-b", "torch", "--data", few, "--weights")
    run = [*inputs, "random", "--arch", sizes.repeated, "--train-from", "stem", "--views", "fresh"]
    run += ["--size", sizes.size, "--epochs", max(2, sizes.epochs), "--batch-size", max(2, sizes.batch // 4)]
    once = {
        "bits": ["benchmarks.gpu_bits", device, *run],
        "frozen": ["benchmarks.command", *where, *inputs, weights, "-c", RECIPE, "--epochs", sizes.frozen_epochs],
        "fine-tuning, xfer": ["benchmarks.finetune_xfer", *epoch],
        **{f"fine-tuning, {name}": [f"benchmarks.finetune_{name}", *theirs] for name in LOADERS},
    }
    flags = ("--batch", sizes.batch, "--steps", sizes.steps, "--size", sizes.size, "--seconds", sizes.seconds)
    often = {
        f"{arch}, {precision}, {side}": ["benchmarks.gpu_step", side, arch, precision, *where, *flags]
        for arch in sizes.archs
        for precision in PRECISIONS
        for side in SIDES
    }
    return once, often


def report(figures: Figures, archs: Sequence[str] = Sizes.archs) -> str:
    lines = [
        _ratio(f"{what} of {arch}, {precision}, pictures/s", *sides, key, least=_least(key, precision))
        for key, what in (("training", "training steps"), ("inference", "inference"))
        for arch in archs
        for precision in PRECISIONS
        for sides in [[figures[f"{arch}, {precision}, {side}"] for side in SIDES]]
    ]
    own = figures["fine-tuning, xfer"]
    lines += [
        _ratio(
            f"an epoch of fine-tuning, resnet18, bfloat16, s; {peer}", own, figures[f"fine-tuning, {name}"], "seconds",
            most=EPOCH_WANTED if name == "timm" else None,
        )
        for name, peer in LOADERS.items()
    ]  # fmt: skip
    lines += [_frozen(figures["frozen"]), *_bits(figures["bits"])]
    return table("xfer and its peers on one device", HEADINGS, lines)


def _least(key: str, precision: str) -> float | None:
    return STEPS_WANTED if key == "training" and precision != "float32" else None


def _ratio(what: str, own: Row, peer: Row, key: str, least: float | None = None, most: float | None = None) -> Line:
    """A line of two figures. `least`, `most`: what their ratio is wanted to be."""
    missing = [reason(row) for row in (own, peer) if "missing" in row]
    values = [None if (value := row.get(key)) is None else float(value) for row in (own, peer)]
    target = f"at least {least}" if least else f"at most {most}" if most else ""
    if missing:
        return [what, *values, None, target, f"not run: {missing[0]}"]
    ratio = own[key] / peer[key]
    met = ratio >= least if least else ratio <= most if most else None
    return [what, *values, f"{ratio:.3f}", target, _verdict(met)]


def _frozen(row: Row) -> Line:
    work = {} if "missing" in row else {"seconds": row["seconds_features"] + row["seconds_training"]}
    what = "the whole frozen command, s; features and training in it"
    return _ratio(what, row, row | work, "seconds", most=FROZEN_WANTED)


def _bits(row: Row) -> list[Line]:
    cases = {"twice": "two runs end with", "resumed": "one that is killed and resumed ends with"}
    if "missing" in row:
        return [[what, None, None, None, SAME, f"not run: {reason(row)}"] for what in cases.values()]
    known = {SAME: "met", DIFFERENT: "missed"}
    return [[what, row[key], None, None, SAME, known.get(row[key], "not run")] for key, what in cases.items()]


def _verdict(met: bool | None) -> str:
    return "" if met is None else "met" if met else "missed"


def reason(row: Row) -> str:
    """Why a case was not run."""
    module = re.search(r"No module named '([^'.]+)", row["missing"])
    return f"{module[1]} is missing" if module else row["missing"]


def machine(card: Row, sizes: Sizes) -> str:
    """Of what the figures are, in a line."""
    what = ", ".join(f"{name} {value}" for name, value in card.items() if name != "card")
    pictures = f"{sizes.train} + {sizes.val} JPEG files of {sizes.picture[1]}x{sizes.picture[0]}"
    return f"{card['card']}, {what}; {pictures}, batches of {sizes.batch}; steps by deterministic kernels"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu", description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--quick", action="store_true", help="tiny sizes, to try the script")
    parser.add_argument("--train", type=int, help="pictures for training; default: 2928")
    parser.add_argument("--val", type=int, help="and for validation; default: 1836")
    parser.add_argument("--workers", type=int, help="processes of the peers' loaders; default: one for each processor")
    parser.add_argument("--minutes", type=float, help="after which nothing is measured again; default: 5")
    parser.add_argument("--json", type=Path, default=Path("gpu.json"))
    args = parser.parse_args()
    card = child("benchmarks.card", args.device)
    if "missing" in card:
        sys.exit(f"{card['missing']}, and this measures one. Cure: a machine with one; --device cpu --quick tries it")
    sizes = sizes_of(args.quick, int(card["cores"]), vars(args))
    figures = measure(args.device, sizes)
    print(f"{machine(card, sizes)}\n\n{report(figures, sizes.archs)}", flush=True)
    record = {"machine": card, "sizes": asdict(sizes), "figures": figures}
    args.json.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")


def sizes_of(quick: bool, cores: int, asked: Mapping[str, Any]) -> Sizes:
    """`asked`: what to take in place of the usual, None where nothing is asked for."""
    usual = QUICK if quick else Sizes(workers=cores)
    named: Sequence[str] = ("train", "val", "workers", "minutes")
    return Sizes(**{**asdict(usual), **{name: asked[name] for name in named if asked[name] is not None}})


if __name__ == "__main__":
    main()
