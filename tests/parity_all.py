"""Every network against torchvision's own module on torch, and MindSpore against torch, with the same random weights.

    make parity-all                                          all of them; an hour on 2 cores, and 12 GB
    python -m tests.parity_all 'vit_*' --table table.md      those of these names, and the table into a file as well
    python -m tests.parity_all squeezenet1_1 --size 64       on smaller pictures, where the network takes them

Each network has a process of its own, forked from one that has imported everything: what it took is given back. The
cheap ones come first. Exit code 1: a difference beyond its bound, another top-1 class, or a process that died.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import partial
from math import prod
from pathlib import Path
from zlib import crc32

import numpy as np
import torch
from torch import Tensor, nn

from tests.forked import in_own_process
from tools.catalogue import WRITTEN_HERE, WithoutNumbers, build
from xfer.archs import LOGITS, NO_WEIGHTS, is_statistic, norm_layers
from xfer.arrays import Weights
from xfer.backends import load_backend
from xfer.graphs import packaged
from xfer.graphs.parts import boundaries
from xfer.nets.catalogue import graph_named
from xfer.nets.specs import ModelSpec
from xfer.nets.weights import init_weights
from xfer.system.memory import shortage
from xfer_torch.module import Native

TORCH = 1e-6
"""Of the largest logit: the same operators on the same tensors, which may lie in memory in another order."""
MINDSPORE = 1e-5
ALIKE = 1e-3
"""Two pictures whose logits are closer than this: the weights let too little of them through to compare anything."""
HEAVY = 30_000_000
"""Parameters, above which pictures of `SMALL` pixels do, where the network takes them."""
SMALL = 128
ROUNDING = 3e-7
"""By which pictures are moved, to see what a network makes of it."""
COPIES = 4.5
"""Of the weights in memory at once, at most: NumPy's, torch's own and merged, MindSpore's; and what drawing takes."""


@dataclass(frozen=True)
class Row:
    """What was compared of one network, every difference relative to the largest logit.

    size        side of the two pictures
    torch       xfer's torch network against torchvision's module
    mindspore   xfer's MindSpore network against its torch network, both as `xfer predict` runs them
    apart       the logits of the two pictures
    faults      what is wrong besides
    """

    name: str
    parameters: int
    size: int
    torch: float
    mindspore: float
    same_top1: bool
    apart: float
    faults: tuple[str, ...] = ()

    def wrong(self) -> Iterator[str]:
        yield from self.faults
        for what, found, most in (("torch", self.torch, TORCH), ("mindspore", self.mindspore, MINDSPORE)):
            if not found <= most:
                yield f"{what} beyond {most:g}"
        if not self.same_top1:
            yield "another top-1 class"
        if not self.apart >= ALIKE:
            yield "both pictures give the same logits"

    def __str__(self) -> str:
        top1 = "same" if self.same_top1 else "other"
        found = f"torch {self.torch:.1e}  mindspore {self.mindspore:.1e}  top-1 {top1}  at {self.size} px"
        return "  ".join([f"{self.name:20s} {self.parameters / 1e6:6.1f} M", found, *map(str.upper, self.wrong())])


def fitting(names: Iterable[str], patterns: Sequence[str]) -> list[str]:
    return [name for name in names if not patterns or any(fnmatchcase(name, pattern) for pattern in patterns)]


def parameters_of(name: str) -> int:
    return sum(prod(shape) for weight, shape in graph_named(name).weights.items() if not is_statistic(weight))


def spec_of(name: str, size: int | None) -> ModelSpec:
    """For ImageNet's classes. `size`: side of the pictures; None: the network's own, or less where it is heavy."""
    entry = packaged.published(name)[0]
    graph = graph_named(name)
    own = graph.size[0]
    side = own if graph.fixed else size or (own if parameters_of(name) < HEAVY else SMALL)
    return ModelSpec(name, 1000, (side, side), entry.mean, entry.std, graph=graph)


def unbiased(name: str) -> tuple[str, ...]:
    """Layers that have a bias in xfer's network alone."""
    return packaged.published(name)[0].unbiased


def drawn(name: str, shape: tuple[int, ...], first: np.ndarray, head: str) -> np.ndarray:
    """The first values moved away from where nothing is seen of them, as in scales of 1 and shifts of 0."""
    rng = np.random.default_rng((1, crc32(name.encode())))
    if name == head:
        return rng.normal(0, 1 / np.sqrt(shape[1]), shape).astype(np.float32)
    if first.min() != first.max():
        return first
    scale = first.flat[0] == 1
    return (rng.uniform(0.5, 1.5, shape) if scale else rng.normal(0, 0.1, shape)).astype(np.float32)


def pictures_of(size: tuple[int, int]) -> np.ndarray:
    """(2, H, W, 3) uint8: coloured patches under noise, as plain noise looks the same wherever it is averaged."""
    rng = np.random.default_rng(2026)
    rows, columns = (np.arange(side) * 4 // side for side in size)
    images = rng.uniform(0, 255, (2, 4, 4, 3))[:, rows][:, :, columns] + rng.normal(0, 20, (2, *size, 3))
    return images.clip(0, 255).astype(np.uint8)


def relative(found: np.ndarray, wanted: np.ndarray) -> float:
    return float(np.abs(found - wanted).max() / np.abs(wanted).max())


def compare(name: str, size: int | None = None) -> Row:
    spec, faults = spec_of(name, size), []
    with WithoutNumbers():
        module = build(name)
    shapes = {n: tuple(t.shape) for n, t in module.state_dict().items() if not n.endswith(NO_WEIGHTS)}
    # A head that has no bias in the module has one of zeros.
    zeros = {f"{layer}.bias": np.zeros(shapes[f"{layer}.weight"][0], np.float32) for layer in unbiased(name)}
    graph = spec.network.graph
    if graph.weights != shapes | {n: bias.shape for n, bias in zeros.items()}:
        faults.append("the graph's weights are not the module's")
    head = graph[graph.head].weights["weight"]
    first = init_weights(shapes, 0, graph)
    weights = {n: drawn(n, shapes[n], first.pop(n), head) for n in shapes}
    images = pictures_of(spec.image_size)
    steady(module, weights, normalised(images, spec))
    weights |= zeros
    theirs, ours, same_names = as_modules(module, spec, weights, images)
    if not same_names:
        faults.append("state dicts have other names or shapes")
    del module
    wanted, logits = (predicted(framework, spec, weights, images) for framework in ("torch", "mindspore"))
    if not all(np.isfinite(array).all() for array in (theirs, ours, wanted, logits)):
        faults.append("logits that are not finite")
    same = all(np.array_equal(array.argmax(1), wanted.argmax(1)) for array in (theirs, ours, logits))
    apart = relative(theirs[:1], theirs[1:])
    found = relative(ours, theirs), relative(logits, wanted)
    return Row(name, parameters_of(name), spec.image_size[0], *found, same, apart, tuple(faults))


def load(module: nn.Module, weights: Weights) -> None:
    state = module.state_dict()  # with the versions of its layers, which some ask for
    state.update({name: torch.from_numpy(weight) for name, weight in weights.items()})
    module.load_state_dict(state, assign=True)


def normalised(images: np.ndarray, spec: ModelSpec) -> Tensor:
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (spec.mean, spec.std))
    return (torch.from_numpy(images).permute(0, 3, 1, 2) / 255 - mean) / std


def steady(module: nn.Module, weights: Weights, x: Tensor) -> None:
    """Load the weights, their norm layers' scales made smaller until rounding moves the module's own logits little.

    Deep networks with random weights are chaotic: in float32, torch is then as far from its own float64 as from anyone.
    """
    moved = x * (1 + ROUNDING * torch.randn(x.shape, generator=torch.Generator().manual_seed(0)))
    scales = [f"{layer}.weight" for layer in norm_layers(weights)]
    load(module, weights)
    for _ in range(20):
        with torch.inference_mode():
            if relative(module(moved).numpy(), module(x).numpy()) <= MINDSPORE / 10:
                return
        weights |= {name: weights[name] * np.float32(0.95) for name in scales}
        load(module, weights)


def as_modules(
    module: nn.Module, spec: ModelSpec, weights: Weights, images: np.ndarray
) -> tuple[np.ndarray, np.ndarray, bool]:
    """Logits of torchvision's module and of xfer's, and whether state dicts have the same names and shapes.

    `run.model()` gives torchvision's own module where it can, so that is asked for its names, and not for logits.
    """
    backend = load_backend("torch")
    model = backend.build(spec.network, "cpu")
    backend.import_weights(model, weights)
    own, x = Native(model).eval(), normalised(images, spec)
    biases = {f"{layer}.bias" for layer in unbiased(spec.arch)}
    theirs, given, ours = (
        {n: t.shape for n, t in m.state_dict().items() if not n.endswith(NO_WEIGHTS) and n not in biases}
        for m in (module, backend.native_model(model), own)
    )
    # Laid out as xfer's maps are: between its two layouts, torchvision's maxvit_t is 2e-6 from itself.
    module.to(memory_format=torch.channels_last)
    with torch.inference_mode():
        return module(x).numpy(), own(x).numpy(), theirs == given == ours


def predicted(framework: str, spec: ModelSpec, weights: Weights, images: np.ndarray) -> np.ndarray:
    """Logits, as `xfer predict` computes them."""
    backend = load_backend(framework)
    model = backend.build(spec.network, "cpu")
    backend.import_weights(model, weights)
    return backend.make_predict_step(model, next(iter(boundaries(spec.network.graph))), LOGITS)(images)


def table(rows: Sequence[Row]) -> str:
    head = "| network | parameters | torch | MindSpore | top-1 | pixels |\n|---|---|---|---|---|---|\n"
    lines = [
        f"| `{row.name}` | {row.parameters / 1e6:.1f} M | {row.torch:.1e} | {row.mindspore:.1e} | "
        f"{'same' if row.same_top1 else 'other'} | {row.size} |\n"
        for row in rows
    ]
    return head + "".join(lines).replace("0.0e+00", "0")


def main(words: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("patterns", nargs="*", metavar="PATTERN", help="of names, as in a shell; default: all")
    parser.add_argument("--table", type=Path, metavar="FILE", help="write the table there as well")
    parser.add_argument("--size", type=int, help="side of the pictures, of networks that take other sizes")
    args = parser.parse_args(words)
    for backend in ("torch", "mindspore"):
        load_backend(backend)  # imported once; nothing is computed here, as threads do not survive a fork
    rows, wrong, left_out = list[Row](), 0, 0
    start = time.monotonic()
    names = fitting((*packaged.names(), *WRITTEN_HERE), args.patterns)
    for parameters, name in sorted((parameters_of(name), name) for name in names):
        if reason := shortage(round(COPIES * 4 * parameters)):
            left_out += 1
            print(f"{name:20s} left out: {reason}", flush=True)
            continue
        row = in_own_process(partial(compare, name, args.size))
        wrong += isinstance(row, str) or any(row.wrong())
        rows += [row] if isinstance(row, Row) else []
        print(row if isinstance(row, Row) else f"{name:20s} {row}", flush=True)
        if args.table:
            args.table.write_text(table(rows))
    print(f"\n{table(rows)}")
    minutes = (time.monotonic() - start) / 60
    print(f"{len(rows)} compared in {minutes:.0f} minutes, {wrong} wrong, {left_out} left out")
    return 1 if wrong or not rows else 0


if __name__ == "__main__":
    raise SystemExit(main())
