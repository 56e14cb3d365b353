"""What a training step costs in xfer, beside the same step written by hand: in turns, in one process.

Both train all of ResNet-18 on the same batches of uint8 pictures, by SGD with momentum, channels_last. `xfer` is the
whole training loop of an epoch, which reads losses, computes digests and knows rates; its pictures are in memory.
Prints medians of seconds per step as JSON.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from torchvision.models import get_model

from benchmarks.precision_torch import autocast
from xfer.archs import IMAGENET_MEAN, IMAGENET_STD
from xfer.arrays import Digests, Int64
from xfer.backend import Labelled, OptimizerSpec, Precision
from xfer.backends import load_backend, settle
from xfer.nets.freeze import FreezePolicy, resolve
from xfer.nets.net import Net, build_net
from xfer.nets.specs import ModelSpec
from xfer.progress import silent
from xfer.recipe.schedule import Schedule
from xfer.training.loop import Point, Training, train
from xfer.training.masks import Masks


@dataclass(frozen=True)
class InMemory:
    """A source of pictures that costs nothing: the images (N, H, W, 3) uint8 of one batch, again and again."""

    images: np.ndarray
    labels: Int64

    def batches(self, chunks: Sequence[Int64], view: int) -> Iterator[tuple[Labelled, Digests]]:
        for indices in chunks:
            part = self.images[: len(indices)]
            yield Labelled(part, self.labels[indices]), np.zeros((len(indices), 16), np.uint8)


def in_memory(batch: int, steps: int, size: int) -> InMemory:
    images = np.random.default_rng(0).integers(0, 256, (batch, size, size, 3), np.uint8)
    return InMemory(images, np.arange(batch * steps) % 2)


def build(arch: str, device: str, precision: str, size: int) -> Net:
    """xfer's network, with all that xfer sets for a process of its own."""
    backend = load_backend("torch")
    settle(backend, device)
    spec = ModelSpec(arch, 2, (size, size), IMAGENET_MEAN, IMAGENET_STD, precision=cast("Precision", precision))
    return build_net(backend, device, spec)


def with_xfer(net: Net, pictures: InMemory) -> Callable[[], object]:
    """An epoch of the loop of `xfer.training`."""
    batch = len(pictures.images)
    groups = resolve(FreezePolicy(net.first), net.arch, list(net.shapes))
    step = net.train_step(OptimizerSpec("sgd", momentum=0.9), groups)
    # The same logits for every batch, at no cost: what is measured is training.
    logits = np.zeros((batch, 2), np.float32)
    training = Training(
        step=step,
        predict=lambda inputs: logits[: len(inputs)],
        train=pictures,
        val=pictures,
        train_labels=pictures.labels,
        val_labels=pictures.labels,
        lr_mults=(1.0,),
        schedule=Schedule(),
        lr=0.001,
        phase=0,
        first_epoch=0,
        epochs=1,
        batch_size=batch,
        val_batch=batch,
        views=1,
        masks=Masks(),
        seed=0,
        classes=2,
    )
    return lambda: deque(train(training, Point(), silent), maxlen=0)


@dataclass(frozen=True)
class Bare:
    """torchvision's network, and what brings pictures to it."""

    net: nn.Module
    images: Tensor
    device: torch.device
    precision: str
    mean: Tensor
    std: Tensor

    def logits(self) -> Tensor:
        images = self.images.to(self.device, non_blocking=True).permute(0, 3, 1, 2).float()
        with autocast(self.device, self.precision):
            return self.net((images / 255 - self.mean) / self.std)


def bare(pictures: InMemory, arch: str = "resnet18", device: str = "cpu", precision: str = "float32") -> Bare:
    place, images = torch.device(device), torch.from_numpy(pictures.images)
    mean, std = (torch.tensor(value, device=place).view(1, 3, 1, 1) for value in (IMAGENET_MEAN, IMAGENET_STD))
    net = get_model(arch, num_classes=2).to(place).to(memory_format=torch.channels_last)
    return Bare(net, images if device == "cpu" else images.pin_memory(), place, precision, mean, std)


def by_hand(case: Bare, labels: Int64) -> Callable[[], object]:
    """An epoch that asks for no result."""
    optimizer = torch.optim.SGD(case.net.train().parameters(), lr=0.001, momentum=0.9)
    places = torch.from_numpy(labels).to(case.device).split(len(case.images))

    def epoch() -> None:
        for part in places:
            loss = functional.cross_entropy(case.logits(), part)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()

    return epoch


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--steps", type=int, default=2)
    args = parser.parse_args()
    pictures = in_memory(args.batch, args.steps, 224)
    # Both in one process, and so with the same setting of malloc: what is measured is the loop, and not the setting.
    cases = {
        "xfer": with_xfer(build("resnet18", "cpu", "float32", 224), pictures),
        "by hand": by_hand(bare(pictures), pictures.labels),
    }
    clock: dict[str, list[float]] = {name: [] for name in cases}
    processor: dict[str, list[float]] = {name: [] for name in cases}
    for number in range(args.rounds + 1):
        for name, epoch in cases.items():
            started, used = time.perf_counter(), time.process_time()
            epoch()
            if number:  # the first warms up
                clock[name].append((time.perf_counter() - started) / args.steps)
                processor[name].append((time.process_time() - used) / args.steps)
    row = {name: statistics.median(seconds) for name, seconds in clock.items()}
    row |= {f"{name}, processor": statistics.median(seconds) for name, seconds in processor.items()}
    row["overhead"] = row["xfer, processor"] / row["by hand, processor"] - 1
    print(json.dumps(row))


if __name__ == "__main__":
    main()
