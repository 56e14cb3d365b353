"""What the peers of fine-tuning share: what is asked for, the same first weights, and epochs timed in two parts."""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from benchmarks import precision_torch
from benchmarks.common import Row, medians

SUFFIXES = {".jpg", ".jpeg", ".png"}


@dataclass(frozen=True)
class Case:
    """One peer's epochs.

    images    a folder with `train` and `val`
    weights   the file of a ResNet-18's
    batch     pictures in a batch
    workers   processes that read
    size      height and width in pixels
    layout    of the network and the pictures in memory
    """

    images: Path
    weights: Path
    batch: int
    workers: int
    size: int
    epochs: int
    device: torch.device
    precision: str
    layout: torch.memory_format

    def moved(self, tensor: Tensor) -> Tensor:
        tensor = tensor.to(self.device, non_blocking=True)
        return tensor.to(memory_format=self.layout) if tensor.ndim == 4 else tensor

    def placed(self, net: nn.Module) -> nn.Module:
        return load_body(net, self.weights).to(self.device).to(memory_format=self.layout)

    def autocast(self) -> AbstractContextManager[object]:
        return precision_torch.autocast(self.device, self.precision)


def parser_of(description: str) -> argparse.ArgumentParser:
    """Its defaults are those of the table for a CPU."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("images", type=Path)
    parser.add_argument("weights", type=Path)
    parser.add_argument("--batch", type=int, default=16)
    # As many as that machine has cores; each peer's own default is between 2 and 16.
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--epochs", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--precision", default="float32")
    return parser


def asked(description: str) -> Case:
    """What the command line asks for. Sets the precision of this process."""
    parser = parser_of(description)
    parser.add_argument("--channels-last", action="store_true")
    args = vars(parser.parse_args())
    layout = torch.channels_last if args.pop("channels_last") else torch.contiguous_format
    if args["device"] != "cpu":
        precision_torch.set_precision(args["precision"])
    return Case(**{**args, "device": torch.device(args["device"])}, layout=layout)


def load_body(net: nn.Module, file: Path) -> nn.Module:
    """Give a ResNet-18 with torchvision's names its weights, all but the head's."""
    weights = {name: value.float() for name, value in load_file(file).items() if not name.startswith("fc.")}
    net.load_state_dict(weights, strict=False)
    return net


def processor_seconds() -> float:
    """Of this process and of the workers it has ended: unlike the clock, untouched by what else the machine does."""
    return sum(os.times()[:4])


def time_epochs(train: Callable[[], object], validate: Callable[[], float], epochs: int = 1) -> None:
    """Print medians of seconds, those of training, those of the processor, and of the accuracy, in [0, 1].

    Of several epochs the first is not counted: it starts processes and tries out kernels.
    """
    torch.manual_seed(0)
    rows = [_epoch(train, validate) for _ in range(epochs)]
    print(json.dumps(medians(rows[1:] or rows)))


def _epoch(train: Callable[[], object], validate: Callable[[], float]) -> Row:
    started, used = time.perf_counter(), processor_seconds()
    train()
    trained = time.perf_counter() - started
    accuracy = validate()
    seconds = time.perf_counter() - started
    used = processor_seconds() - used
    return {"seconds": seconds, "train": trained, "processor": used, "accuracy": accuracy}
