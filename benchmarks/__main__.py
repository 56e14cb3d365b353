"""Every measurement, one after the other: `make bench`, or `python -m benchmarks --images FOLDER --weights FILE`.

Prints Markdown tables, and writes the figures behind them to a JSON file. What is not installed is a row that says so.
Nothing else should run on the machine meanwhile.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
from pathlib import Path
from typing import Any, Protocol

from benchmarks import finetune, frozen, memory, reading, scaling, step_mindspore
from benchmarks.common import Figures, Options
from xfer.data.dataset import open_dataset
from xfer.nets.pretrained import IMAGENET


class Section(Protocol):
    """What a module of measurements offers."""

    def measure(self, options: Options) -> Figures: ...

    def report(self, figures: Figures) -> list[str]: ...


SECTIONS: dict[str, Section] = {
    "frozen": frozen,
    "finetune": finetune,
    "input": reading,
    "scaling": scaling,
    "step": step_mindspore,
    "memory": memory,
}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--images", type=Path, help="ants and bees, with train and val; default: downloaded")
    parser.add_argument("--weights", default=IMAGENET, help="of a ResNet-18; default: torchvision's, downloaded")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", nargs="+", choices=SECTIONS, default=list(SECTIONS))
    parser.add_argument("--json", type=Path, default=Path("bench.json"))
    args = parser.parse_args()
    images = open_dataset("ants_bees").root if args.images is None else args.images
    options = Options(images, args.weights, args.rounds)
    machine = f"{os.cpu_count()} processors, {platform.platform()}, Python {platform.python_version()}"
    print(f"{machine}; medians of {options.rounds} rounds, in turns\n", flush=True)
    results: dict[str, Any] = {"machine": machine, "rounds": options.rounds}
    for name in args.only:
        section = SECTIONS[name]
        results[name] = section.measure(options)
        print("\n".join(section.report(results[name])), flush=True)
        args.json.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
