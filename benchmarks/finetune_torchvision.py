"""Epochs of fine-tuning as torchvision's reference for classification does it: presets, meters, loop."""

from __future__ import annotations

import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset
from torchvision import datasets, models, transforms

from benchmarks.finetune_common import Case, asked, time_epochs

NORMAL = (
    transforms.PILToTensor(),
    transforms.ConvertImageDtype(torch.float),
    transforms.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
)


def train(case: Case, net: nn.Module, loader: DataLoader, criterion: nn.Module, optimizer: torch.optim.Optimizer):
    net.train()
    for batch in loader:
        images, labels = map(case.moved, batch)
        with case.autocast():
            output = net(images)
            loss = criterion(output, labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        right = output.argmax(1).eq(labels).sum()
        loss.item(), right.item()  # the reference's meters read both at each step


@torch.inference_mode()
def validate(case: Case, net: nn.Module, loader: DataLoader, criterion: nn.Module) -> float:
    net.eval()
    right = count = 0
    for batch in loader:
        images, labels = map(case.moved, batch)
        with case.autocast():
            output = net(images)
            criterion(output, labels).item()
        right += int(output.argmax(1).eq(labels).sum())
        count += len(labels)
    return right / count


def loaders(case: Case, train_set: Dataset, val_set: Dataset) -> tuple[DataLoader, DataLoader]:
    settings = {"num_workers": case.workers, "pin_memory": True, "persistent_workers": case.epochs > 1}
    return DataLoader(train_set, case.batch, shuffle=True, **settings), DataLoader(val_set, case.batch, **settings)


def main() -> None:
    case = asked(__doc__)
    crop_and_flip = transforms.RandomResizedCrop(case.size), transforms.RandomHorizontalFlip()
    shrink_and_crop = transforms.Resize(case.size * 256 // 224), transforms.CenterCrop(case.size)
    train_loader, val_loader = loaders(
        case,
        datasets.ImageFolder(str(case.images / "train"), transforms.Compose([*crop_and_flip, *NORMAL])),
        datasets.ImageFolder(str(case.images / "val"), transforms.Compose([*shrink_and_crop, *NORMAL])),
    )
    net = case.placed(models.resnet18(num_classes=2))
    optimizer, criterion = torch.optim.SGD(net.parameters(), lr=0.001, momentum=0.9), nn.CrossEntropyLoss()
    time_epochs(
        lambda: train(case, net, train_loader, criterion, optimizer),
        lambda: validate(case, net, val_loader, criterion),
        case.epochs,
    )


if __name__ == "__main__":
    main()
