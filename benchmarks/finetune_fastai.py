"""One epoch of fine-tuning with fastai: data block, vision learner, everything unfrozen, `fit`."""

from __future__ import annotations

import json
import time
from functools import partial

from fastai.vision.all import (
    SGD,
    CategoryBlock,
    DataBlock,
    GrandparentSplitter,
    ImageBlock,
    Normalize,
    RandomResizedCrop,
    accuracy,
    get_image_files,
    imagenet_stats,
    parent_label,
    vision_learner,
)
from fastai.vision.augment import FlipItem
from torchvision.models import resnet18

from benchmarks.finetune_common import SUFFIXES, asked, load_body, processor_seconds


def pictures(folder):
    return [file for file in get_image_files(folder) if file.suffix.lower() in SUFFIXES]


def main() -> None:
    case = asked(__doc__)
    block = DataBlock(
        blocks=(ImageBlock, CategoryBlock),
        get_items=pictures,
        splitter=GrandparentSplitter("train", "val"),
        get_y=parent_label,
        item_tfms=[RandomResizedCrop(case.size, min_scale=0.08), FlipItem()],
        batch_tfms=Normalize.from_stats(*imagenet_stats),
    )
    sizes = {"bs": case.batch, "val_bs": case.batch}
    data = block.dataloaders(case.images, **sizes, num_workers=case.workers, device=case.device)
    learner = vision_learner(
        data,
        lambda **_: load_body(resnet18(), case.weights),
        pretrained=False,
        normalize=False,
        opt_func=partial(SGD, mom=0.9),
        moms=(0.9, 0.9, 0.9),
        metrics=accuracy,
    )
    learner.unfreeze()
    started, used = time.perf_counter(), processor_seconds()
    with learner.no_bar(), learner.no_logging():
        learner.fit(1, 0.001)
    seconds, used = time.perf_counter() - started, processor_seconds() - used
    print(json.dumps({"seconds": seconds, "processor": used, "accuracy": float(learner.recorder.values[-1][-1])}))


if __name__ == "__main__":
    main()
