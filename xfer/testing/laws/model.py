"""Laws of building, of weights, and of prediction."""

from __future__ import annotations

from dataclasses import replace
from math import prod

import numpy as np
import pytest

from xfer.archs import LOGITS
from xfer.backend import Backend
from xfer.errors import ConfigError
from xfer.graphs.channels import fitted
from xfer.nets.net import build_net
from xfer.nets.specs import known_arch, with_graph
from xfer.testing.kit import (
    CLASSES,
    CLOSE,
    IMAGE_SIZE,
    Law,
    assert_close,
    assert_same,
    needs_sight,
    prepare,
    same,
    spec_of,
)


def describes_itself(backend: Backend, device: str, arch_name: str) -> None:
    devices, versions = backend.devices(), backend.versions()
    assert isinstance(backend, Backend), f"{type(backend).__name__} lacks a member of xfer.backend.Backend"
    assert devices[-1:] == ("cpu",), f"devices() = {devices}: expected the best first and cpu last"
    assert len(set(devices)) == len(devices), f"devices() = {devices} names one twice"
    assert device in devices, f"devices() = {devices} lacks {device!r}"
    assert versions, "versions() is empty: a run could not be recorded"
    assert all(isinstance(text, str) for pair in versions.items() for text in pair), f"versions() = {versions}"
    arch = known_arch(backend, arch_name)
    assert arch.name == arch_name, f"{arch_name!r} is {arch.name!r}"


def weights_are_complete_and_float32(backend: Backend, device: str, arch_name: str) -> None:
    bench = prepare(backend, device, arch_name)
    weights = bench.export()
    for name, array in weights.items():
        bench.arch.stage_of(name)  # raises for a name of no stage
        assert array.dtype == np.float32, f"{name} is exported as {array.dtype}, expected float32"
    weight, bias = bench.arch.head_names
    shapes = {weight: (CLASSES, bench.arch.features), bias: (CLASSES,)}
    for name, shape in shapes.items():
        assert name in weights, f"the head's {name} is not exported"
        assert weights[name].shape == shape, f"{name} has shape {weights[name].shape}, expected {shape}"
    means, variances = (
        {n.removesuffix(s) for n in weights if n.endswith(s)} for s in (".running_mean", ".running_var")
    )
    assert means == variances, f"norm layers with only one of the two statistics: {sorted(means ^ variances)}"


def weights_round_trip_exactly(backend: Backend, device: str, arch_name: str) -> None:
    bench = prepare(backend, device, arch_name)
    assert_same(bench.export(), bench.weights, "exported weights against those imported")


def exports_are_copies(backend: Backend, device: str, arch_name: str) -> None:
    bench = prepare(backend, device, arch_name)
    for name, array in bench.export().items():
        assert array.flags.writeable, f"the export of {name} is read-only: a view of something"
        array += 1
    assert_same(bench.export(), bench.weights, "weights after an export of them was changed")
    export = bench.export()
    held = {name: array.copy() for name, array in export.items()}
    bench.step(bench.head_groups(), start="head")(bench.features(), (0.1, 0.1))()
    bench.export()
    assert_same(export, held, "an export, after training went on")


def imports_are_copies(backend: Backend, device: str, arch_name: str) -> None:
    bench = prepare(backend, device, arch_name)
    given = {name: array.copy() for name, array in bench.weights.items()}
    backend.import_weights(bench.model, given)
    for array in given.values():
        array += 1
    assert_same(bench.export(), bench.weights, "weights after the arrays they were imported from were changed")
    given = {name: array.copy() for name, array in bench.weights.items()}
    backend.import_weights(bench.model, given)
    bench.step(bench.head_groups(), start="head")(bench.features(), (0.1, 0.1))()
    assert_same(given, bench.weights, "the arrays that were imported, after training")


def models_share_nothing(backend: Backend, device: str, arch_name: str) -> None:
    first, second = (prepare(backend, device, arch_name, seed) for seed in (1, 2))
    assert_same(first.export(), first.weights, "a model's weights, after another was built and filled")
    first.step(first.head_groups(), start="head")(first.features(), (0.1, 0.1))()
    assert_same(second.export(), second.weights, "a model's weights, after another was trained")


def predicting_is_pure(backend: Backend, device: str, arch_name: str) -> None:
    bench = prepare(backend, device, arch_name)
    images = bench.batch(5).inputs
    given = images.copy()
    predict = backend.make_predict_step(bench.model, bench.first, LOGITS)
    first = predict(images)
    held = first.copy()
    predict(bench.batch(5, seed=1).inputs)
    assert same(first, held), "an answer changed when the next was computed: it shares memory"
    assert_close(predict(images), held, 0, "the second answer to the same images")
    assert same(images, given), "predicting changed the images it was given"
    assert_same(bench.export(), bench.weights, "weights and statistics after predicting")


def predicting_is_independent_of_the_batch(backend: Backend, device: str, arch_name: str) -> None:
    bench = prepare(backend, device, arch_name)
    images = bench.batch(6).inputs
    for stop in ("head", LOGITS):
        predict = backend.make_predict_step(bench.model, bench.first, stop)
        together = predict(images)
        for sizes in ((1,) * 6, (4, 2)):
            parts = np.split(images, np.cumsum(sizes)[:-1])
            apart = np.concatenate([predict(part) for part in parts])
            assert_close(apart, together, CLOSE, f"{stop} of 6 images in batches of {sizes}, against one batch")


def predicting_sees_current_weights(backend: Backend, device: str, arch_name: str) -> None:
    bench = prepare(backend, device, arch_name)
    images = bench.batch().inputs
    early = backend.make_predict_step(bench.model, bench.first, LOGITS)
    before = early(images)
    bench.reset({name: array * np.float32(1.5) for name, array in bench.weights.items()})
    after = bench.predict(images)
    assert not np.allclose(before, after), "other weights give the same answer: import_weights does nothing"
    assert_close(early(images), after, CLOSE, "a predict step made before weights were imported")
    bench.step(bench.groups(*bench.arch.stage_names))(bench.batch(), (0.1,))()
    assert_close(early(images), bench.predict(images), CLOSE, "a predict step made before training")
    assert not np.allclose(early(images), after), "training everything left the answer as it was"


def boundaries_have_their_shapes(backend: Backend, device: str, arch_name: str) -> None:
    bench = prepare(backend, device, arch_name)
    images = bench.batch(5).inputs
    for stop in bench.boundaries[1:]:
        out = bench.predict(images, stop=stop)
        assert out.dtype == np.float32, f"what leaves {stop} is {out.dtype}, expected float32"
        assert len(out) == 5, f"what leaves {stop} has shape {out.shape} for 5 images"
        assert np.isfinite(out).all(), f"what leaves {stop} is not finite"
        wanted = {"head": (5, bench.arch.features), LOGITS: (5, CLASSES)}.get(stop, out.shape)
        assert out.shape == wanted, f"what leaves {stop} has shape {out.shape}, expected {wanted}"


def inner_boundaries_have_their_layout(backend: Backend, device: str, arch_name: str) -> None:
    """Maps are (N, C, h, w), rows before columns, and vectors (N, F): what the stage behind a boundary is made for."""
    bench = prepare(backend, device, arch_name)
    images = bench.batch(5).inputs
    for stop in bench.arch.stage_names[1:]:
        out = bench.predict(images, stop=stop)
        assert out.ndim in (2, 4), f"what enters {stop} has shape {out.shape}, expected (N, C, h, w) or (N, F)"
        assert out.flags.c_contiguous, f"what enters {stop} is not C-contiguous: strides {out.strides}"
        _, width, *sides = out.shape
        assert sides == sorted(sides), f"what enters {stop} has shape {out.shape}: rows and columns are swapped"
        shapes = [bench.shapes[name] for name in bench.names_in(stop)]
        taken = {s[1] for s in shapes if len(s) > 1}
        taken |= {s[0] for s in shapes if s[1:2] == (1,)}  # of a depthwise convolution
        taken |= {s[1] // prod(sides) for s in shapes if len(s) == 2 and sides}  # of a linear layer on flattened maps
        assert width in taken, f"what enters {stop} has shape {out.shape}: no layer of {stop} takes {width} channels"


def stages_compose(backend: Backend, device: str, arch_name: str) -> None:
    bench = prepare(backend, device, arch_name)
    images = bench.batch().inputs
    whole = bench.predict(images)
    x = images
    for start, stop in zip(bench.boundaries, bench.boundaries[1:], strict=False):
        x = bench.predict(x, start, stop)
        direct = whole if stop == LOGITS else bench.predict(images, stop=stop)
        assert_close(x, direct, CLOSE, f"the stages one by one up to {stop}, against one pass")
        if stop != LOGITS:
            assert_close(bench.predict(x, stop, LOGITS), whole, CLOSE, f"to {stop} and on from it, against one pass")


def images_are_normalised_as_stated(backend: Backend, device: str, arch_name: str) -> None:
    """Halving even pixels and adding an offset to each channel, with mean and std to match, changes nothing."""
    arch = known_arch(backend, arch_name)
    offset = np.array([10, 60, 110], np.uint8)
    red, green, blue = (float(m / 2 + o / 255) for m, o in zip(arch.mean, offset, strict=True))
    std = (arch.std[0] / 2, arch.std[1] / 2, arch.std[2] / 2)
    plain = prepare(backend, device, arch_name)
    moved = prepare(backend, device, arch_name, spec=replace(plain.spec, mean=(red, green, blue), std=std))
    images = plain.batch().inputs // 2 * 2
    wanted = plain.predict(images)
    assert_close(moved.predict(images // 2 + offset), wanted, CLOSE, "(x / 255 - mean) / std, channel by channel")


def grey_pictures_enter_as_one_channel(backend: Backend, device: str, arch_name: str) -> None:
    """Of a grey picture, kernels that were added up see what those of the colours see of three equal ones."""
    spec = replace(spec_of(backend, arch_name), mean=(0.4,) * 3, std=(0.3,) * 3)
    colours = prepare(backend, device, arch_name, spec=spec)
    try:
        grey = prepare(backend, device, arch_name, spec=with_graph(replace(spec, channels=1), backend))
    except ConfigError as error:
        pytest.skip(str(error))
    grey.load(fitted(colours.weights, grey.graph)[0])
    images = np.ascontiguousarray(colours.batch().inputs[..., :1])
    wanted = colours.predict(np.repeat(images, 3, axis=-1))
    assert_close(grey.predict(images), wanted, CLOSE, "a grey picture, against one of three equal colours")


def channels_are_red_green_blue(backend: Backend, device: str, arch_name: str) -> None:
    """Weights of the first convolution that see only channel c make a network that sees only channel c."""
    bench = prepare(backend, device, arch_name)
    name = next((n for n, w in bench.weights.items() if w.ndim == 4 and w.shape[1] == 3), None)
    if name is None:
        pytest.skip(f"{arch_name} has no convolution over the three colours")
    needs_sight(bench)
    images = bench.batch().inputs
    predict = backend.make_predict_step(bench.model, bench.first, LOGITS)
    for channel in range(3):
        weight = np.zeros_like(bench.weights[name])
        weight[:, channel] = bench.weights[name][:, channel]
        bench.reset({name: weight})
        others = images.copy()
        others[..., [c for c in range(3) if c != channel]] //= 3
        seen = predict(images)
        assert_close(predict(others), seen, CLOSE, f"{name}[:, {channel}] must see only channel {channel}")
        own = images.copy()
        own[..., channel] //= 3
        assert not np.allclose(predict(own), seen), f"{name}[:, {channel}] sees nothing"


def builds_what_was_asked_for(backend: Backend, device: str, arch_name: str) -> None:
    """Another number of classes, another image size."""
    spec = spec_of(backend, arch_name, 5, (IMAGE_SIZE[0] + 7, IMAGE_SIZE[1] - 3))
    net = build_net(backend, device, spec)
    built = {name: array.shape for name, array in net.export().items()}
    assert built == dict(net.graph.weights), "what is built has other weights than its graph"
    assert list(built) == list(net.graph.weights), "weights are exported in another order than that of the graph"
    bench = prepare(backend, device, arch_name, spec=spec)
    out = bench.predict(bench.batch(2).inputs)
    assert out.shape == (2, 5), f"logits of shape {out.shape} for 2 images of 5 classes"


LAWS: tuple[Law, ...] = (
    describes_itself,
    builds_what_was_asked_for,
    weights_are_complete_and_float32,
    weights_round_trip_exactly,
    exports_are_copies,
    imports_are_copies,
    models_share_nothing,
    predicting_is_pure,
    predicting_is_independent_of_the_batch,
    predicting_sees_current_weights,
    boundaries_have_their_shapes,
    inner_boundaries_have_their_layout,
    stages_compose,
    images_are_normalised_as_stated,
    channels_are_red_green_blue,
    grey_pictures_enter_as_one_channel,
)
