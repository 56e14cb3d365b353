"""A network of each family as an ONNX model, which onnxruntime runs, against torch, on every picture of a folder.

    python -m tests.onnx_pictures --images FOLDER                     a network of each family: minutes on a core
    python -m tests.onnx_pictures --images FOLDER 'vit_*' --table table.md

Pictures are read and cropped as the network's published weights are evaluated. Random weights are those of
`tests.parity_all`, and with them all pictures have much the same logits, and so one label: from the bias of the head is
taken what the logits are on average, so that what is left is where pictures differ. Exit code 1: a label that is not
torch's, a logit beyond the bound, fewer than `LABELS` labels among the pictures, or a process that died.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from tests.cuts_all import FAMILIES
from tests.forked import in_own_process
from tests.onnx_all import logits_of
from tests.parity_all import drawn, fitting, normalised, parameters_of, predicted, steady
from xfer.arrays import Float32, Pixels, Weights
from xfer.backends import load_backend
from xfer.data.given import find_given, read_given
from xfer.errors import XferError
from xfer.export.check import TOLERANCE
from xfer.export.network import OPSET, Network, onnx_model
from xfer.graphs import packaged
from xfer.nets.catalogue import arch_named, graph_named
from xfer.nets.net import PREDICT_BATCH
from xfer.nets.specs import ModelSpec
from xfer.nets.weights import init_weights
from xfer.pixels.augment import CenterCrop, PixelTransform, Resize, default_eval
from xfer_torch.module import Native

LABELS = 5
"""Among the pictures, at least: a network that gives one label to all is the same as any other that does."""


@dataclass(frozen=True)
class Row:
    """`apart`: the largest difference from torch's logits, of the largest. `labels`: how many the pictures have."""

    name: str
    size: int
    pictures: int
    same: int
    labels: int
    apart: float

    def wrong(self) -> list[str]:
        found = {
            f"beyond {TOLERANCE:g}": not self.apart <= TOLERANCE,
            f"{self.pictures - self.same} other labels": self.same < self.pictures,
            f"{self.labels} labels in all": self.labels < LABELS,
        }
        return [what for what, is_wrong in found.items() if is_wrong]

    def __str__(self) -> str:
        found = f"{self.same} of {self.pictures} labels, which are {self.labels}  {self.apart:.1e}  at {self.size} px"
        return "  ".join([f"{self.name:20s}", found, *map(str.upper, self.wrong())])


def evaluated(name: str) -> tuple[ModelSpec, tuple[PixelTransform, ...]]:
    """The network for ImageNet's classes, and how a picture becomes one of its size."""
    graph = graph_named(name)
    entry = next((entry for entry in packaged.published(name) if entry.default), None)
    if entry is None:
        arch = arch_named(name, graph)
        return ModelSpec(name, 1000, graph.size, arch.mean, arch.std, graph=graph), default_eval(graph.size[0])
    transforms = Resize(size=entry.resize, interpolation=entry.interpolation), CenterCrop(size=entry.crop)
    return ModelSpec(name, 1000, (entry.crop,) * 2, entry.mean, entry.std, graph=graph), transforms


def pictures_of(folder: Path, transforms: Sequence[PixelTransform]) -> Pixels:
    """(N, H, W, 3). Raises XferError for a folder without any; a picture that cannot be used is left out."""
    read = read_given(list(find_given(folder).items()), transforms, workers=1)
    return np.stack([pixels for pixels in read if isinstance(pixels, np.ndarray)])


def telling(spec: ModelSpec, images: Pixels) -> tuple[Weights, Float32]:
    """Random weights that tell these pictures apart, and torch's logits of them."""
    graph, backend = spec.network.graph, load_backend("torch")
    first, head = init_weights(graph.weights, 0, graph), graph[graph.head].weights
    weights = {name: drawn(name, shape, first.pop(name), head["weight"]) for name, shape in graph.weights.items()}
    model = backend.build(spec.network, "cpu")
    backend.import_weights(model, weights)
    steady(Native(model).eval(), weights, normalised(images[:2], spec))
    weights[head["bias"]] = weights[head["bias"]] - predicted("torch", spec, weights, images).mean(axis=0)
    return weights, predicted("torch", spec, weights, images)


def compare(name: str, folder: Path) -> Row:
    spec, transforms = evaluated(name)
    images = pictures_of(folder, transforms)
    weights, wanted = telling(spec, images)
    network = Network(spec.network.graph, weights, spec.image_size, spec.mean, spec.std)
    run = logits_of(onnx_model(network, "normalised", OPSET, {}).SerializeToString(), spec)
    logits = np.concatenate([run(images[i : i + PREDICT_BATCH]) for i in range(0, len(images), PREDICT_BATCH)])
    labels = wanted.argmax(axis=1)
    same = int((logits.argmax(axis=1) == labels).sum())
    apart = float(np.abs(logits - wanted).max() / np.abs(wanted).max())
    return Row(name, spec.image_size[0], len(images), same, len(set(labels)), apart)


def table(rows: Sequence[Row]) -> str:
    head = "| network | pixels | same labels | labels among them | logits apart |\n|---|---|---|---|---|\n"
    return head + "".join(
        f"| `{row.name}` | {row.size} | {row.same} of {row.pictures} | {row.labels} | {row.apart:.1e} |\n"
        for row in rows
    )


def rows_of(names: Sequence[str], folder: Path) -> Iterator[Row | str]:
    """Each of a process of its own; or how that ended."""
    for name in sorted(names, key=parameters_of):
        row = in_own_process(partial(compare, name, folder))
        yield row if isinstance(row, Row) else f"{name:20s} {row}"


def main(words: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("patterns", nargs="*", metavar="PATTERN", help="of names, as in a shell; default: all families")
    parser.add_argument("--images", type=Path, required=True, metavar="FOLDER", help="with pictures in it and below")
    parser.add_argument("--table", type=Path, metavar="FILE", help="write the table there as well")
    args = parser.parse_args(words)
    try:
        find_given(args.images)
    except XferError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    load_backend("torch")  # imported once; nothing is computed here, as threads do not survive a fork
    rows, wrong, start = list[Row](), 0, time.monotonic()
    for row in rows_of(fitting(FAMILIES, args.patterns), args.images):
        print(row, flush=True)
        rows += [row] if isinstance(row, Row) else []
        wrong += isinstance(row, str) or bool(row.wrong())
        if args.table:
            args.table.write_text(table(rows), encoding="utf-8")
    print(f"\n{table(rows)}\n{len(rows)} compared in {(time.monotonic() - start) / 60:.0f} minutes, {wrong} wrong")
    return 1 if wrong or not rows else 0


if __name__ == "__main__":
    raise SystemExit(main())
