"""Laws of what a specification changes in a network: hidden layers, another precision, other padding."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, get_args

import numpy as np
import pytest

from xfer.archs import EXTRA
from xfer.backend import Backend, Precision
from xfer.capabilities import capability
from xfer.errors import BackendError
from xfer.testing.kit import CLASSES, CLOSE, Bench, Law, assert_close, assert_same, prepare
from xfer.testing.laws.training import assert_step_changes_the_unfrozen

WIDTHS = (6, 5)
PRECISIONS: tuple[Precision, ...] = get_args(Precision)
ROUGHLY = {"tf32": 0.02, "bfloat16": 0.1, "float16": 0.02}  # they keep 11, 8 and 11 bits, through some twenty layers


def _changed(plain: Bench, **changes: Any) -> Bench:
    """The network with these changes; skips where the backend says that it cannot build them."""
    try:  # the core makes the graph anew
        return prepare(plain.backend, plain.device, plain.arch.name, spec=replace(plain.spec, graph=None, **changes))
    except BackendError as error:
        pytest.skip(f"{plain.backend.name} refuses {changes}: {error}")


def _assert_shapes(bench: Bench, wanted: dict[str, tuple[int, ...]]) -> None:
    for name, shape in wanted.items():
        assert name in bench.shapes, f"{name} is not exported"
        assert bench.shapes[name] == shape, f"{name} has shape {bench.shapes[name]}, expected {shape}"


def hidden_layers_stand_before_the_head(backend: Backend, device: str, arch_name: str) -> None:
    """Each is linear and then ReLU, by the names `extra.0`, `extra.1`; the body is what it was; they can be trained."""
    plain = prepare(backend, device, arch_name)
    bench = _changed(plain, extra=WIDTHS)
    (first, second), width = WIDTHS, plain.arch.features
    weight, bias = bench.arch.head_names
    wanted = {"extra.0.weight": (first, width), "extra.0.bias": (first,), "extra.1.weight": (second, first)}
    _assert_shapes(bench, wanted | {"extra.1.bias": (second,), weight: (CLASSES, second), bias: (CLASSES,)})
    images = bench.batch().inputs
    x = pooled = bench.predict(images, stop=EXTRA)
    assert_close(pooled, plain.predict(images, stop="head"), CLOSE, "what enters the hidden layers")
    for layer in ("extra.0", "extra.1"):
        x = np.maximum(x @ bench.weights[f"{layer}.weight"].T + bench.weights[f"{layer}.bias"], 0)
    assert_close(bench.predict(pooled, EXTRA, "head"), x, CLOSE, "what leaves the hidden layers")
    assert_close(bench.predict(x, "head"), bench.predict(images), CLOSE, "the head on it, against one pass")
    assert_step_changes_the_unfrozen(bench, bench.groups(EXTRA, "head", decay=0.1))


def another_precision_is_kept_or_refused(backend: Backend, device: str, arch_name: str) -> None:
    """Logits and weights are float32 in any case; a backend refuses, by its name, each that it does not say it has."""
    plain, usable = prepare(backend, device, arch_name), capability(backend, "precisions")(device)
    assert usable[:1] == ("float32",), f"precisions begin with {usable[:1]}, expected float32"
    for precision in PRECISIONS[1:]:
        spec, refusal = replace(plain.spec, precision=precision), ""
        try:
            _assert_rougher(prepare(backend, device, arch_name, spec=spec), plain)
        except BackendError as error:
            refusal = str(error)
        named, done = precision in usable, "refused" if refusal else "built"
        assert named == (not refusal), f"{precision} is {done}, and its precisions are {', '.join(usable)}"
        assert named or precision in refusal, f"the refusal does not say what of: {refusal}"


def _assert_rougher(bench: Bench, plain: Bench) -> None:
    precision = bench.spec.precision
    assert_same(bench.export(), bench.weights, f"weights of a network that computes in {precision}")
    images = bench.batch().inputs
    logits, wanted = bench.predict(images), plain.predict(images)
    assert logits.dtype == np.float32, f"logits are {logits.dtype}, expected float32"
    assert_close(logits, wanted, ROUGHLY[precision], f"logits in {precision}, against float32")
    if precision != "tf32":  # which a device uses where it is worth it
        assert not np.array_equal(logits, wanted), f"{precision} gives the bits of float32: neither refused nor kept"


def padding_is_kept(backend: Backend, device: str, arch_name: str) -> None:
    """With its kernels and its pictures turned by 180 degrees, a network that pads symmetrically is one that pads SAME.

    What lay left and above lies right and below then. That holds where a strided layer with the one padding sees an
    even side, and one with the other an odd side; and without projections, which skip the last row or the first.
    """
    plain = prepare(backend, device, arch_name)
    if plain.arch.layers is None:
        pytest.skip(f"{arch_name} has no blocks to add")
    _, *stages, head = plain.arch.stage_names
    for padding, size, stops in (("same_pool", (35, 39), stages[:1]), ("same", (64, 96), (*stages, head))):
        bench = prepare(backend, device, arch_name, spec=replace(plain.spec, image_size=size, graph=None))
        turned = _changed(bench, padding=padding)
        weights = {n: np.zeros_like(w) if ".downsample.0" in n else w for n, w in bench.weights.items()}
        bench.reset(weights)
        turned.reset({n: _turned(w).copy() if w.ndim == 4 else w for n, w in weights.items()})
        images = bench.batch().inputs
        for stop in stops:
            maps = turned.predict(images[:, ::-1, ::-1].copy(), stop=stop)
            wanted = bench.predict(images, stop=stop)
            assert_close(_turned(maps) if maps.ndim == 4 else maps, wanted, CLOSE, f"{padding}: what enters {stop}")


def _turned(maps: Any) -> Any:
    return maps[..., ::-1, ::-1]


LAWS: tuple[Law, ...] = (
    hidden_layers_stand_before_the_head,
    another_precision_is_kept_or_refused,
    padding_is_kept,
)
