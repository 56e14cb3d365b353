"""What the laws are made of: networks with known weights, batches, groups, and comparisons that say what broke."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import prod, sqrt
from typing import Any
from zlib import crc32

import numpy as np
import pytest
from numpy.typing import NDArray

from xfer.archs import LOGITS, is_statistic, norm_layers
from xfer.arrays import Float32, Weights
from xfer.backend import Backend, OptimizerSpec, ParamGroup, ParamGroups
from xfer.losses import LossSpec
from xfer.nets.net import Net, build_net
from xfer.nets.specs import ModelSpec, known_arch
from xfer.testing.case import Case, CaseStep

CLASSES = 3
IMAGE_SIZE = (32, 40)  # (height, width): not square, so that a swap of the two shows
SGD = OptimizerSpec()
SIGHT = 1e-3  # of the largest logit
CLOSE = 1e-5  # of the largest value: float32 sums in another order, through some twenty layers


def random_weights(shapes: Mapping[str, tuple[int, ...]], seed: int) -> Weights:
    """Weights for any network, such that its activations neither die nor explode and no array is all zero.

    Matrices and convolutions have the variance of He et al. (2015), uniform because that is drawn fastest; norm layers
    scale by 0.3-0.7, so that residual sums stay small. What a name gets depends on the seed, the name and its shape
    alone: on no order, and on no other name.
    """
    norms = set(norm_layers(shapes))

    def draw(name: str, shape: tuple[int, ...]) -> NDArray[Any]:
        rng = np.random.default_rng((seed, crc32(name.encode())))
        if name.endswith(".running_var"):
            return rng.uniform(0.5, 1.5, shape)
        if name.endswith(".weight") and name.removesuffix(".weight") in norms:
            return rng.uniform(0.3, 0.7, shape)
        if len(shape) < 2:
            return rng.normal(0, 0.2, shape)
        return (rng.random(shape, np.float32) - np.float32(0.5)) * np.float32(sqrt(24 / prod(shape[1:])))

    return {name: draw(name, shape).astype(np.float32, copy=False) for name, shape in shapes.items()}


def random_labels(n: int, classes: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """The first and the last class come first, whatever n."""
    return np.concatenate([[0, classes - 1], rng.integers(0, classes, n)])[:n].astype(np.int64)


def random_batch(n: int, classes: int = CLASSES, image_size: tuple[int, int] = IMAGE_SIZE, seed: int = 0) -> Case:
    """Pictures of coloured patches under noise: unlike plain noise, no two look alike after pooling."""
    rng = np.random.default_rng((seed, n))
    height, width = image_size
    patches = rng.uniform(0, 255, (n, 4, 4, 3))
    rows, columns = np.arange(height) * 4 // height, np.arange(width) * 4 // width
    images = patches[:, rows][:, :, columns] + rng.normal(0, 20, (n, height, width, 3))
    return Case(images.clip(0, 255).astype(np.uint8), random_labels(n, classes, rng))


def random_features(n: int, features: int, classes: int = CLASSES, seed: int = 0, keep: float | None = None) -> Case:
    """A batch at the head: inputs (n, features) >= 0 of L2 norm about 4. `keep`: the share that dropout keeps."""
    rng = np.random.default_rng((seed, n))
    inputs = np.abs(rng.normal(0, 4 / sqrt(features), (n, features))).astype(np.float32)
    mask = None if keep is None else ((rng.random(inputs.shape) < keep) / keep).astype(np.float32)
    return Case(inputs, random_labels(n, classes, rng), mask)


@dataclass(frozen=True)
class Bench(Net):
    """A network with known weights, ready to be tested."""

    weights: Weights

    def reset(self, changes: Mapping[str, Float32] | None = None) -> None:
        self.load({**self.weights, **(changes or {})})

    def predict(self, inputs: NDArray[Any], start: str | None = None, stop: str = LOGITS) -> Float32:
        return self.predict_step(start, stop)(inputs)

    def step(
        self,
        groups: ParamGroups,
        optimizer: OptimizerSpec = SGD,
        loss: LossSpec | None = None,
        start: str | None = None,
    ) -> CaseStep:
        return CaseStep(self.train_step(optimizer, groups, start), self.graph, loss or LossSpec())

    def still(self, groups: ParamGroups, batch: Case) -> tuple[float, Float32]:
        """Loss and logits of a step with rates of 0."""
        return self.step(groups)(batch, (0.0,) * len(groups.trainable))()

    def batch(self, n: int = 4, seed: int = 0) -> Case:
        return random_batch(n, self.spec.num_classes, self.spec.image_size, seed)

    def features(self, n: int = 8, seed: int = 0, keep: float | None = None) -> Case:
        return random_features(n, self.arch.features, self.spec.num_classes, seed, keep)

    def names_in(self, *stages: str) -> tuple[str, ...]:
        return tuple(name for name in self.weights if self.arch.stage_of(name) in stages)

    def groups(self, *trained: str, updating: Iterable[str] = (), decay: float = 0.0) -> ParamGroups:
        """One group of all weights of the stages `trained`; the statistics of the stages `updating` follow."""
        statistics = frozenset(filter(is_statistic, self.names_in(*updating)))
        names = tuple(name for name in self.names_in(*trained) if not is_statistic(name))
        return make_groups(self.weights, [(names, decay)], statistics)

    def head_groups(self, decay: float = 0.0) -> ParamGroups:
        """The head's weight, with decay, and its bias, without: two groups."""
        weight, bias = self.arch.head_names
        return make_groups(self.weights, [((weight,), decay), ((bias,), 0.0)])


def make_groups(
    names: Iterable[str], trainable: Sequence[tuple[tuple[str, ...], float]], updating: Iterable[str] = ()
) -> ParamGroups:
    """Groups from (names, decay) pairs and the statistics that follow; everything else is frozen.

    Their `lr_mult` is not 1: rates that a step is given have it in them already, and a step that multiplies again
    is seen.
    """
    groups = tuple(ParamGroup(members, 2.0, decay) for members, decay in trainable)
    follow = frozenset(updating)
    taken = {name for members, _ in trainable for name in members} | follow
    return ParamGroups(groups, frozenset(names) - taken, follow)


def prepare(backend: Backend, device: str, arch_name: str, seed: int = 0, spec: ModelSpec | None = None) -> Bench:
    """Build a network and give it random weights."""
    net = build_net(backend, device, spec or spec_of(backend, arch_name))
    weights = random_weights(net.shapes, seed)
    net.load(weights)
    return Bench(net.backend, net.device, net.spec, net.arch, net.model, weights)


def spec_of(backend: Backend, arch_name: str, classes: int = CLASSES, size: tuple[int, int] = IMAGE_SIZE) -> ModelSpec:
    """A network of that name, for pictures of (height, width) pixels."""
    arch = known_arch(backend, arch_name)
    return ModelSpec(arch_name, classes, size, arch.mean, arch.std)


def needs_norm_layers(bench: Bench) -> tuple[str, ...]:
    """Names of the norm layers; skips the law where there are none."""
    layers = norm_layers(bench.weights)
    if not layers:
        pytest.skip(f"{bench.arch.name} has no norm layer with running statistics")
    return layers


def needs_sight(bench: Bench) -> None:
    """Skips where random weights let nothing of a picture through the network: of such a network little can be shown.

    Norm layers that scale by a half leave 2 ** -48 of it behind 16 blocks of three layers without shortcuts, say.
    """
    images = bench.batch().inputs
    bright, dark = bench.predict(images), bench.predict(images // 3)
    moved = float(np.abs(bright - dark).max() / np.abs(bright).max())
    if moved < SIGHT:
        pytest.skip(
            f"{bench.arch.name} with random weights sees nothing: darkened pictures move its logits by {moved:.0e}"
        )


def same(a: NDArray[Any], b: NDArray[Any]) -> bool:
    """Whether two arrays are the same bits."""
    return a.dtype == b.dtype and a.shape == b.shape and bool(np.array_equal(_bytes(a), _bytes(b)))


def _bytes(a: NDArray[Any]) -> NDArray[np.uint8]:
    return np.ascontiguousarray(a).reshape(-1).view(np.uint8)


def changed(before: Mapping[str, NDArray[Any]], after: Mapping[str, NDArray[Any]]) -> set[str]:
    """Names of the arrays that are not the same bits, or in only one of the two."""
    both = before.keys() & after.keys()
    return (before.keys() ^ after.keys()) | {name for name in both if not same(before[name], after[name])}


def assert_same(actual: Mapping[str, NDArray[Any]], wanted: Mapping[str, NDArray[Any]], what: str) -> None:
    different = sorted(changed(wanted, actual))
    assert not different, f"{what}: {len(different)} of {len(wanted)} arrays differ, among them {different[:4]}"


def assert_close(actual: Any, wanted: Any, tolerance: float, what: str) -> None:
    """The largest difference is at most `tolerance` times the largest value."""
    actual, wanted = np.asarray(actual, np.float64), np.asarray(wanted, np.float64)
    assert actual.shape == wanted.shape, f"{what}: shape {actual.shape}, expected {wanted.shape}"
    error = np.abs(actual - wanted).max() / max(np.abs(wanted).max(), 1e-12)
    assert error <= tolerance, f"{what}: off by {error:.1e} of the largest value, at most {tolerance:.0e} is allowed"


def assert_all_close(
    actual: Mapping[str, Any],
    wanted: Mapping[str, Any],
    tolerance: float,
    what: str,
    names: Iterable[str] | None = None,
) -> None:
    for name in names or wanted:
        assert_close(actual[name], wanted[name], tolerance, f"{what}: {name}")


Law = Callable[[Backend, str, str], None]
"""`law(backend, device, arch_name)`: raises AssertionError with what broke, or skips where it cannot apply."""
