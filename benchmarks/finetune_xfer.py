"""Epochs of fine-tuning with xfer, everything trained. Prints the seconds of one as JSON."""

from __future__ import annotations

import json

from benchmarks.common import medians
from benchmarks.finetune_common import parser_of, processor_seconds
from xfer.backends import settle
from xfer.recipe.load import as_recipe
from xfer.system import own_process
from xfer.training.run import fit, prepare


def main() -> None:
    parser = parser_of(__doc__)
    parser.set_defaults(workers=0)  # its own choice
    args = parser.parse_args()
    own_process.begin()  # as the command does
    values = {
        "data": str(args.images),
        "weights": str(args.weights),
        "arch": "resnet18",
        "train_from": "stem",
        "views": "fresh",
        "size": args.size,
        "batch_size": args.batch,
        "lr": 0.001,
        "optimizer.momentum": 0.9,
        "schedule.kind": "constant",
        "epochs": args.epochs,
        "data.workers": args.workers,
        "train.precision": args.precision,
    }
    prepared = prepare(as_recipe(None, values), "torch", args.device)
    settle(prepared.net.backend, prepared.net.device)
    used = processor_seconds()
    epochs = [fitted.epoch for fitted in fit(prepared)]
    used = (processor_seconds() - used) / len(epochs)
    count = len(prepared.data.train.labels)
    rows = [
        {"seconds": epoch.seconds, "train": count / epoch.images_per_second, "accuracy": epoch.val_accuracy}
        for epoch in epochs
    ]
    print(json.dumps({**medians(rows[1:] or rows), "processor": used}))


if __name__ == "__main__":
    main()
