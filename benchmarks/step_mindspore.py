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
    from xfer.backend import Batch, LossSpec, OptimizerSpec
    from xfer.nets.catalogue import ARCHS
    from xfer.nets.freeze import FreezePolicy, resolve

    (backend, model), (_, bare_model) = _build("resnet18"), _build("resnet18")
    groups = resolve(FreezePolicy(train_from), ARCHS["resnet18"], list(model.parameters))
    step = backend.make_train_step(model, OptimizerSpec("sgd", momentum=0.9), LossSpec(), groups, train_from)
    bare = _bare_step(bare_model, groups, train_from)
    inputs, labels = _images(), np.arange(BATCH) % 2
    if train_from != "stem":
        inputs = backend.make_predict_step(model, "stem", train_from)(inputs)
    lrs = [0.001] * len(groups.trainable)
    return {"xfer": lambda: step(Batch(inputs, labels), lrs)(), "bare": lambda: bare(inputs, labels.astype(np.int32))}


def _bare_step(model: Any, groups: Any, train_from: str) -> Callable[[Any, Any], object]:
    import mindspore as ms
    from mindspore import Tensor, nn

    from xfer.archs import norm_layers
    from xfer_mindspore.layers import Scope
    from xfer_mindspore.network import Network

    network = Network(Scope(model.parameters, frozenset(norm_layers(groups.updating))), model.spec, train_from)
    criterion = nn.CrossEntropyLoss()
    optimizer = nn.SGD([model.parameters[name] for name in groups.trainable_names], 0.001, 0.9)

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
    backend, model = _build(arch)
    from mindspore import Tensor

    from xfer_mindspore.layers import Scope
    from xfer_mindspore.network import Network

    plain, images = Network(Scope(model.parameters), model.spec, "stem", "head"), _images()
    merged = backend.make_predict_step(model, "stem", "head")
    return {"merged": lambda: merged(images), "plain": lambda: plain(Tensor(images)).asnumpy()}


def _build(arch: str) -> tuple[Any, Any]:
    from xfer.backend import ModelSpec
    from xfer.backends import load_backend
    from xfer.nets.catalogue import ARCHS
    from xfer.nets.weights import init_weights

    backend, entry = load_backend("mindspore"), ARCHS[arch]
    model: Any = backend.build(ModelSpec(arch, 2, (SIZE, SIZE), entry.mean, entry.std), "cpu")
    shapes = {name: parameter.shape for name, parameter in model.parameters.items()}
    backend.import_weights(model, init_weights(shapes, seed=1))
    return backend, model


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
