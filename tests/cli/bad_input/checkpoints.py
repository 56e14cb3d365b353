"""Checkpoints whose metadata are missing, damaged, or of another program."""

from pathlib import Path

from bad_input.shared import finished_run, picture, table
from xfer.formats.files import read_weights, write_weights

ROWS, row = table()


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
    "an unknown network": (lambda meta: meta | {"arch": "resnet9000"}, "arch = 'resnet9000'"),
    "an unknown transform": (lambda meta: meta | {"transforms": '[{"op": "Evil"}]'}, "metadata is damaged"),
    "an unknown backend": (lambda meta: meta | {"backend": "numpie"}, "Did you mean 'numpy'"),
    "a mean of four": (lambda meta: meta | {"mean": "[1, 2, 3, 4]"}, "metadata is damaged"),
    "a deviation of zero": (lambda meta: meta | {"std": "[0, 0, 0]"}, "std"),
}
for name, (edit, message) in CHECKPOINTS.items():
    row(f"checkpoint: {name}", message)(lambda here, edit=edit: checkpoint(edit))


@row("a checkpoint cut short", "c.safetensors")
def _(here):
    words = checkpoint(lambda meta: meta)
    Path("c.safetensors").write_bytes(Path("c.safetensors").read_bytes()[:-100])
    return words
