"""What a training step of xfer costs above a bare loop in MindSpore, and what merging normalisations saves.

`python -m benchmarks.step_mindspore CASE` prints one case as JSON; `measure` runs each in a process of its own. The two
sides of a case take turns in one process, so that what drifts on the machine drifts for both, and share the network's
layers, hence its kernels. The bare loop is what MindSpore's own guides write: `nn.CrossEntropyLoss`,
`ms.value_and_grad`, `nn.SGD`.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.common import Figures, Options, Row, child, table

BATCH, SIZE = 16, 224
STEPS = {"head": "head alone, from features", "layer4": "layer4 and head, from features", "stem": "everything"}
"""By the stage from which a step trains: what it trains, in words."""
NETWORKS = ("resnet18", "resnet50", "efficientnet_lite0")
TURNS = {"head": 200, "layer4": 15, "stem": 15, **dict.fromkeys(NETWORKS, 5)}


def measure(options: Options) -> Figures:
    """Rows by case: milliseconds of both sides and the median of their ratios, or `missing`. Needs no options."""
    return {case: child("benchmarks.step_mindspore", case, "--turns", turns) for case, turns in TURNS.items()}


def report(figures: Figures) -> list[str]:
    title = f"MindSpore, {SIZE} pixels, batches of {BATCH}"
    steps = [[text, *_cells(figures[stage], "xfer", "bare")] for stage, text in STEPS.items() if stage in figures]
    networks = [[arch, *_cells(figures[arch], "merged", "plain")] for arch in NETWORKS if arch in figures]
    return [
        table(f"A training step of ResNet-18, {title}", ["trained", "xfer, ms", "bare loop, ms", "xfer / bare"], steps),
        table(f"Inference, {title}", ["network", "merged, ms", "plain, ms", "merged / plain"], networks),
    ]


def _cells(row: Row, *sides: str) -> list[Any]:
    return [row["missing"]] if "missing" in row else [*(row[side] for side in sides), f"{row['ratio']:.3f}"]


def time_sides(sides: dict[str, Callable[[], object]], turns: int) -> Row:
    """Median milliseconds of two sides and the median of their ratios, first to second; one turn each to warm up."""
    times: dict[str, list[float]] = {name: [] for name in sides}
    for turn in range(-1, turns):
        for name in sorted(sides, reverse=turn % 2 == 1):
            started = time.perf_counter()
            sides[name]()
            if turn >= 0:
                times[name].append(1000 * (time.perf_counter() - started))
    ratio = statistics.median(first / second for first, second in zip(*times.values(), strict=True))
    return {name: statistics.median(values) for name, values in times.items()} | {"ratio": ratio}


def step_sides(train_from: str) -> dict[str, Callable[[], object]]:
    from xfer.backend import Batch, OptimizerSpec
    from xfer.losses import LossSpec, targets_of
    from xfer.nets.freeze import FreezePolicy, resolve

    net, bare_net = _build("resnet18"), _build("resnet18")
    groups = resolve(FreezePolicy(train_from), net.arch, list(net.shapes))
    step = net.train_step(OptimizerSpec("sgd", momentum=0.9), groups, train_from)
    bare = _bare_step(bare_net, groups, train_from)
    inputs, labels = _images(), np.arange(BATCH) % 2
    if train_from != "stem":
        inputs = net.predict_step("stem", train_from)(inputs)
    batch, lrs = Batch(inputs, *targets_of(LossSpec(), labels, 2)), [0.001] * len(groups.trainable)
    return {"xfer": lambda: step([batch], lrs)(), "bare": lambda: bare(inputs, labels.astype(np.int32))}


def _bare_step(net: Any, groups: Any, train_from: str) -> Callable[[Any, Any], object]:
    import mindspore as ms
    from mindspore import Tensor, nn

    network = _plain(net, train_from, "logits", groups.updating)
    criterion = nn.CrossEntropyLoss()
    optimizer = nn.SGD([net.model.parameters[name] for name in groups.trainable_names], 0.001, 0.9)

    def forward(inputs: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        logits = network(inputs)
        return criterion(logits, labels), logits

    gradient = ms.value_and_grad(forward, None, optimizer.parameters, has_aux=True)

    def step(inputs: Any, labels: Any) -> object:
        (loss, logits), gradients = gradient(Tensor(inputs), Tensor(labels))
        optimizer(gradients)
        return loss.asnumpy(), logits.asnumpy()

    return step


def inference_sides(arch: str) -> dict[str, Callable[[], object]]:
    net = _build(arch)
    from mindspore import Tensor

    plain, images, merged = _plain(net, "stem", "head"), _images(), net.predict_step("stem", "head")
    return {"merged": lambda: merged(images), "plain": lambda: plain(Tensor(images)).asnumpy()}


def _plain(net: Any, start: str, stop: str, updating: frozenset[str] = frozenset()) -> Any:
    """The network with its normalisations, operator by operator."""
    from xfer.graphs.parts import part_of
    from xfer_mindspore.network import network_of

    return network_of(net.model, part_of(net.graph, start, stop), net.model.parameters, updating)


def _build(arch: str) -> Any:
    from xfer.archs import IMAGENET_MEAN, IMAGENET_STD
    from xfer.backends import load_backend
    from xfer.nets.net import build_net
    from xfer.nets.specs import ModelSpec
    from xfer.nets.weights import init_weights

    spec = ModelSpec(arch, 2, (SIZE, SIZE), IMAGENET_MEAN, IMAGENET_STD)
    net = build_net(load_backend("mindspore"), "cpu", spec)
    net.load(init_weights(net.shapes, seed=1))
    return net


def _images() -> Any:
    return np.random.default_rng(0).integers(0, 256, (BATCH, SIZE, SIZE, 3), np.uint8)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("case", choices=[*STEPS, *NETWORKS])
    parser.add_argument("--turns", type=int, default=5)
    args = parser.parse_args()
    sides = step_sides(args.case) if args.case in STEPS else inference_sides(args.case)
    print(json.dumps(time_sides(sides, args.turns)))


if __name__ == "__main__":
    main()
