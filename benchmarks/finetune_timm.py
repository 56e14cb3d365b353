"""Epochs of fine-tuning with timm: its data sets, loaders, model, optimizer and loss, at train.py's defaults.

The train.py of timm's repository is not in its package. The loop here does what that script does at each step;
`--channels-last` is its flag. On a GPU its prefetcher copies and normalises.
"""

from __future__ import annotations

import torch
from timm.data import create_dataset, create_loader
from timm.models import create_model
from timm.optim import create_optimizer_v2
from timm.utils import AverageMeter, accuracy
from torch import nn

from benchmarks.finetune_common import Case, asked, time_epochs

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def loader(case: Case, training: bool) -> torch.utils.data.DataLoader:
    split = "train" if training else "validation"
    dataset = create_dataset("", root=str(case.images), split=split, is_training=training)
    return create_loader(
        dataset,
        input_size=(3, case.size, case.size),
        batch_size=case.batch,
        is_training=training,
        mean=MEAN,
        std=STD,
        scale=(0.08, 1.0),
        color_jitter=None,
        interpolation="bilinear",
        crop_pct=0.875,
        num_workers=case.workers,
        use_prefetcher=case.device.type == "cuda",
        pin_memory=case.device.type == "cuda",
        device=case.device,
        persistent_workers=case.epochs > 1,
    )


def train(case: Case, net: nn.Module, optimizer: torch.optim.Optimizer, batches: torch.utils.data.DataLoader) -> None:
    criterion, losses = nn.CrossEntropyLoss(), AverageMeter()
    net.train()
    for batch in batches:
        images, labels = map(case.moved, batch)
        with case.autocast():
            loss = criterion(net(images), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.update(loss.item(), len(labels))


@torch.inference_mode()
def validate(case: Case, net: nn.Module, batches: torch.utils.data.DataLoader) -> float:
    net.eval()
    top1 = AverageMeter()
    for batch in batches:
        images, labels = map(case.moved, batch)
        with case.autocast():
            (right,) = accuracy(net(images), labels, topk=(1,))
        top1.update(right.item(), len(labels))
    return float(top1.avg) / 100


def main() -> None:
    case = asked(__doc__)
    net = case.placed(create_model("resnet18", num_classes=2))
    optimizer = create_optimizer_v2(net, opt="sgd", lr=0.001, momentum=0.9, weight_decay=0.0)
    train_batches, val_batches = (loader(case, training) for training in (True, False))
    time_epochs(
        lambda: train(case, net, optimizer, train_batches), lambda: validate(case, net, val_batches), case.epochs
    )


if __name__ == "__main__":
    main()
