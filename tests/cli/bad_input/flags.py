"""Flags of `xfer train` that are unknown, empty, or ask for what is not there."""

from bad_input.shared import class_folders, table, train

ROWS, row = table()


FLAGS = {
    "an unknown device": (["--device", "tpu"], "tpu"),
    "a device that is not there": (["--device", "cuda:7"], "can use cpu here"),
    "an unknown backend": (["--backend", "nunpy"], "Did you mean 'numpy'"),
    "no value": (["--set", "train.epochs"], "expected key=value"),
    "no key": (["--set", "=3"], "expected key=value"),
    "a key into a number": (["--set", "seed.x=3"], "seed"),
    "a key too deep": (["--set", ".".join("x" * 3000) + "=1"], ""),
    "an empty flag": (["--set", ""], "expected key=value"),
    "a size of nothing": (["--size", "0"], "augment.size"),
    "a negative seed": (["--seed", "-1"], "seed"),
    "an unknown leak rule": (["--on-leak", "ignore"], "--on-leak"),
    "an unknown flag": (["--epoch", "3"], "No such option"),
    "a flag of another trainer": (["--wd", "0.1"], "Cure: --set optimizer.weight_decay=0.1"),
    "the backend for a batch size": (["-b", "32"], "Cure: --batch-size 32"),
    "an unknown recipe": (["-c", "ants_bees_frosen"], "Did you mean 'ants_bees_frozen'"),
    "a size that lists do not follow": (["-c", "ants_bees_frozen"], "--set augment.train.0.size=32"),
}
for name, (words, message) in FLAGS.items():
    row(f"flag: {name}", message)(lambda here, words=words: class_folders() and train("set", *words))
