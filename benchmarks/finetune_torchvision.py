"""One epoch of fine-tuning as torchvision's reference for classification does it: presets, meters, loop."""

from __future__ import annotations

import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset
from torchvision import datasets, models, transforms

from benchmarks.finetune_common import WORKERS, arguments, load_body, time_epoch

NORMAL = (
    transforms.PILToTensor(),
    transforms.ConvertImageDtype(torch.float),
    transforms.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
)
TRAIN = transforms.Compose([transforms.RandomResizedCrop(224), transforms.RandomHorizontalFlip(), *NORMAL])
VAL = transforms.Compose([transforms.Resize(256), transforms.CenterCrop(224), *NORMAL])


def train(net: nn.Module, loader: DataLoader, criterion: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    net.train()
    for images, labels in loader:
        output = net(images)
        loss = criterion(output, labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        right = output.argmax(1).eq(labels).sum()
        loss.item(), right.item()  # the reference's meters read both at each step


@torch.inference_mode()
def validate(net: nn.Module, loader: DataLoader, criterion: nn.Module) -> float:
    net.eval()
    right = count = 0
    for images, labels in loader:
        output = net(images)
        criterion(output, labels).item()
        right += int(output.argmax(1).eq(labels).sum())
        count += len(labels)
    return right / count


def loaders(train_set: Dataset, val_set: Dataset) -> tuple[DataLoader, DataLoader]:
    return (
        DataLoader(train_set, 16, shuffle=True, num_workers=WORKERS, pin_memory=True),
        DataLoader(val_set, 16, num_workers=WORKERS, pin_memory=True),
    )


def main() -> None:
    images, weights = arguments(__doc__)
    train_loader, val_loader = loaders(
        datasets.ImageFolder(str(images / "train"), TRAIN), datasets.ImageFolder(str(images / "val"), VAL)
    )
    net = load_body(models.resnet18(num_classes=2), weights)
    optimizer, criterion = torch.optim.SGD(net.parameters(), lr=0.001, momentum=0.9), nn.CrossEntropyLoss()
    time_epoch(lambda: train(net, train_loader, criterion, optimizer), lambda: validate(net, val_loader, criterion))


if __name__ == "__main__":
    main()
