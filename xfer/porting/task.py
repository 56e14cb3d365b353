"""What every backend is given for `xfer parity`, what comes back, and how both cross between processes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np

from xfer.arrays import Float64, Weights
from xfer.backend import LossName
from xfer.formats.safetensors import read_safetensors, write_safetensors
from xfer.porting.floors import Floors
from xfer.porting.gaps import Array
from xfer.porting.nodes import Place
from xfer.system.files import json_text

Arrays = dict[str, Array]
Triple = tuple[float, float, float]

NO_STAGE = "no stage"  # of a name that belongs to none
START = "weights at the start"
ACTIVATIONS = "activations"
LOGITS_OF_ALL = "logits"
REST_LOSS = "loss, statistics at rest"
REST_GRADIENTS = "gradients, statistics at rest"
STATISTICS = "statistics after 1 step"
LOSS = "loss, batch statistics"
GRADIENTS = "gradients, batch statistics"
UPDATE = "second update, momentum and decay"
ONE_STEP = "movement in 1 step"
NODES = "activations by node"
PICTURES = "pictures"  # what the gradient of the normalised pictures is called, among those of weights


def after(steps: int) -> str:
    return f"everything after {steps} steps"


@dataclass(frozen=True)
class Task:
    """What every backend is given.

    images      (N, H, W, 3) uint8
    weights     canonical name -> float32; None: random ones from the seed. `source` is what errors call them
    classes     of a fresh head from the seed; None: the head of `weights`, or RANDOM_CLASSES
    mean, std   of the network's normalisation; None: the architecture's own
    steps       of training; 0: nothing but the logits is asked for
    shaken      above 0: every weight is moved to one of its neighbours in float32, up or down by the seed and this
                number. How far results move then is what rounding alone may do to them
    neighbours  how many of them it is moved on
    draws       of that, with which floors are measured
    tolerance   of what another backend measured, where that is given: floors are measured where something is beyond it
    loss        of the steps: `sigmoid` of weights of a network for any number of labels
    nodes       stages whose nodes are asked for, each on all images; nothing else is measured then
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
    shaken: int = 0
    neighbours: int = 1
    draws: int = 0
    tolerance: float = 0.0
    nodes: tuple[str, ...] = ()
    loss: LossName = "softmax"


@dataclass(frozen=True)
class Measurement:
    """What one backend made of a task.

    arrays  what was measured -> name of the tensor -> array
    stages  name of the tensor -> the stage it belongs to, in the order of the computation
    losses  (steps,) of the training, each from before its step
    floors  what each figure comes to between this and the same with every weight shaken; none where it was not asked
    band    (steps,) the same of `losses`
    nodes   where the nodes of NODES are, in the order of the computation
    """

    backend: str
    device: str
    versions: Mapping[str, str]
    stages: Mapping[str, str]
    arrays: Mapping[str, Arrays]
    losses: Float64 = field(default_factory=lambda: np.zeros(0))
    floors: Floors = field(default_factory=dict)
    band: Float64 = field(default_factory=lambda: np.zeros(0))
    nodes: tuple[Place, ...] = ()


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
    settings |= {key: tuple(settings[key]) for key in ("mean", "std", "nodes") if settings[key] is not None}
    return Task(images=images, weights=weights or None, **settings)


_FLOORS = "floors of "  # before what was measured


def write_measurement(path: Path, measurement: Measurement) -> None:
    floors = {f"{_FLOORS}{what}": figures for what, figures in measurement.floors.items()}
    told: dict[str, Arrays] = {**measurement.arrays, **floors}
    flat = {f"{what}/{name}": array for what, arrays in told.items() for name, array in arrays.items()}
    flat |= {"losses": measurement.losses, "band": measurement.band}
    origin = {k: getattr(measurement, k) for k in ("backend", "device", "versions", "stages")}
    content = {**origin, "nodes": [asdict(place) for place in measurement.nodes]}
    write_safetensors(path, flat, {"measurement": json_text(content)})


def read_measurement(path: Path) -> Measurement:
    flat, metadata = read_safetensors(path)
    losses, band = flat.pop("losses"), flat.pop("band")
    arrays, floors = dict[str, Arrays](), Floors()
    for key, array in flat.items():
        what, _, name = key.partition("/")
        into = floors if what.startswith(_FLOORS) else arrays
        into.setdefault(what.removeprefix(_FLOORS), {})[name] = array
    content = json.loads(metadata["measurement"])
    nodes = tuple(Place(**place | {"inputs": tuple(place["inputs"])}) for place in content.pop("nodes"))
    return Measurement(arrays=arrays, losses=losses, floors=floors, band=band, nodes=nodes, **content)
