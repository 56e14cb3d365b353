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

import numpy as np
import torch
from torch.nn import functional
from torchvision.models import resnet18

from xfer.archs import IMAGENET_MEAN, IMAGENET_STD
from xfer.arrays import Digests, Int64
from xfer.backend import Labelled, OptimizerSpec
from xfer.backends import load_backend, settle
from xfer.nets.freeze import FreezePolicy, resolve
from xfer.nets.net import build_net
from xfer.nets.specs import ModelSpec
from xfer.progress import silent
from xfer.recipe.schedule import Schedule
from xfer.training.loop import Point, Training, train
from xfer.training.masks import Masks


@dataclass(frozen=True)
class InMemory:
    """A source of pictures that costs nothing."""

    images: np.ndarray
    labels: Int64

    def batches(self, chunks: Sequence[Int64], view: int) -> Iterator[tuple[Labelled, Digests]]:
        for indices in chunks:
            yield Labelled(self.images[indices], self.labels[indices]), np.zeros((len(indices), 16), np.uint8)


def with_xfer(pictures: InMemory, batch: int) -> Callable[[], object]:
    backend = load_backend("torch")
    settle(backend, "cpu")  # as in a command: a setting of malloc, which the step by hand has then, too
    net = build_net(backend, "cpu", ModelSpec("resnet18", 2, (224, 224), IMAGENET_MEAN, IMAGENET_STD))
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
        views=1,
        masks=Masks(),
        seed=0,
        classes=2,
    )
    return lambda: deque(train(training, Point(), silent), maxlen=0)


def by_hand(pictures: InMemory, batch: int) -> Callable[[], object]:
    net = resnet18(num_classes=2).to(memory_format=torch.channels_last).train()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.001, momentum=0.9)
    mean, std = (torch.tensor(value).view(1, 3, 1, 1) for value in (IMAGENET_MEAN, IMAGENET_STD))

    def epoch() -> None:
        for first in range(0, len(pictures.labels), batch):
            part = slice(first, first + batch)
            images = torch.from_numpy(pictures.images[part]).permute(0, 3, 1, 2).float()
            loss = functional.cross_entropy(net((images / 255 - mean) / std), torch.from_numpy(pictures.labels[part]))
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
    count = args.batch * args.steps
    images = np.random.default_rng(0).integers(0, 256, (count, 224, 224, 3), np.uint8)
    pictures = InMemory(images, np.arange(count) % 2)
    # Both in one process, and so with the same setting of malloc: what is measured is the loop, and not the setting.
    cases = {"xfer": with_xfer(pictures, args.batch), "by hand": by_hand(pictures, args.batch)}
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
