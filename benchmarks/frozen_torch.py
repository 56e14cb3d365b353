"""A frozen ResNet-18 in plain PyTorch, as tutorials write it, and with care. Prints seconds as JSON.

`plain`    batches of 4, no workers, the usual memory layout; BatchNorm left in training mode, so its statistics drift
`careful`  batches of 16, two workers, channels_last; the frozen network in inference mode
`layer4`   as plain, with batches of 16 and layer4 trained besides the head
`limit`    no training: one inference pass over all pictures, decoding overlapped, the best that could be done
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import torch
from torch import nn
from torch.utils.data import ConcatDataset, DataLoader
from torchvision import datasets, models, transforms

NORMAL = transforms.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
TRAIN = transforms.Compose(
    [transforms.RandomResizedCrop(224), transforms.RandomHorizontalFlip(), transforms.ToTensor(), NORMAL]
)
VAL = transforms.Compose([transforms.Resize(256), transforms.CenterCrop(224), transforms.ToTensor(), NORMAL])

Times = list[float]


def network(train_layer4: bool) -> nn.Module:
    # Weights of no value cost the same time.
    net = models.resnet18(weights=None)
    for parameter in net.parameters():
        parameter.requires_grad = False
    if train_layer4:
        net.layer4.requires_grad_(True)
    net.fc = nn.Linear(net.fc.in_features, 2)
    return net


def epochs(
    net: nn.Module, loaders: dict[str, DataLoader], count: int, layout: torch.memory_format, drift: bool
) -> Times:
    """Seconds of each epoch, training and validation together."""
    net = net.to(memory_format=layout)
    criterion = nn.CrossEntropyLoss()
    trainable = [p for p in net.parameters() if p.requires_grad]
    optimizer = torch.optim.SGD(trainable, lr=0.001, momentum=0.9)
    seconds = []
    for _ in range(count):
        started = time.perf_counter()
        net.train(drift)
        for images, labels in loaders["train"]:
            optimizer.zero_grad()
            loss = criterion(net(images.to(memory_format=layout)), labels)
            loss.backward()
            optimizer.step()
        net.eval()
        right = 0
        with torch.no_grad():
            for images, labels in loaders["val"]:
                right += int((net(images.to(memory_format=layout)).argmax(1) == labels).sum())
        seconds.append(time.perf_counter() - started)
    return seconds


def limit(loader: DataLoader) -> Times:
    net = network(False).to(memory_format=torch.channels_last).eval()
    started = time.perf_counter()
    with torch.inference_mode():
        for images, _ in loader:
            net(images.to(memory_format=torch.channels_last))
    return [time.perf_counter() - started]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("case", choices=["plain", "careful", "layer4", "limit"])
    parser.add_argument("images", type=Path)
    parser.add_argument("--epochs", type=int, default=1)
    args = parser.parse_args()
    train, val = datasets.ImageFolder(args.images / "train", TRAIN), datasets.ImageFolder(args.images / "val", VAL)
    batch, workers = {"plain": (4, 0), "careful": (16, 2), "layer4": (16, 0), "limit": (32, 2)}[args.case]
    if args.case == "limit":
        seconds = limit(DataLoader(ConcatDataset([train, val]), batch, num_workers=workers))
    else:
        loaders = {
            "train": DataLoader(train, batch, shuffle=True, num_workers=workers),
            "val": DataLoader(val, batch, num_workers=workers),
        }
        layout = torch.channels_last if args.case == "careful" else torch.contiguous_format
        seconds = epochs(network(args.case == "layer4"), loaders, args.epochs, layout, drift=args.case != "careful")
    print(json.dumps({"seconds": sum(seconds) / len(seconds)}))


if __name__ == "__main__":
    main()
