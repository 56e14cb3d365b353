"""One backend measured for `xfer parity` in its own process: python -m xfer.porting.probe NAME DEVICE TASK RESULT.

The core gives every backend the same task; what comes back is arrays by name, to be held against another backend's.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xfer.archs import LOGITS, Arch, is_statistic
from xfer.arrays import Weights
from xfer.backend import Backend, Batch, LossSpec, ModelSpec, OptimizerSpec
from xfer.backends import load_backend, pick_device, settle
from xfer.data.order import chunks
from xfer.errors import WeightsError, XferError
from xfer.formats.safetensors import read_safetensors, write_safetensors
from xfer.nets.freeze import FreezePolicy, NormStats, resolve
from xfer.nets.net import Net, build_net
from xfer.nets.specs import known_arch
from xfer.nets.weights import init_weights, merge
from xfer.system import own_process, processes
from xfer.system.files import json_text

Array = NDArray[Any]
Arrays = dict[str, Array]
Triple = tuple[float, float, float]

RANDOM_CLASSES = 10  # of random weights, where nothing else is said
LR = 0.001  # of the steps with momentum: usual for fine-tuning
MOMENTUM = 0.9
GRADIENT_LR = 2.0**16
"""The rate of the one step that gradients are read from, g = (w0 - w1) / lr.

float32 keeps w1 to 6e-8 of the larger of w0 and lr * g. At a usual rate that would be w0, and most digits of a small g
would be lost; at this one it is lr * g, so that g keeps all of its digits. A power of two multiplies without rounding.
"""

START = "weights at the start"
ACTIVATIONS = "activations"
LOGITS_OF_ALL = "logits"
REST_LOSS = "loss, statistics at rest"
REST_GRADIENTS = "gradients, statistics at rest"
STATISTICS = "statistics after 1 step"
LOSS = "loss, batch statistics"
GRADIENTS = "gradients, batch statistics"
ONE_STEP = "weights after 1 step"


def after(steps: int) -> str:
    return f"everything after {steps} steps"


@dataclass(frozen=True)
class Task:
    """What every backend is given.

    images    (N, H, W, 3) uint8
    weights   canonical name -> float32; None: random ones from the seed. `source` is what errors call them
    classes   of a fresh head from the seed; None: the head of `weights`, or RANDOM_CLASSES
    mean, std of the network's normalisation; None: the architecture's own
    steps     of training; 0: nothing but the logits is asked for
    shaken    every weight is moved to one of its neighbours in float32, up or down by the seed: how far results move
              then is what rounding alone may do to them
    """

    arch: str
    images: Array
    weights: Weights | None = None
    source: str = "random"
    classes: int | None = None
    mean: Triple | None = None
    std: Triple | None = None
    batch_size: int = 8
    steps: int = 10
    seed: int = 0
    shaken: bool = False


@dataclass(frozen=True)
class Measurement:
    """What one backend made of a task.

    arrays  what was measured -> name of the tensor -> array
    stages  name of the tensor -> the stage it belongs to, in the order of the computation
    """

    backend: str
    device: str
    versions: Mapping[str, str]
    stages: Mapping[str, str]
    arrays: Mapping[str, Arrays]


def measure(backend: Backend, device: str, task: Task) -> Measurement:
    """Everything that is compared, of one backend.

    Activations (what leaves each stage) are of the first batch, logits of all images. Training runs through the full
    batches in turn, with everything trained and labels drawn from the seed. Raises XferError.
    """
    arch = known_arch(backend, task.arch)
    net, start = _net(backend, device, arch, task)
    last = arch.stage_names[-1]
    if task.steps == 0:
        return Measurement(backend.name, device, backend.versions(), {LOGITS: last}, _logits(net, task))
    batches = _batches(task, net.spec.num_classes)
    arrays = {START: start, **_forward(net, task, len(batches[0].labels))}
    arrays[REST_LOSS], arrays[REST_GRADIENTS] = _gradients(net, start, batches[0], "freeze")
    arrays[LOSS], arrays[GRADIENTS] = _gradients(net, start, batches[0], "follow")
    arrays |= _trained(net, start, batches, task.steps)
    stages = {stage: stage for stage in arch.stage_names} | {name: arch.stage_of(name) for name in start}
    return Measurement(backend.name, device, backend.versions(), stages | {LOGITS: last, "loss": last}, arrays)


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
    net.load(_shaken(first, task.seed) if task.shaken else first)
    return net, net.export()


def _shaken(weights: Weights, seed: int) -> Weights:
    rng = np.random.default_rng((seed, 3))
    ends = np.array([-np.inf, np.inf], np.float32)
    moved = {name: np.nextafter(w, ends[rng.integers(0, 2, w.shape)]) for name, w in weights.items()}
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
    return [Batch(task.images[part], labels[part]) for part in parts if len(part) == len(parts[0])]


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
    step = net.train_step(OptimizerSpec("sgd"), LossSpec(), groups)
    loss, _ = step(batch, [GRADIENT_LR] * len(groups.trainable))()
    moved = net.export()
    gradients = {n: (start[n].astype(np.float64) - moved[n]) / GRADIENT_LR for n in groups.trainable_names}
    return {"loss": np.array([loss])}, gradients


def _trained(net: Net, start: Weights, batches: list[Batch], steps: int) -> dict[str, Arrays]:
    """Weights and running statistics on the way through `steps` steps of SGD with momentum."""
    net.load(start)
    groups = resolve(FreezePolicy(net.first), net.arch, list(start))
    rule = OptimizerSpec("sgd", momentum=MOMENTUM)
    step = net.train_step(rule, LossSpec(), groups)
    arrays: dict[str, Arrays] = {}
    for number in range(1, steps + 1):
        step(batches[(number - 1) % len(batches)], [LR] * len(groups.trainable))()
        if number == 1:
            moved = net.export()
            arrays[STATISTICS] = {name: array for name, array in moved.items() if is_statistic(name)}
            arrays[ONE_STEP] = {name: array for name, array in moved.items() if not is_statistic(name)}
    return arrays | ({after(steps): dict(net.export())} if steps > 1 else {})


# What crosses between the processes: one safetensors file each way, and never a pickle.


def write_task(path: Path, task: Task) -> None:
    settings = {k: v for k, v in task.__dict__.items() if k not in ("images", "weights")}
    weights = {f"weights/{name}": array for name, array in (task.weights or {}).items()}
    write_safetensors(path, {"images": task.images, **weights}, {"task": json_text(settings)})


def read_task(path: Path) -> Task:
    arrays, metadata = read_safetensors(path)
    images = arrays.pop("images")
    weights = {name.removeprefix("weights/"): array for name, array in arrays.items()}
    settings = json.loads(metadata["task"])
    settings |= {key: tuple(settings[key]) for key in ("mean", "std") if settings[key] is not None}
    return Task(images=images, weights=weights or None, **settings)


def write_measurement(path: Path, measurement: Measurement) -> None:
    flat = {
        f"{quantity}/{name}": array for quantity, arrays in measurement.arrays.items() for name, array in arrays.items()
    }
    origin = {k: v for k, v in asdict(measurement).items() if k != "arrays"}
    write_safetensors(path, flat, {"measurement": json_text(origin)})


def read_measurement(path: Path) -> Measurement:
    flat, metadata = read_safetensors(path)
    arrays: dict[str, Arrays] = {}
    for key, array in flat.items():
        quantity, _, name = key.partition("/")
        arrays.setdefault(quantity, {})[name] = array
    return Measurement(arrays=arrays, **json.loads(metadata["measurement"]))


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
