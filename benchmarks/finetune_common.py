"""What the peers of fine-tuning share: their arguments, the same first weights, and one epoch timed in two parts."""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Callable
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import nn

WORKERS = 2  # as many as the machine has cores; each peer's own default is between 2 and 16
SUFFIXES = {".jpg", ".jpeg", ".png"}


def arguments(description: str) -> tuple[Path, Path]:
    """The folder of the pictures, with `train` and `val`, and the file of the weights."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("images", type=Path)
    parser.add_argument("weights", type=Path)
    args = parser.parse_args()
    return args.images, args.weights


def load_body(net: nn.Module, file: Path) -> nn.Module:
    """Give a ResNet-18 with torchvision's names its weights, all but the head's."""
    weights = {name: value.float() for name, value in load_file(file).items() if not name.startswith("fc.")}
    net.load_state_dict(weights, strict=False)
    return net


def processor_seconds() -> float:
    """Of this process and of the workers it has ended: unlike the clock, untouched by what else the machine does."""
    return sum(os.times()[:4])


def time_epoch(train: Callable[[], object], validate: Callable[[], float]) -> None:
    """Run both and print seconds, those of training, those of the processor, and the accuracy, in [0, 1]."""
    torch.manual_seed(0)
    started, used = time.perf_counter(), processor_seconds()
    train()
    trained = time.perf_counter() - started
    accuracy = validate()
    seconds = time.perf_counter() - started
    used = processor_seconds() - used
    print(json.dumps({"seconds": seconds, "train": trained, "processor": used, "accuracy": accuracy}))
