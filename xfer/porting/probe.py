"""One backend measured for `xfer parity` in its own process: python -m xfer.porting.probe NAME DEVICE TASK RESULT.

The core gives every backend the same task; what comes back is arrays by name, to be held against another backend's.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np

from xfer.archs import LOGITS, Arch, is_statistic
from xfer.arrays import Float64, Weights
from xfer.backend import Backend, Batch, OptimizerSpec
from xfer.backends import load_backend, pick_device, settle
from xfer.data.order import chunks
from xfer.errors import ConfigError, WeightsError, XferError
from xfer.losses import LossSpec, targets_of
from xfer.nets.freeze import FreezePolicy, NormStats, resolve
from xfer.nets.net import Net, build_net
from xfer.nets.specs import ModelSpec, known_arch
from xfer.nets.weights import init_weights, merge
from xfer.porting.floors import JUMPING, Floors, band_of, jumps, largest, moves
from xfer.porting.nodes import values_of
from xfer.porting.task import (
    ACTIVATIONS,
    GRADIENTS,
    LOGITS_OF_ALL,
    LOSS,
    NO_STAGE,
    NODES,
    ONE_STEP,
    REST_GRADIENTS,
    REST_LOSS,
    START,
    STATISTICS,
    Arrays,
    Measurement,
    Task,
    after,
    read_task,
    write_measurement,
)  # fmt: skip
from xfer.system import own_process, processes
from xfer.system.files import json_text

RANDOM_CLASSES = 10  # of random weights, where nothing else is said
LR = 0.001  # of the steps with momentum: usual for fine-tuning
MOMENTUM = 0.9
GRADIENT_LR = 2.0**16
"""The rate of the one step that gradients are read from, g = (w0 - w1) / lr.

float32 keeps w1 to 6e-8 of the larger of w0 and lr * g. At a usual rate that would be w0, and most digits of a small g
would be lost; at this one it is lr * g, so that g keeps all of its digits. A power of two multiplies without rounding.
"""


def measure(backend: Backend, device: str, task: Task) -> Measurement:
    """Everything that is compared, of one backend, and its floors where the task asks for them. Raises XferError."""
    still = _measured(backend, device, task)
    draws, bands = list[Floors](), list[Float64]()
    for number in range(1, task.draws + 1):
        shaken = _measured(backend, device, replace(task, shaken=number))
        draws.append(moves(still.arrays, shaken.arrays))
        bands.append(shaken.losses)
    if not draws:
        return still
    floors = largest(draws)
    if not task.nodes:
        bands += _add_jumps(floors, backend, device, task, still)
    for name, floor in floors.get(ONE_STEP, {}).items():
        if not still.arrays[START][name].any():  # after a step from 0 it is a gradient and nothing else
            floor[:] = np.maximum(floor, floors[GRADIENTS].get(name, floor))
    return replace(still, floors=floors, band=band_of(still.losses, bands))


def _add_jumps(floors: Floors, backend: Backend, device: str, task: Task, still: Measurement) -> list[Float64]:
    """Make the floors of gradients at least what is to be expected of ReLUs that turn; gives the losses from there."""
    gradients = {what: still.arrays[what] for what in (REST_GRADIENTS, GRADIENTS)}
    draws, losses = list[Floors](), list[Float64]()
    for number in range(1, task.draws + 1):
        strongly = replace(task, shaken=number, neighbours=JUMPING)
        net, start = _net(backend, device, known_arch(backend, task.arch), strongly)
        draws.append(jumps(gradients, _of_one_batch(net, start, task), still.stages, JUMPING))
        losses.append(_trained(net, start, _batches(task, net.spec.num_classes), task.steps)[1])
    for what, tensors in largest(draws).items():
        for name, jump in tensors.items():
            floors[what][name][1] = np.maximum(floors[what][name][1], jump[1])
    return losses


def _of_one_batch(net: Net, start: Weights, task: Task) -> dict[str, Arrays]:
    """Gradients, with the statistics at rest and with the batch's."""
    batch = _batches(task, net.spec.num_classes)[0]
    kinds: tuple[tuple[str, NormStats], ...] = ((REST_GRADIENTS, "freeze"), (GRADIENTS, "follow"))
    return {what: _gradients(net, start, batch, statistics)[1] for what, statistics in kinds}


def _measured(backend: Backend, device: str, task: Task) -> Measurement:
    """Activations (what leaves each stage) are of the first batch, logits of all images. Training runs through the full
    batches in turn, with everything trained and labels drawn from the seed. Raises XferError.
    """
    arch = known_arch(backend, task.arch)
    net, start = _net(backend, device, arch, task)
    last = arch.stage_names[-1]
    if task.nodes:
        found = dict(values_of(net, task.nodes, task.images))
        values = {NODES: {place.name: value for place, value in found.items()}}
        stages = {place.name: place.stage for place in found}
        return Measurement(backend.name, device, backend.versions(), stages, values, nodes=tuple(found))
    if task.steps == 0:
        return Measurement(backend.name, device, backend.versions(), {LOGITS: last}, _logits(net, task))
    batches = _batches(task, net.spec.num_classes)
    arrays = {START: start, **_forward(net, task, len(batches[0].inputs))}
    arrays[REST_LOSS], arrays[REST_GRADIENTS] = _gradients(net, start, batches[0], "freeze")
    arrays[LOSS], arrays[GRADIENTS] = _gradients(net, start, batches[0], "follow")
    trained, losses = _trained(net, start, batches, task.steps)
    stages = {stage: stage for stage in arch.stage_names} | {name: stage_of(arch, name) for name in start}
    stages |= {LOGITS: last, "loss": last}
    return Measurement(backend.name, device, backend.versions(), stages, {**arrays, **trained}, losses)


def stage_of(arch: Arch | None, name: str) -> str:
    """The stage that a weight belongs to, or NO_STAGE."""
    try:
        return arch.stage_of(name) if arch else NO_STAGE
    except ConfigError:
        return NO_STAGE


def _net(backend: Backend, device: str, arch: Arch, task: Task) -> tuple[Net, Weights]:
    """A network with the first weights, and those weights as it gives them back."""
    classes = task.classes or (RANDOM_CLASSES if task.weights is None else _classes(task.weights, arch, task.source))
    height, width = task.images.shape[1:3]
    spec = ModelSpec(arch.name, classes, (height, width), task.mean or arch.mean, task.std or arch.std)
    net = build_net(backend, device, spec)
    first = init_weights(net.shapes, task.seed, net.spec.graph)
    if task.weights is not None:
        keep_head = task.classes is None
        first = merge(net.shapes, task.weights, arch.head_names, first, task.source, keep_head=keep_head)
    net.load(_shaken(first, task) if task.shaken else first)
    return net, net.export()


def _shaken(weights: Weights, task: Task) -> Weights:
    rng = np.random.default_rng((task.seed, 2 + task.shaken))
    ends = np.array([-np.inf, np.inf], np.float32)
    moved = {}
    for name, w in weights.items():
        way, moved[name] = ends[rng.integers(0, 2, w.shape)], w
        for _ in range(task.neighbours):
            moved[name] = np.nextafter(moved[name], way)
    return {name: np.where(w == 0, w, moved[name]) for name, w in weights.items()}  # below 0 there is no variance


def _classes(weights: Weights, arch: Arch, source: str) -> int:
    name = arch.head_names[0]
    if name not in weights:
        raise WeightsError(f"{source}: {name} of {arch.name} is not in it. Cure: --classes N for a fresh head")
    if weights[name].ndim not in (2, 4):  # 4: a convolution, as in SqueezeNet
        raise WeightsError(f"{source}: {name} has shape {weights[name].shape}, expected (classes, features)")
    return len(weights[name])


def _batches(task: Task, classes: int) -> list[Batch]:
    labels = np.random.default_rng((task.seed, 0)).integers(0, classes, len(task.images), np.int64)
    parts = chunks(np.arange(len(labels)), task.batch_size)
    # A shorter last batch would have statistics of fewer values than the others.
    whole = [part for part in parts if len(part) == len(parts[0])]
    return [Batch(task.images[part], *targets_of(LossSpec(), labels[part], classes)) for part in whole]


def _forward(net: Net, task: Task, first: int) -> dict[str, Arrays]:
    stages = pairwise(net.arch.stage_names)
    leaving = {s: net.predict_step(stop=stop)(task.images[:first]) for s, stop in stages}
    return {ACTIVATIONS: leaving, **_logits(net, task)}


def _logits(net: Net, task: Task) -> dict[str, Arrays]:
    predict, parts = net.predict_step(), chunks(np.arange(len(task.images)), task.batch_size)
    return {LOGITS_OF_ALL: {LOGITS: np.concatenate([predict(task.images[part]) for part in parts])}}


def _gradients(net: Net, start: Weights, batch: Batch, norm_stats: NormStats) -> tuple[Arrays, Arrays]:
    """The loss and the gradients of one batch, read from a step without momentum and decay."""
    net.load(start)
    groups = resolve(FreezePolicy(net.first, norm_stats), net.arch, list(start))
    step = net.train_step(OptimizerSpec("sgd"), groups)
    loss, _ = step([batch], [GRADIENT_LR] * len(groups.trainable))()
    moved = net.export()
    gradients = {n: (start[n].astype(np.float64) - moved[n]) / GRADIENT_LR for n in groups.trainable_names}
    return {"loss": np.array([loss])}, gradients


def _trained(net: Net, start: Weights, batches: list[Batch], steps: int) -> tuple[dict[str, Arrays], Float64]:
    """Weights and running statistics on the way through `steps` steps of SGD with momentum, and the loss of each."""
    net.load(start)
    groups = resolve(FreezePolicy(net.first), net.arch, list(start))
    rule = OptimizerSpec("sgd", momentum=MOMENTUM)
    step = net.train_step(rule, groups)
    arrays, losses = dict[str, Arrays](), np.zeros(steps)
    for number in range(1, steps + 1):
        losses[number - 1], _ = step([batches[(number - 1) % len(batches)]], [LR] * len(groups.trainable))()
        if number == 1:
            moved = net.export()
            arrays[STATISTICS] = {name: array for name, array in moved.items() if is_statistic(name)}
            arrays[ONE_STEP] = {name: array for name, array in moved.items() if not is_statistic(name)}
    return arrays | ({after(steps): dict(net.export())} if steps > 1 else {}), losses


def main(name: str, device: str, task: str, result: str) -> None:
    """Measure, and write the result; of what a user can put right, print the kind and the message as JSON instead."""
    try:
        backend = load_backend(name)
        device = pick_device(backend, device)
        settle(backend, device)
        write_measurement(Path(result), measure(backend, device, read_task(Path(task))))
    except XferError as error:
        print(json_text({"kind": type(error).__name__, "message": str(error)}))


if __name__ == "__main__":
    processes.end_with_parent()
    own_process.begin()
    main(*sys.argv[1:])
