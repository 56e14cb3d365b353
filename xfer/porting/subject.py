"""A network that is measured for `xfer parity`: made once, and measured with as many sets of weights as there are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise

import numpy as np

from xfer.archs import LOGITS, Arch, is_statistic
from xfer.arrays import Float32, Float64, Weights
from xfer.backend import Backend, Batch, OptimizerSpec, ParamGroups, TrainStep
from xfer.data.order import chunks
from xfer.errors import ConfigError, WeightsError
from xfer.graphs.channels import channels_in
from xfer.losses import LossSpec, targets_of
from xfer.nets.freeze import FreezePolicy, NormStats, resolve
from xfer.nets.net import Net, build_net
from xfer.nets.specs import ModelSpec, known_arch, with_graph
from xfer.nets.weights import init_weights, merge
from xfer.pixels.channels import in_channels
from xfer.porting.nodes import values_of
from xfer.porting.pictures import with_gradient
from xfer.porting.task import (
    ACTIVATIONS,
    GRADIENTS,
    LOGITS_OF_ALL,
    LOSS,
    NO_STAGE,
    NODES,
    ONE_STEP,
    PICTURES,
    REST_GRADIENTS,
    REST_LOSS,
    START,
    STATISTICS,
    UPDATE,
    Arrays,
    Measurement,
    Task,
    after,
)  # fmt: skip

RANDOM_CLASSES = 10  # of random weights, where nothing else is said
LR = 0.001  # of the steps with momentum: usual for fine-tuning
MOMENTUM = 0.9
DECAY = 0.01  # of all but norm layers and biases: large, to be seen beside the gradients
SMOOTHING = 0.1
GRADIENT_LR = 2.0**16
"""The rate of the steps that gradients and updates are read from, g = (w0 - w1) / lr.

float32 keeps w1 to 6e-8 of the larger of w0 and lr * g. At a usual rate that would be w0, and most digits of a small g
would be lost; at this one it is lr * g, so that g keeps all of its digits. A power of two multiplies without rounding.
"""
_LOSSES: Mapping[NormStats, tuple[str, str]] = {"freeze": (REST_LOSS, REST_GRADIENTS), "follow": (LOSS, GRADIENTS)}


@dataclass(frozen=True)
class Subject:
    """`net` is the network itself, and `first` the weights that it starts from."""

    task: Task
    arch: Arch
    net: Net
    first: Weights

    @cached_property
    def watched(self) -> Net:
        """That gradients are read from."""
        return with_gradient(self.net)

    @cached_property
    def batches(self) -> list[Batch]:
        """Full ones, with labels from the seed, smoothed; every other class counts twice.

        Of a network for any number of labels each has half of them, by chance.
        """
        count, classes = len(self.task.images), self.net.spec.num_classes
        rng, kind = np.random.default_rng((self.task.seed, 0)), self.task.loss
        labels = (
            rng.integers(0, 2, (count, classes)) if kind == "sigmoid" else rng.integers(0, classes, count, np.int64)
        )
        loss = LossSpec(SMOOTHING, tuple(1.0 + i % 2 for i in range(classes)), kind)
        parts = chunks(np.arange(count), self.task.batch_size)
        # A shorter last batch would have statistics of fewer values than the others.
        whole = [part for part in parts if len(part) == len(parts[0])]
        return [Batch(self.task.images[part], *targets_of(loss, labels[part], classes)) for part in whole]

    @cached_property
    def reading(self) -> Mapping[NormStats, tuple[ParamGroups, TrainStep]]:
        """Steps that gradients are read from, with the statistics at rest and with the batch's."""
        made: dict[NormStats, tuple[ParamGroups, TrainStep]] = {}
        for norm_stats in _LOSSES:
            policy = FreezePolicy(self.watched.first, norm_stats)
            groups = resolve(policy, self.watched.arch, list(self.watched.shapes))
            made[norm_stats] = groups, self.watched.train_step(OptimizerSpec("sgd"), groups, loss=self.task.loss)
        return made

    @cached_property
    def training(self) -> tuple[ParamGroups, TrainStep]:
        policy = FreezePolicy(self.net.first, weight_decay=DECAY, decay_norm_and_bias=False)
        groups = resolve(policy, self.net.arch, list(self.net.shapes))
        return groups, self.net.train_step(OptimizerSpec("sgd", momentum=MOMENTUM), groups, loss=self.task.loss)

    @property
    def stages(self) -> dict[str, str]:
        """Name of each tensor -> its stage, in the order of the computation."""
        names, last = self.arch.stage_names, self.arch.stage_names[-1]
        of_weights = {name: stage_of(self.arch, name) for name in self.net.shapes}
        return {stage: stage for stage in names} | {PICTURES: names[0]} | of_weights | {LOGITS: last, "loss": last}

    def all_of(self, weights: Weights) -> tuple[dict[str, Arrays], Float64]:
        """Everything that is compared, and the losses of the training."""
        self.net.load(weights)
        start = self.net.export()
        arrays = {START: start, **self.forward(), **self.gradients(start)}
        trained, losses = self.trained(start)
        return {**arrays, **trained}, losses

    def of_nodes(self, weights: Weights) -> Measurement:
        """What every node of the task's stages gives."""
        self.net.load(weights)
        found = dict(values_of(self.net, self.task.nodes, self.task.images))
        values = {place.name: value for place, value in found.items()}
        stages = {place.name: place.stage for place in found}
        return replace(self.measurement({NODES: values}), stages=stages, nodes=tuple(found))

    def measurement(self, arrays: Mapping[str, Arrays], losses: Float64 | None = None) -> Measurement:
        backend, losses = self.net.backend, np.zeros(0) if losses is None else losses
        return Measurement(backend.name, self.net.device, backend.versions(), self.stages, arrays, losses)

    def forward(self) -> dict[str, Arrays]:
        """What leaves each stage, of the first batch, and the logits of all pictures."""
        leaving, x = {}, self.batches[0].inputs
        for stage, stop in pairwise(self.net.arch.stage_names):
            leaving[stage] = x = self.net.predict_step(stage, stop)(x)
        return {ACTIVATIONS: leaving, **self.logits()}

    def logits(self) -> dict[str, Arrays]:
        predict, images = self.net.predict_step(), self.task.images
        parts = chunks(np.arange(len(images)), self.task.batch_size)
        return {LOGITS_OF_ALL: {LOGITS: np.concatenate([predict(images[part]) for part in parts])}}

    def gradients(self, start: Weights) -> dict[str, Arrays]:
        """The loss and the gradients of the first batch, with the statistics at rest and with the batch's."""
        found = dict[str, Arrays]()
        zeros = {name: np.zeros(shape, np.float32) for name, shape in self.watched.shapes.items() if name == PICTURES}
        for norm_stats, (loss, gradients) in _LOSSES.items():
            groups, step = self.reading[norm_stats]
            self.watched.load({**zeros, **start})
            value, _ = _step(step, self.batches[0], groups, GRADIENT_LR)
            found[loss], found[gradients] = {"loss": np.array([value])}, _way(self.watched, {**zeros, **start}, groups)
        return found

    def update(self, start: Weights) -> dict[str, Arrays]:
        """The second at the same weights, 1 + MOMENTUM times gradient and decay: the first was at a rate of 0."""
        groups, step = self.training
        self._begin(start)
        for rate in (0.0, GRADIENT_LR):
            _step(step, self.batches[0], groups, rate)
        return {UPDATE: _way(self.net, start, groups)}

    def trained(self, start: Weights) -> tuple[dict[str, Arrays], Float64]:
        """How far weights moved in the first step, running statistics behind it, all at the end, and the losses."""
        groups, step = self.training
        self._begin(start)
        arrays, losses = dict[str, Arrays](), np.zeros(self.task.steps)
        for number in range(len(losses)):
            losses[number], _ = _step(step, self.batches[number % len(self.batches)], groups, LR)
            if number == 0:
                moved = self.net.export()
                arrays[STATISTICS] = {name: array for name, array in moved.items() if is_statistic(name)}
                arrays[ONE_STEP] = {n: _less(w, start[n]) for n, w in moved.items() if not is_statistic(n)}
        return arrays | ({after(len(losses)): dict(self.net.export())} if len(losses) > 1 else {}), losses

    def _begin(self, start: Weights) -> None:
        """The training anew."""
        self.net.load(start)
        self.training[1].import_state({"step": np.array(0, np.int64)})


def _step(step: TrainStep, batch: Batch, groups: ParamGroups, rate: float) -> tuple[float, Float64]:
    loss, logits = step([batch], [rate] * len(groups.trainable))()
    return loss, logits.astype(np.float64)


def _way(net: Net, start: Weights, groups: ParamGroups) -> Arrays:
    """What was subtracted from each weight, over the rate."""
    moved = net.export()
    return {n: _less(start[n], moved[n], GRADIENT_LR) for n in groups.trainable_names}


def _less(a: Float32, b: Float32, rate: float = 1.0) -> Float32:
    """(a - b) / rate, to all digits that float32 has. In float64, those of VGG take a gigabyte for each quantity."""
    return np.asarray((a.astype(np.float64) - b) / rate, np.float32)


def subject_of(backend: Backend, device: str, task: Task) -> Subject:
    """Raises XferError for a network or weights that do not fit."""
    arch = known_arch(backend, task.arch)
    classes = task.classes or (RANDOM_CLASSES if task.weights is None else _classes(task.weights, arch, task.source))
    height, width = task.images.shape[1:3]
    spec = ModelSpec(arch.name, classes, (height, width), task.mean or arch.mean, task.std or arch.std)
    if task.weights is not None:
        channels = channels_in(task.weights, with_graph(spec, backend).network.graph)
        spec, task = replace(spec, channels=channels), replace(task, images=in_channels(task.images, channels))
    net = build_net(backend, device, spec)
    first = init_weights(net.shapes, task.seed, net.spec.graph)
    if task.weights is not None:
        keep_head = task.classes is None
        first = merge(net.shapes, task.weights, arch.head_names, first, task.source, keep_head=keep_head)
    return Subject(task, arch, net, first)


def stage_of(arch: Arch | None, name: str) -> str:
    """The stage that a weight belongs to, or NO_STAGE."""
    try:
        return arch.stage_of(name) if arch else NO_STAGE
    except ConfigError:
        return NO_STAGE


def _classes(weights: Weights, arch: Arch, source: str) -> int:
    name = arch.head_names[0]
    if name not in weights:
        raise WeightsError(f"{source}: {name} of {arch.name} is not in it. Cure: --classes N for a fresh head")
    if weights[name].ndim not in (2, 4):  # 4: a convolution, as in SqueezeNet
        raise WeightsError(f"{source}: {name} has shape {weights[name].shape}, expected (classes, features)")
    return len(weights[name])
