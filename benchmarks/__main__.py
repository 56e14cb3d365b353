"""Every measurement, one after the other: `make bench`, or `python -m benchmarks --images FOLDER --weights FILE`.

Prints Markdown tables, and writes the figures behind them to a JSON file. What is not installed is a row that says so.
Nothing else should run on the machine meanwhile.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks import finetune, frozen, memory, step_mindspore
from benchmarks import reading as pictures
from xfer.data.dataset import open_dataset
from xfer.nets.pretrained import IMAGENET

Section = Callable[[argparse.Namespace], tuple[Any, list[str]]]


def _frozen(said: argparse.Namespace) -> tuple[Any, list[str]]:
    found = frozen.measure(said.images, said.weights, said.rounds)
    return found, frozen.report(found)


def _finetune(said: argparse.Namespace) -> tuple[Any, list[str]]:
    found = finetune.measure(said.images, Path(said.weights), said.rounds)
    return found, [finetune.report(found)]


def _input(said: argparse.Namespace) -> tuple[Any, list[str]]:
    found = pictures.measure(said.images / "train")
    return found, pictures.report(found)


def _step(said: argparse.Namespace) -> tuple[Any, list[str]]:
    found = step_mindspore.measure()
    return found, step_mindspore.report(found)


def _memory(said: argparse.Namespace) -> tuple[Any, list[str]]:
    found = memory.measure()
    return found, memory.report(found)


SECTIONS: dict[str, Section] = {
    "frozen": _frozen,
    "finetune": _finetune,
    "input": _input,
    "step": _step,
    "memory": _memory,
}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--images", type=Path, help="ants and bees, with train and val; default: downloaded")
    parser.add_argument("--weights", default=IMAGENET, help="of a ResNet-18; default: torchvision's, downloaded")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", nargs="+", choices=SECTIONS, default=list(SECTIONS))
    parser.add_argument("--json", type=Path, default=Path("bench.json"))
    said = parser.parse_args()
    if said.images is None:
        said.images = open_dataset("ants_bees").root
    machine = f"{os.cpu_count()} processors, {platform.platform()}, Python {platform.python_version()}"
    print(f"{machine}; medians of {said.rounds} rounds, in turns\n", flush=True)
    every: dict[str, Any] = {"machine": machine, "rounds": said.rounds}
    for name in said.only:
        every[name], tables = SECTIONS[name](said)
        print("\n".join(tables), flush=True)
        said.json.write_text(json.dumps(every, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
