"""One epoch of fine-tuning with xfer, everything trained. Prints its seconds as JSON."""

from __future__ import annotations

import argparse
import json

from benchmarks.finetune_common import processor_seconds
from xfer.backends import settle
from xfer.recipe.load import as_recipe
from xfer.system import own_process
from xfer.training.run import fit, prepare


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("images")
    parser.add_argument("weights")
    parser.add_argument("--precision", default="float32")
    args = parser.parse_args()
    own_process.begin()  # as the command does
    values = {"data": args.images, "weights": args.weights, "arch": "resnet18", "train_from": "stem", "views": "fresh"}
    values |= {
        "batch_size": 16,
        "lr": 0.001,
        "optimizer.momentum": 0.9,
        "schedule.kind": "constant",
        "epochs": 1,
        "train.precision": args.precision,
    }
    prepared = prepare(as_recipe(None, values), "torch", "cpu")
    settle(prepared.net.backend, "cpu")
    used = processor_seconds()
    *_, fitted = fit(prepared)
    used = processor_seconds() - used
    epoch = fitted.epoch
    train = len(prepared.data.train.labels) / epoch.images_per_second
    print(json.dumps({"seconds": epoch.seconds, "train": train, "processor": used, "accuracy": epoch.val_accuracy}))


if __name__ == "__main__":
    main()
