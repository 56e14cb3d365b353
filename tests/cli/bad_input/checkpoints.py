"""Checkpoints whose metadata are missing, damaged, or of another program."""

import json
from pathlib import Path

from bad_input.shared import finished_run, picture, table
from bad_input.weights import BAD_NORMALIZE
from xfer.formats.files import read_weights, write_weights

ROWS, row = table()


def by_name(meta):
    """As checkpoints were before each had its network with it."""
    return {key: value for key, value in meta.items() if key != "graph"}


def checkpoint(edit):
    """The run's checkpoint, with other metadata."""
    weights, meta = read_weights(finished_run() / "best.safetensors")
    write_weights(Path("c.safetensors"), weights, edit(dict(meta)) or {})
    Path("x.png").write_bytes(picture())
    return ["predict", "c.safetensors", "x.png", "-o", "out/p.csv"]


CHECKPOINTS = {
    "no metadata": (lambda meta: None, "not the classes and preprocessing"),
    "of another format": (lambda meta: meta | {"format": "xfer-99"}, "not the classes and preprocessing"),
    "damaged classes": (lambda meta: meta | {"classes": "[1,"}, "metadata is damaged"),
    "too few classes": (lambda meta: meta | {"classes": '["ants"]'}, "does not fit the network"),
    "no image size": (lambda meta: {k: v for k, v in meta.items() if k != "image_size"}, "metadata is damaged"),
    "a size of text": (lambda meta: meta | {"image_size": '["a", "b"]'}, "metadata is damaged"),
    "metadata nested too deep": (lambda meta: meta | {"classes": "[" * 100_000}, "metadata is damaged"),
    "an unknown network": (lambda meta: by_name(meta) | {"arch": "resnet9000"}, "arch = 'resnet9000'"),
    "an unknown transform": (lambda meta: meta | {"transforms": '[{"op": "Evil"}]'}, "metadata is damaged"),
    "an unknown backend": (lambda meta: meta | {"backend": "numpie"}, "Did you mean 'numpy'"),
    "a mean of four": (lambda meta: meta | {"mean": "[1, 2, 3, 4]"}, "metadata is damaged"),
    "a deviation of zero": (lambda meta: meta | {"std": "[0, 0, 0]"}, "std"),
}


def network(**changes):
    """The checkpoint's own network with other words in it."""
    return lambda meta: meta | {"graph": json.dumps(json.loads(meta["graph"]) | changes)}


NO_KIND = [["image", "image", [], {}, {}], ["x", "mamba", ["image"], {}, {}]]
CHECKPOINTS |= {
    "a network of a later version": (network(format=2, order=[]), "format = 2: expected 1. Cure: the xfer that wrote"),
    "a node of no kind": (network(nodes=NO_KIND), "Did you mean 'matmul'? Cure: the xfer that wrote it"),
    "terabytes of weights": (network(weights={"fc.weight": [2**30, 2**9]}), "expected at most 4,294,967,296"),
    "weights of no node": (
        lambda meta: network(weights={**json.loads(meta["graph"])["weights"], "more": [1]})(meta),
        "weights of no node: more",
    ),
    "stages that begin nowhere": (network(stages={"stem": "image"}), "c.safetensors: its network cannot be used: st"),
    "a stage of a name that is taken": (network(stages={"logits": "image"}), "stage logits: a name for what lies"),
}
CHECKPOINTS |= {
    name: (lambda meta, mean=mean, std=std: meta | {"mean": mean, "std": std}, "metadata is damaged (ValueError: ")
    for name, (mean, std) in BAD_NORMALIZE.items()
}
MANY = json.dumps([str(i) for i in range(2_000_000)])
CROP = '[{"op": "CenterCrop", "size": 20000}]'
CLAIMS = {
    "more classes than its head": ({"classes": '["a", "b", "c"]'}, "the number of classes = 3, its weights say 2"),
    "two million classes": ({"classes": MANY}, "the number of classes = 2000000, its weights say 2"),
    "classes that are a word": ({"classes": '"ab"'}, "metadata is damaged"),
    "a padding of no kind": ({"padding": '"most"'}, "metadata is damaged"),
    "another size than its transforms": ({"image_size": "[20000, 20000]"}, "its transforms make pictures of [32, 32]"),
    "an infinite size": ({"image_size": "[1e400, 32]"}, "its transforms make pictures of [32, 32]"),
    "transforms beyond all bounds": ({"transforms": CROP.replace("20000", "10000000")}, "metadata is damaged"),
    "transforms without one size": ({"transforms": "[]"}, "metadata is damaged"),
}
CHECKPOINTS |= {name: (lambda meta, claim=claim: meta | claim, message) for name, (claim, message) in CLAIMS.items()}
OF_BEFORE = {
    "more classes than its head, of a network by name": ({"classes": '["a", "b", "c"]'}, "expected (3, 16)"),
    "hidden layers that it lacks": ({"extra": "[100, 100]"}, "missing: extra.0.weight"),
    "a hidden layer beyond all bounds": ({"extra": "[1000000000000]"}, "expected widths of 1 to 100,000"),
    "a million hidden layers": ({"extra": json.dumps([1] * 1_000_000)}, "32 of them at most"),
    "blocks of a network without": ({"layers": "[2, 2]"}, "tiny is no ResNet"),
}
CHECKPOINTS |= {
    name: (lambda meta, claim=claim: by_name(meta) | claim, message) for name, (claim, message) in OF_BEFORE.items()
}
for name, (edit, message) in CHECKPOINTS.items():
    row(f"checkpoint: {name}", message)(lambda here, edit=edit: checkpoint(edit))


@row("a checkpoint cut short", "c.safetensors")
def _(here):
    words = checkpoint(lambda meta: meta)
    Path("c.safetensors").write_bytes(Path("c.safetensors").read_bytes()[:-100])
    return words
