"""Full fine-tuning of ResNet-18 by xfer and its peers, epoch by epoch in turns, and what a step of xfer costs.

    python -m benchmarks.finetune --images FOLDER --weights FILE [--rounds 3]

The peers need `benchmarks/requirements.txt`; one that is not installed is a row that says so.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from benchmarks.common import Row, child, in_turns, table

PEERS = {
    "xfer": ("peers_xfer",),
    "xfer, bfloat16": ("peers_xfer", "--precision", "bfloat16"),
    "torchvision's reference loop": ("peers_torchvision",),
    "timm": ("peers_timm",),
    "timm, channels_last": ("peers_timm", "--channels-last"),
    "fastai": ("peers_fastai",),
}


def measure(images: Path, weights: Path, rounds: int) -> dict[str, Row]:
    """Case -> its medians: `seconds`, `train` and `processor` of one epoch with its validation; `accuracy` after it.

    The row `step` has seconds per training step by xfer's loop and by hand, and xfer's `overhead` as a fraction.
    """
    cases = {
        name: [f"benchmarks.{module}", images.resolve(), weights.resolve(), *flags]
        for name, (module, *flags) in PEERS.items()
    }
    return {**in_turns(cases, rounds), "step": child("benchmarks.peers_steps")}


def report(found: dict[str, Row]) -> str:
    own, lines = found["xfer"], []
    for name in PEERS:
        row = found[name]
        ratios = [row[key] / own[key] if key in row and key in own else None for key in ("seconds", "processor")]
        figures = [row.get(key) for key in ("seconds", "processor", "accuracy")]
        lines.append([name, *figures, *ratios, row.get("missing", "")])
    columns = ("one epoch, all layers", "s", "processor s", "accuracy", "s / xfer's", "processor s / xfer's", "")
    step = found["step"]
    own_step = [[name, value] for name, value in step.items()]
    return f"{table('Fine-tuning', columns, lines)}\n{table('One training step', ('', 's, or a fraction'), own_step)}"


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--images", type=Path, required=True)
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path)
    said = parser.parse_args()
    found = measure(said.images, said.weights, said.rounds)
    print(report(found))
    if said.json is not None:
        said.json.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
