"""Every network as an ONNX model, which onnxruntime runs, against torch, with the same random weights.

    python -m tests.onnx_all                                     all of them: a quarter of an hour on 2 cores, and 12 GB
    python -m tests.onnx_all 'swin_*' --table table.md           those of these names, and the table into a file as well

Weights, pictures and order are those of `tests.parity_all`, and so is the process that each network has to itself. Exit
code 1: a difference beyond its bound, another top-1 class, or a process that died.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from tests.forked import in_own_process
from tests.parity_all import (
    ALIKE,
    COPIES,
    drawn,
    fitting,
    normalised,
    parameters_of,
    pictures_of,
    predicted,
    relative,
    spec_of,
    steady,
    unbiased,
)
from tools.catalogue import WRITTEN_HERE, WithoutNumbers, build
from xfer.archs import NO_WEIGHTS
from xfer.arrays import Float32, Pixels
from xfer.backends import load_backend
from xfer.errors import ConfigError
from xfer.export.check import TOLERANCE
from xfer.export.network import OPSET, Network, onnx_model
from xfer.export.runtime import normalised as entering
from xfer.graphs import packaged
from xfer.nets.specs import ModelSpec
from xfer.nets.weights import init_weights
from xfer.system.memory import shortage

BOUND = 1e-5
"""Of the largest logit: well below TOLERANCE, which `xfer export` refuses beyond."""
assert BOUND < TOLERANCE


@dataclass(frozen=True)
class Row:
    """`apart` is the largest difference from torch's logits, `told` that of two pictures, both of the largest logit."""

    name: str
    parameters: int
    size: int
    nodes: int
    apart: float
    same_top1: bool
    told: float

    def wrong(self) -> list[str]:
        found = {f"beyond {BOUND:g}": not self.apart <= BOUND, "another top-1 class": not self.same_top1}
        return [what for what, is_wrong in {**found, "both pictures alike": not self.told >= ALIKE}.items() if is_wrong]

    def __str__(self) -> str:
        found = f"{self.nodes:5d} nodes  {self.apart:.1e}  at {self.size} px"
        return "  ".join([f"{self.name:20s} {self.parameters / 1e6:6.1f} M", found, *map(str.upper, self.wrong())])


def compare(name: str, size: int | None = None, opset: int = OPSET) -> Row:
    """Raises ConfigError for a network that no ONNX file holds."""
    spec = spec_of(name, size)
    with WithoutNumbers():
        module = build(name)
    shapes = {n: tuple(t.shape) for n, t in module.state_dict().items() if not n.endswith(NO_WEIGHTS)}
    graph = spec.network.graph
    head = graph[graph.head].weights["weight"]
    first = init_weights(shapes, 0, graph)
    weights = {n: drawn(n, shapes[n], first.pop(n), head) for n in shapes}
    images = pictures_of(spec.image_size)
    steady(module, weights, normalised(images, spec))
    del module
    weights |= {f"{layer}.bias": np.zeros(shapes[f"{layer}.weight"][0], np.float32) for layer in unbiased(name)}
    wanted = predicted("torch", spec, weights, images)
    network = Network(graph, weights, spec.image_size, spec.mean, spec.std)
    model = onnx_model(network, "normalised", opset, {})
    nodes, written = len(model.graph.node), model.SerializeToString()
    del model, weights, network
    logits = logits_of(written, spec)(images)
    same = bool((logits.argmax(1) == wanted.argmax(1)).all())
    apart = relative(logits, wanted)
    return Row(name, parameters_of(name), spec.image_size[0], nodes, apart, same, relative(wanted[:1], wanted[1:]))


def logits_of(written: bytes, spec: ModelSpec) -> Callable[[Pixels], Float32]:
    """What onnxruntime gives, (N, C), of pictures (N, H, W, 3)."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(written, options, providers=["CPUExecutionProvider"])
    return lambda images: session.run(["logits"], {"images": entering(images, spec.mean, spec.std)})[0]


def attempted(name: str, size: int | None, opset: int) -> Row | str:
    """What was compared; or why it was not, of a network that no ONNX file holds."""
    try:
        return compare(name, size, opset)
    except ConfigError as error:
        return f"left out: {error}"


def table(rows: Sequence[Row]) -> str:
    head = "| network | parameters | nodes | against torch | pixels |\n|---|---|---|---|---|\n"
    return head + "".join(
        f"| `{row.name}` | {row.parameters / 1e6:.1f} M | {row.nodes} | {row.apart:.1e} | {row.size} |\n"
        for row in rows
    )


def main(words: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("patterns", nargs="*", metavar="PATTERN", help="of names, as in a shell; default: all")
    parser.add_argument("--table", type=Path, metavar="FILE", help="write the table there as well")
    parser.add_argument("--size", type=int, help="side of the pictures, of networks that take other sizes")
    parser.add_argument("--opset", type=int, default=OPSET)
    args = parser.parse_args(words)
    load_backend("torch")  # imported once; nothing is computed here, as threads do not survive a fork
    rows, wrong, left_out, start = list[Row](), 0, 0, time.monotonic()
    names = fitting((*packaged.names(), *WRITTEN_HERE), args.patterns)
    for parameters, name in sorted((parameters_of(name), name) for name in names):
        reason = shortage(round(COPIES * 4 * parameters))
        row = f"left out: {reason}" if reason else in_own_process(partial(attempted, name, args.size, args.opset))
        print(row if isinstance(row, Row) else f"{name:20s} {row}", flush=True)
        if isinstance(row, Row):
            rows.append(row)
            wrong += bool(row.wrong())
        else:
            left_out += row.startswith("left out")
            wrong += not row.startswith("left out")
        if args.table:
            args.table.write_text(table(rows))
    minutes = (time.monotonic() - start) / 60
    print(f"\n{table(rows)}\n{len(rows)} compared in {minutes:.0f} minutes, {wrong} wrong, {left_out} left out")
    return 1 if wrong or not rows else 0


if __name__ == "__main__":
    raise SystemExit(main())
