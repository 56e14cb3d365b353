"""One epoch of fine-tuning with timm: its data sets, loaders, model, optimizer and loss, at train.py's defaults.

The train.py of timm's repository is not in its package. The loop here does what that script does at each step;
`--channels-last` is its flag.
"""

from __future__ import annotations

import sys

import torch
from timm.data import create_dataset, create_loader
from timm.models import create_model
from timm.optim import create_optimizer_v2
from timm.utils import AverageMeter, accuracy
from torch import nn

from benchmarks.finetune_common import WORKERS, arguments, load_body, time_epoch

MEAN, STD, CPU = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225), torch.device("cpu")


def loader(root: str, training: bool) -> torch.utils.data.DataLoader:
    dataset = create_dataset("", root=root, split="train" if training else "validation", is_training=training)
    return create_loader(
        dataset,
        input_size=(3, 224, 224),
        batch_size=16,
        is_training=training,
        mean=MEAN,
        std=STD,
        scale=(0.08, 1.0),
        color_jitter=None,
        interpolation="bilinear",
        crop_pct=0.875,
        num_workers=WORKERS,
        use_prefetcher=False,  # it serves CUDA
        device=CPU,
        persistent_workers=False,
    )


def train(net: nn.Module, batches: torch.utils.data.DataLoader, layout: torch.memory_format) -> None:
    optimizer = create_optimizer_v2(net, opt="sgd", lr=0.001, momentum=0.9, weight_decay=0.0)
    criterion, losses = nn.CrossEntropyLoss(), AverageMeter()
    net.train()
    for images, labels in batches:
        images = images.to(memory_format=layout)
        loss = criterion(net(images), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.update(loss.item(), len(labels))


@torch.inference_mode()
def validate(net: nn.Module, batches: torch.utils.data.DataLoader, layout: torch.memory_format) -> float:
    net.eval()
    top1 = AverageMeter()
    for images, labels in batches:
        (right,) = accuracy(net(images.to(memory_format=layout)), labels, topk=(1,))
        top1.update(right.item(), len(labels))
    return float(top1.avg) / 100


def main() -> None:
    layout = torch.channels_last if "--channels-last" in sys.argv else torch.contiguous_format
    sys.argv = [word for word in sys.argv if word != "--channels-last"]
    images, weights = arguments(__doc__)
    net = load_body(create_model("resnet18", num_classes=2), weights).to(memory_format=layout)
    train_batches, val_batches = (loader(str(images), training) for training in (True, False))
    time_epoch(lambda: train(net, train_batches, layout), lambda: validate(net, val_batches, layout))


if __name__ == "__main__":
    main()
