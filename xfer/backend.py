"""The seam: everything that crosses between the core and a framework.

Only ndarrays cross. A backend never reads a recipe, a policy or a file: it gets explicit names, groups and numbers.
`model` is opaque to the core. Seven methods and two attributes make a `Backend`; what it may have besides is in
`xfer.capabilities`. How one is written and accepted: docs/backends.md.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, runtime_checkable

from numpy.typing import NDArray

from xfer.arrays import Float32, Int64, Weights
from xfer.graphs.graph import Graph

Precision = Literal["float32", "tf32", "bfloat16", "float16"]
"""`tf32`: numbers are float32, and what enters a product or a convolution is rounded to 10 bits."""
UpdateRule = Literal["sgd", "adam", "adamw", "rmsprop", "lion", "lamb"]
LossName = Literal["softmax", "sigmoid"]
Model = Any
Lazy = Callable[[], tuple[float, Float32]]
"""Waits for the device, then gives the step's loss and its logits `(N, C)`, both from before the update.

It may be called late, after other steps, in any order and more than once.
"""


@dataclass(frozen=True)
class NetworkSpec:
    """What a backend needs in order to build a network.

    graph      the whole network, of kinds that the backend lists. It names every weight
    mean, std  the network normalises its uint8 images itself, on the device, as `(x / 255 - mean) / std` in float32,
               channels in the order red, green, blue; as many of each as the graph's pictures have channels
    precision  what the body computes in: `float32` is exact, and all others are faster and rougher. Weights, what
               crosses a boundary and the loss are float32 in any case, and so is all behind the entry of the head,
               whose products `tf32` alone rounds; `float16` scales the loss, see `TrainStep.export_state`. A backend
               without it raises BackendError that names it; `xfer.capabilities.Capabilities.precisions` lists those
               that it has on a device
    name       for people, and for a framework that has such a network of its own
    fast       a leave, which a backend need not take: what is faster may be used even if the same steps end with
               other bits the next time. Without it they end with the same ones, on the same device
    """

    graph: Graph
    mean: tuple[float, ...]
    std: tuple[float, ...]
    precision: Precision = "float32"
    name: str = ""
    fast: bool = False


@dataclass(frozen=True)
class Batch:
    """One batch at a boundary of the network, and what a step makes smaller: the sum of factor times loss.

    inputs   (N, H, W, 3) uint8 of pictures, or of 1 or 4 channels, as the graph has it; float32 at any other
             boundary: (N, C, h, w), channels first, where maps cross it, and else what the graph gives there: (N, F)
             behind the pooling
    targets  (N, C) float32. The loss of a sample is, by its name: `softmax`, -sum(t * log(softmax(z))), each row of
             targets summing to 1; `sigmoid`, the sum over classes of -(t * log(s(z)) + (1 - t) * log(1 - s(z))), where
             s(z) = 1 / (1 + exp(-z))
    factors  (N,) float32: 1 / N each gives the mean. Of `sigmoid` they may be (N, C), one for each class of a sample
    masks    node -> float32, with the axis of the batch first, that broadcasts to what enters the node, which is
             multiplied with it in training: 0 or 1 / (1 - p). Of nodes that drop, and of the head. Dropout is data:
             made in the core from the seed, it is the same in every framework and on resume. A node that has none is
             passed as it is

    The arrays are the step's while it runs, and the core's again when it returns: a step neither changes them nor
    keeps a view of them, for the next batch may be written where this one was.
    """

    inputs: NDArray[Any]
    targets: Float32
    factors: Float32
    masks: Mapping[str, Float32] = field(default_factory=dict)


@dataclass(frozen=True)
class Labelled:
    """Pictures or features, laid out as `Batch.inputs`, and their classes (N,), in [0, classes).

    Of any number of labels each they are (N, C), of 0 and 1.
    """

    inputs: NDArray[Any]
    labels: Int64


@dataclass(frozen=True)
class ParamGroup:
    """Weights that share a rate and a decay.

    The rate itself comes with each step, ready to use: `lr_mult` is in it, and a backend does not multiply again.
    """

    names: tuple[str, ...]
    lr_mult: float
    weight_decay: float


@dataclass(frozen=True)
class ParamGroups:
    """Every name of a model, exactly once.

    trainable   what the optimizer moves
    frozen      bit-identical after any number of steps. A normalisation layer whose `running_mean` is here
                normalises with its running statistics, in training too
    updating    running statistics that follow the batches, both of a layer or none: a tenth of the way to the batch's
                at each step, the variance unbiased. Such a layer normalises with the batch's mean and biased variance;
                of a single value for each channel there is none, and the step raises BackendError
    """

    trainable: tuple[ParamGroup, ...]
    frozen: frozenset[str]
    updating: frozenset[str]

    @property
    def trainable_names(self) -> tuple[str, ...]:
        return tuple(name for group in self.trainable for name in group.names)

    @property
    def moving(self) -> tuple[str, ...]:
        """Every name that is not frozen."""
        return (*self.trainable_names, *self.updating)


@dataclass(frozen=True)
class OptimizerSpec:
    """An update rule, by torch's definitions.

    `clip_norm` bounds the global L2 norm of all gradients first: they are multiplied by
    min(1, clip_norm / (norm + 1e-6)), and the decay is added after that.

    sgd     d = g + decay * w;  v = d at the first step, then momentum * v + d;  w -= lr * v
            (nesterov: w -= lr * (d + momentum * v))
    adam    the decay is added to the gradient (L2); bias-corrected moments; eps outside the root
    adamw   as adam, the decay applied to the weight instead: w -= lr * decay * w

    Those above every backend has, and these where `xfer.capabilities.Capabilities.update_rules` names them:

    rmsprop the decay is added to the gradient (L2); v = alpha * v + (1 - alpha) * g^2, from 0; d = g / (sqrt(v) + eps);
            buffer = momentum * buffer + d, from 0;  w -= lr * buffer. Without a momentum w -= lr * d
    lion    w -= lr * decay * w;  w -= lr * sign(beta1 * m + (1 - beta1) * g), and then m = beta2 * m + (1 - beta2) * g,
            from 0 (Chen et al. 2023, "Symbolic Discovery of Optimization Algorithms", Algorithm 2). sign(0) is 0
    lamb    u = the adam step, bias-corrected, eps outside the root, + decay * w;  w -= lr * trust * u, where trust is
            norm(w) / norm(u), L2 norms of each tensor, and 1 where one of them is 0 (You et al. 2019, "Large Batch
            Optimization for Deep Learning", Algorithm 2, with phi(x) = x)
    """

    kind: UpdateRule = "sgd"
    momentum: float = 0.0
    nesterov: bool = False
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8
    clip_norm: float | None = None
    alpha: float = 0.99

    @property
    def slots(self) -> tuple[str, ...]:
        """What a step remembers of each weight, by the names of `TrainStep.export_state`."""
        if self.kind in ("sgd", "rmsprop"):
            momentum = ("momentum",) if self.momentum else ()
            return momentum if self.kind == "sgd" else ("v", *momentum)
        return ("m",) if self.kind == "lion" else ("m", "v")


class TrainStep(Protocol):
    """One optimisation step, built once and called many times."""

    def __call__(self, parts: Sequence[Batch], lrs: Sequence[float]) -> Lazy:
        """Step once, on one batch that is given in one part or several, of any sizes: losses and gradients add up.

        The update comes once, behind the last part. Batch statistics are those of each part, and running ones follow
        part by part. Logits are of all samples, in order. `lrs` holds one rate for each group in `groups.trainable`.
        Forces no wait for the device, but in float16.
        """
        ...

    def export_state(self) -> dict[str, NDArray[Any]]:
        """Copies of the optimizer's state, by `slot:name`.

        Slots: those of `OptimizerSpec.slots`, each float32 of the weight's shape; and `step`, an int64 scalar, the
        number of steps taken. Before the first step: only `step`.

        A step in float16 multiplies the loss with a scale of its own, as gradients would be 0 without, and moves no
        weight where they overflow. That goes on from three scalars more: `loss_scale` (float32), and as int64 `growth`,
        the steps since it last changed, and `skipped`, those of all steps that moved no weight.
        """
        ...

    def import_state(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Go on from a state that was exported, by this backend or another. At step 0 it is that of a fresh step."""
        ...


class PredictStep(Protocol):
    def __call__(self, inputs: NDArray[Any]) -> Float32:
        """What leaves the boundary, for inputs of any batch size: laid out as `Batch.inputs`, C-contiguous.

        The inputs are the caller's again when it returns, and what it gives is changed by no later call.
        """
        ...


@runtime_checkable
class Backend(Protocol):
    """A framework. Stateless: all state is in the models and steps it makes."""

    name: str
    kinds: frozenset[str]
    """Of nodes (`xfer.graphs.kinds`) that it gives a meaning to: it builds any graph of these."""

    def versions(self) -> dict[str, str]:
        """Package -> version of all that computes: for the record of a run, and to tell kept features apart."""
        ...

    def devices(self) -> tuple[str, ...]:
        """What is usable now, best first: `cuda:0`, `npu:0`, and `cpu`, without a number, always last."""
        ...

    def build(self, spec: NetworkSpec, device: str) -> Model:
        """A network with weights of no particular value: the core always imports its own."""
        ...

    def export_weights(self, model: Model) -> Weights:
        """Every weight and running statistic, as copies, in the order of the computation.

        The order is for people, in tables and reports: nothing is computed from it.
        """
        ...

    def import_weights(self, model: Model, weights: Mapping[str, Float32]) -> None:
        """Set every weight, by copy. The core has checked names and shapes. Steps made before see the new weights."""
        ...

    def make_train_step(
        self, model: Model, optimizer: OptimizerSpec, loss: LossName, groups: ParamGroups, start: str, cut: str
    ) -> TrainStep:
        """A fresh step. Batches enter at the boundary `start`, and nothing that lies before `cut` moves.

        From `start` to `cut` it computes what a predict step would, to the bit where it can: a run gives the same
        result whether or not the core keeps that in a cache. Masks are for nodes behind `cut` alone.
        """
        ...

    def make_predict_step(self, model: Model, start: str, stop: str) -> PredictStep:
        """Inference from the boundary `start` to the boundary `stop`, both of `xfer.graphs.parts.boundaries`.

        `stop` may be any node as well, `node:NAME`: what it gives is asked for then. `part_of` knows both.

        Pure, and independent of the batch: running statistics, no dropout. It sees the weights as they are when it
        is called, so one made before training serves after it.
        """
        ...


@dataclass(frozen=True)
class InputSpec:
    """What a framework's own input pipeline is to read.

    files       of a whole split, `labels` int64 as of `Labelled`
    transforms  specs of `xfer.pixels.augment`. Random ones follow the same distributions as the core's, but not the
                same draws; a picture's depend on `seed` and its index alone. A Levels among them is for
                `open_image`, and moves no pixels
    chunks      arrays of indices, each a batch
    workers     threads or processes; 0: one for each processor
    """

    files: Sequence[str]
    labels: Int64
    transforms: Sequence[Any]
    chunks: Sequence[Int64]
    seed: int
    workers: int


@dataclass(frozen=True)
class Diagnosis:
    """Something `xfer doctor` should say of an installation. A cure is given where something is wrong."""

    text: str
    cure: str = ""
