"""Full fine-tuning of ResNet-18 by xfer and its peers, epoch by epoch in turns, and what a step of xfer costs.

    python -m benchmarks.finetune --images FOLDER [--weights FILE] [--rounds 3]

The peers need `benchmarks/requirements.txt`; one that is not installed is a row that says so.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.common import Figures, Options, child, in_turns, table
from xfer.errors import WeightsError
from xfer.formats.files import write_weights
from xfer.nets.pretrained import IMAGENET, resolve_source

PEERS = {
    "xfer": ("benchmarks.finetune_xfer",),
    "xfer, bfloat16": ("benchmarks.finetune_xfer", "--precision", "bfloat16"),
    "torchvision's reference loop": ("benchmarks.finetune_torchvision",),
    "timm": ("benchmarks.finetune_timm",),
    "timm, channels_last": ("benchmarks.finetune_timm", "--channels-last"),
    "fastai": ("benchmarks.finetune_fastai",),
}


def measure(options: Options) -> Figures:
    """Case -> its medians: `seconds`, `train` and `processor` of one epoch with its validation; `accuracy` after it.

    The row `step` has seconds per training step by xfer's loop and by hand, and xfer's `overhead` as a fraction.
    """
    with TemporaryDirectory() as folder:
        try:
            inputs = options.images.resolve(), _one_file(options.weights, Path(folder))
        except WeightsError as error:
            rows: Figures = {name: {"missing": str(error)} for name in PEERS}
        else:
            cases = {name: [module, *inputs, *flags] for name, (module, *flags) in PEERS.items()}
            rows = in_turns(cases, options.rounds)
    return {**rows, "step": child("benchmarks.step_torch")}


def _one_file(source: str, folder: Path) -> Path:
    """The weights of a ResNet-18 in a file that every peer reads. Raises WeightsError."""
    resolved = resolve_source(source, "resnet18")
    if resolved is None:
        raise WeightsError(f"weights {source}: expected {IMAGENET}, or a file")
    file = folder / "resnet18.safetensors"
    write_weights(file, resolved[0], {})
    return file


def report(figures: Figures) -> list[str]:
    own, lines = figures["xfer"], []
    for name in PEERS:
        row = figures[name]
        ratios = [row[key] / own[key] if key in row and key in own else None for key in ("seconds", "processor")]
        values = [row.get(key) for key in ("seconds", "processor", "accuracy")]
        lines.append([name, *values, *ratios, row.get("missing", "")])
    columns = ("one epoch, all layers", "s", "processor s", "accuracy", "s / xfer's", "processor s / xfer's", "")
    step = [[name, value] for name, value in figures["step"].items()]
    return [table("Fine-tuning", columns, lines), table("One training step", ("", "s, or a fraction"), step)]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--images", type=Path, required=True)
    parser.add_argument("--weights", default=IMAGENET, help="of a ResNet-18; default: torchvision's, downloaded")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    figures = measure(Options(args.images, args.weights, args.rounds))
    print("\n".join(report(figures)))
    if args.json is not None:
        args.json.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
