"""Networks that are data, on MindSpore: every boundary, steps, and normalisations merged into convolutions."""

from __future__ import annotations

import weakref
from dataclasses import replace

import numpy as np
import pytest
from small_graphs import GRAPHS, residual

backend_module = pytest.importorskip("xfer_mindspore")  # before MindSpore: it sets what that reads at its import

from mindspore import Tensor  # noqa: E402
from mindspore.graph.api import ms_compile_cache  # noqa: E402

from xfer.archs import IMAGENET_MEAN, IMAGENET_STD  # noqa: E402
from xfer.backend import LossSpec, ModelSpec, OptimizerSpec  # noqa: E402
from xfer.errors import BackendError  # noqa: E402
from xfer.nets.freeze import FreezePolicy, resolve  # noqa: E402
from xfer.nets.net import build_net  # noqa: E402
from xfer.testing.kinds import evaluate  # noqa: E402
from xfer.testing.kit import random_batch, random_weights, same  # noqa: E402
from xfer.testing.laws.graphs import gradients_of_kinds_are_right  # noqa: E402
from xfer.testing.laws.statistics import one_value_per_channel_is_refused  # noqa: E402
from xfer_mindspore.fold import Folded  # noqa: E402
from xfer_mindspore.kinds import KINDS  # noqa: E402
from xfer_mindspore.layers import BatchNorm, Scope  # noqa: E402
from xfer_mindspore.network import Network  # noqa: E402

CLOSE = 1e-5


def relative(actual, wanted):
    assert actual.shape == wanted.shape
    return np.abs(actual - wanted).max() / max(np.abs(wanted).max(), 1e-12)


def a_net(graph, mode="pynative"):
    spec = ModelSpec("mine", graph.classes, graph.size, IMAGENET_MEAN, IMAGENET_STD, graph=graph)
    net = build_net(backend_module.MindSporeBackend(mode), "cpu", spec)
    net.load(random_weights(net.shapes, seed=1))
    return net


def a_batch(net, keep=False):
    batch = random_batch(4, net.spec.num_classes, net.spec.image_size)
    if not keep:
        return batch
    mask = np.random.default_rng(2).random((4, net.arch.features)) < 0.6
    return replace(batch, keep=(mask / 0.6).astype(np.float32))


def normalised(images):
    return ((images / 255 - IMAGENET_MEAN) / IMAGENET_STD).transpose(0, 3, 1, 2)


def logits_of(net, weights, images, keep=None):
    """By the formulas."""
    graph = net.spec.graph
    return evaluate(graph, weights, normalised(images), keep=keep)[graph.nodes[-1].name]


def unfolded(net, inputs, start=None):
    return Network(Scope(net.model.parameters), net.spec, start or net.first)(Tensor(inputs)).asnumpy()


def groups_from(net, stage, norm_stats="follow"):
    return resolve(FreezePolicy(stage, norm_stats), net.arch, list(net.shapes))


@pytest.fixture(params=GRAPHS, ids=lambda name: name.replace(" ", "-"))
def net(request):
    return a_net(GRAPHS[request.param])


def test_weights_are_exported_in_the_graphs_order_and_as_they_were_imported(net):
    weights = random_weights(net.spec.graph.weights, seed=3)
    net.load(weights)
    exported = net.export()
    assert list(exported) == list(net.spec.graph.weights)
    assert all(same(exported[name], weights[name]) for name in weights)


def test_a_network_is_what_its_formulas_give(net):
    images = a_batch(net).inputs
    wanted = logits_of(net, net.export(), images)
    assert relative(net.predict_step()(images), wanted) < CLOSE
    assert relative(unfolded(net, images), wanted) < CLOSE
    assert relative(net.native()(Tensor(normalised(images).astype(np.float32))).asnumpy(), wanted) < CLOSE


def test_a_prediction_from_any_boundary_is_that_of_the_whole(net):
    images = a_batch(net).inputs
    whole, x = net.predict_step()(images), images
    for start, stop in zip(net.boundaries, net.boundaries[1:], strict=False):
        assert relative(net.predict_step(start)(x), whole) < CLOSE
        assert same(net.predict_step(start, start)(x), x)
        x = net.predict_step(start, stop)(x)
    assert relative(x, whole) < CLOSE


def test_every_norm_behind_a_convolution_is_merged_and_follows_a_change():
    net = a_net(residual())
    folded, images = Folded(net.model, net.first, "logits", graph=False), a_batch(net).inputs
    kept = [f for cell in folded.network.body for f in getattr(cell, "functions", {}).values()]
    assert len(folded.pairs) == 5
    assert not any(isinstance(function, BatchNorm) for function in kept)
    for seed in (1, 2):
        net.load(random_weights(net.shapes, seed=seed))
        assert relative(folded(Tensor(images)).asnumpy(), unfolded(net, images)) < CLOSE


@pytest.mark.parametrize("norm_stats", ["follow", "update", "freeze"])
def test_a_step_changes_what_is_not_frozen_and_nothing_else(net, norm_stats):
    before = net.export()
    for stage in net.arch.stage_names:
        net.load(before)
        groups = groups_from(net, stage, norm_stats)
        step = net.train_step(OptimizerSpec("sgd", momentum=0.9), LossSpec(), groups)
        for _ in range(2):
            step(a_batch(net), [0.05] * len(groups.trainable))()
        after = net.export()
        changed = {name for name in before if not same(before[name], after[name])}
        assert not changed & groups.frozen, stage
        assert changed == set(groups.moving), stage


@pytest.mark.parametrize("keep", [False, True])
def test_a_step_goes_down_the_slope_of_the_loss(net, keep):
    """With plain SGD the move is the gradient: along any direction, the slope of the loss by the formulas."""
    batch, before, groups = a_batch(net, keep), net.export(), groups_from(net, net.first, "freeze")
    loss, logits = net.train_step(OptimizerSpec("sgd"), LossSpec(), groups)(batch, [1.0] * len(groups.trainable))()
    after, rng = net.export(), np.random.default_rng(0)

    def at(distance, direction):
        moved = {name: before[name] + distance * direction.get(name, 0) for name in before}
        found = logits_of(net, moved, batch.inputs, batch.keep)
        shifted = found - found.max(1, keepdims=True)
        log = shifted - np.log(np.exp(shifted).sum(1, keepdims=True))
        return found, -log[np.arange(len(log)), batch.labels].mean()

    wanted, value = at(0, {})
    assert relative(logits, wanted) < CLOSE
    assert loss == pytest.approx(value, rel=CLOSE)
    for name in groups.trainable_names:
        direction = {name: rng.normal(0, 1, before[name].shape)}
        slope = (at(1e-6, direction)[1] - at(-1e-6, direction)[1]) / 2e-6
        gradient = before[name].astype(np.float64) - after[name]
        allowed = 1e-4 * np.linalg.norm(gradient) * np.linalg.norm(direction[name])
        assert abs((gradient * direction[name]).sum() - slope) < allowed, name


def test_a_step_from_pictures_is_the_step_from_features_kept_at_a_boundary():
    ends = []
    for cached in (False, True):
        net = a_net(residual())
        groups, batch = groups_from(net, "layer2"), a_batch(net)
        if cached:
            batch = replace(batch, inputs=net.predict_step(stop="layer2")(batch.inputs))
        step = net.train_step(OptimizerSpec(), LossSpec(), groups, start="layer2" if cached else net.first)
        step(batch, [0.1] * len(groups.trainable))()
        ends.append(net.export())
    assert all(same(ends[0][name], ends[1][name]) for name in ends[0])


def test_graph_mode_runs_a_network_that_is_data_as_pynative_does(net):
    results, before = [], len(ms_compile_cache)
    for mode in ("pynative", "graph"):
        net = a_net(net.spec.graph, mode)
        groups = groups_from(net, net.first)
        net.train_step(OptimizerSpec(), LossSpec(), groups)(a_batch(net), [0.1] * len(groups.trainable))()
        results.append(net.predict_step()(a_batch(net).inputs))
    assert same(*results)
    assert len(ms_compile_cache) == before


def test_a_value_that_no_later_node_takes_is_let_go():
    net, alive, most = a_net(residual()), [], []
    network = Network(Scope(net.model.parameters), net.spec, net.first, "head")

    def watched(function):
        def call(*inputs):
            most.append(sum(seen() is not None for seen in alive))
            given = function(*inputs)
            alive.append(weakref.ref(given))
            return given

        return call

    cell = network.body[1]  # the stem, a chain, behind the normalisation of the pictures
    cell.functions = {name: watched(function) for name, function in cell.functions.items()}
    network(Tensor(a_batch(net).inputs))
    assert len(most) == len(cell.nodes)
    assert max(most) == 1


def test_a_graph_with_a_kind_that_the_table_lacks_is_refused_with_the_node_and_the_kinds(monkeypatch):
    monkeypatch.delitem(KINDS, "relu")
    spec = ModelSpec("mine", 3, (32, 32), IMAGENET_MEAN, IMAGENET_STD, graph=residual())
    with pytest.raises(
        BackendError, match=r"^kind of node 'relu1' .* 'relu': expected one of [\w, ]+\. Did .*'relu6'\?$"
    ):
        backend_module.MindSporeBackend().build(spec, "cpu")


def test_a_step_that_was_refused_does_not_spoil_later_gradients():
    backend = backend_module.MindSporeBackend()
    one_value_per_channel_is_refused(backend, "cpu", "resnet18")
    gradients_of_kinds_are_right(backend, "cpu", "resnet18")
