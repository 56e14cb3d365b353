"""A frozen ResNet-18 in plain MindSpore, as its transfer-learning tutorial writes it. Prints seconds as JSON.

MindCV's ResNet-18, MindSpore's own input pipeline, batches of 16. The oneDNN setting is the caller's: without
ONEDNN_MAX_CPU_ISA=AVX2 in the environment this is MindSpore as installed.

`epoch`   one epoch, training and validation
`step`    one training step of a batch of 4, after one to warm up
`limit`   no training: one inference pass over all pictures
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import mindspore as ms
import mindspore.dataset as ds
from mindcv.models import create_model
from mindspore import nn
from mindspore.dataset import vision

MEAN, STD = [0.485 * 255, 0.456 * 255, 0.406 * 255], [0.229 * 255, 0.224 * 255, 0.225 * 255]
TRAIN = [vision.RandomCropDecodeResize(224), vision.RandomHorizontalFlip()]
VAL = [vision.Decode(), vision.Resize(256), vision.CenterCrop(224)]


def pictures(folder: Path, operations: list[object], shuffle: bool, batch: int) -> ds.Dataset:
    dataset = ds.ImageFolderDataset(str(folder), num_parallel_workers=2, shuffle=shuffle, extensions=[".jpg", ".jpeg"])
    operations = [*operations, vision.Normalize(MEAN, STD), vision.HWC2CHW()]
    return dataset.map(operations, "image", num_parallel_workers=2).batch(batch)


class Loop:
    def __init__(self) -> None:
        self.net = create_model("resnet18", num_classes=2, pretrained=False)
        for parameter in self.net.get_parameters():
            parameter.requires_grad = parameter.name.startswith("classifier")
        loss = nn.CrossEntropyLoss()
        self.optimizer = nn.Momentum(self.net.trainable_params(), 0.001, 0.9)

        def forward(images: ms.Tensor, labels: ms.Tensor) -> ms.Tensor:
            return loss(self.net(images), labels)

        self.gradient = ms.value_and_grad(forward, None, self.optimizer.parameters)

    def step(self, images: ms.Tensor, labels: ms.Tensor) -> float:
        loss, gradients = self.gradient(images, labels)
        self.optimizer(gradients)
        return float(loss.asnumpy())

    def infer(self, dataset: ds.Dataset) -> int:
        self.net.set_train(False)
        return sum(
            int((self.net(images).asnumpy().argmax(1) == labels.asnumpy()).sum())
            for images, labels in dataset.create_tuple_iterator()
        )

    def epoch(self, train: ds.Dataset, val: ds.Dataset) -> None:
        self.net.set_train(True)
        for images, labels in train.create_tuple_iterator():
            self.step(images, labels)
        self.infer(val)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("case", choices=["epoch", "step", "limit"])
    parser.add_argument("images", type=Path)
    args = parser.parse_args()
    loop = Loop()
    if args.case == "step":
        batches = pictures(args.images / "train", TRAIN, True, 4).create_tuple_iterator()
        loop.net.set_train(True)
        loop.step(*next(batches))
        batch = next(batches)
        started = time.perf_counter()
        loop.step(*batch)
    elif args.case == "limit":
        datasets = [pictures(args.images / part, VAL, False, 32) for part in ("train", "val")]
        started = time.perf_counter()
        for dataset in datasets:
            loop.infer(dataset)
    else:
        train, val = pictures(args.images / "train", TRAIN, True, 16), pictures(args.images / "val", VAL, False, 16)
        started = time.perf_counter()
        loop.epoch(train, val)
    print(json.dumps({"seconds": time.perf_counter() - started}))


if __name__ == "__main__":
    main()
