"""Networks that are data, on MindSpore: every boundary, steps, and normalisations merged into convolutions."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from small_graphs import GRAPHS, residual

backend_module = pytest.importorskip("xfer_mindspore")  # before MindSpore: it sets what that reads at its import

from mindspore import Tensor  # noqa: E402

from xfer.archs import IMAGENET_MEAN, IMAGENET_STD, LOGITS  # noqa: E402
from xfer.backend import NetworkSpec, OptimizerSpec  # noqa: E402
from xfer.errors import BackendError  # noqa: E402
from xfer.graphs.graph import Node  # noqa: E402
from xfer.graphs.parts import at_rest, part_of  # noqa: E402
from xfer.losses import LossSpec  # noqa: E402
from xfer.nets.freeze import FreezePolicy, resolve  # noqa: E402
from xfer.nets.net import build_net  # noqa: E402
from xfer.nets.specs import ModelSpec  # noqa: E402
from xfer.testing.case import CaseStep  # noqa: E402
from xfer.testing.kinds import evaluate  # noqa: E402
from xfer.testing.kit import random_batch, random_weights, same  # noqa: E402
from xfer.testing.laws.graphs import gradients_of_kinds_are_right  # noqa: E402
from xfer.testing.laws.statistics import one_value_per_channel_is_refused  # noqa: E402
from xfer_mindspore.kinds import KINDS  # noqa: E402
from xfer_mindspore.layers import BatchNorm  # noqa: E402
from xfer_mindspore.network import network_of, source_of  # noqa: E402

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


def logits_of(net, weights, images, masks=None):
    """By the formulas."""
    graph = net.spec.graph
    return evaluate(graph, weights, normalised(images), masks=masks)[graph.nodes[-1].name]


def unfolded(net, inputs, start=None):
    network = network_of(net.model, part_of(net.graph, start or net.first, LOGITS), net.model.parameters)
    return network(Tensor(inputs)).asnumpy()


def step_of(net, optimizer, groups, start=None):
    return CaseStep(net.train_step(optimizer, groups, start), net.graph, LossSpec())


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
    predict, images = net.predict_step(), a_batch(net).inputs
    assert len(predict.run.merges) == 5
    assert not any(isinstance(cell, BatchNorm) for _, cell in predict.run.run.cells_and_names())
    for seed in (1, 2):
        net.load(random_weights(net.shapes, seed=seed))
        assert relative(predict(images), unfolded(net, images)) < CLOSE


@pytest.mark.parametrize("norm_stats", ["follow", "update", "freeze"])
def test_a_step_changes_what_is_not_frozen_and_nothing_else(net, norm_stats):
    before = net.export()
    for stage in net.arch.stage_names:
        net.load(before)
        groups = groups_from(net, stage, norm_stats)
        step = step_of(net, OptimizerSpec("sgd", momentum=0.9), groups)
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
    loss, logits = step_of(net, OptimizerSpec("sgd"), groups)(batch, [1.0] * len(groups.trainable))()
    after, rng, masks = net.export(), np.random.default_rng(0), batch.batch(net.graph).masks

    def at(distance, direction):
        moved = {name: before[name] + distance * direction.get(name, 0) for name in before}
        found = logits_of(net, moved, batch.inputs, masks)
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
        step = step_of(net, OptimizerSpec(), groups, "layer2" if cached else net.first)
        step(batch, [0.1] * len(groups.trainable))()
        ends.append(net.export())
    assert all(same(ends[0][name], ends[1][name]) for name in ends[0])


def masks_of(net, count):
    """A mask for every node that can have one, each of the shape of what enters it but for one axis."""
    graph, rng = net.graph, np.random.default_rng(3)
    values = evaluate(graph, net.export(), normalised(random_batch(count, 3, graph.size).inputs))
    nodes = [n for n in graph.nodes if n.kind in ("dropout", "stochastic_depth") or n.name == graph.head]
    shapes = {n.name: values[n.inputs[0]].shape for n in nodes}
    shapes = {name: (*shape[:-1], 1) if len(shape) > 2 else shape for name, shape in shapes.items()}
    return {name: (rng.integers(0, 2, shape) / 0.5).astype(np.float32) for name, shape in shapes.items()}


@pytest.mark.parametrize("mode", ["pynative", "graph"])
def test_every_mask_is_multiplied_with_what_enters_its_node(net, mode):
    net = a_net(net.graph, mode)
    groups, case = groups_from(net, net.first, "freeze"), a_batch(net)
    step, masks = net.train_step(OptimizerSpec(), groups), masks_of(net, 4)
    for given in ({}, masks, dict([*masks.items()][:1])) if mode == "pynative" else (masks,):
        wanted = logits_of(net, net.export(), case.inputs, given)
        batch = replace(case.batch(net.graph), masks=given)
        assert relative(step([batch], [0.0] * len(groups.trainable))()[1], wanted) < CLOSE
    assert len(masks) > 0


def test_masks_are_for_nodes_before_the_first_gradient_too():
    """Statistics follow the batch from the cut on, and there a mask changes what they see."""
    graph = residual()
    place = graph.places["layer1.0.conv1"]
    before = graph[graph["layer1.0.conv1"].inputs[0]]
    drop = Node("drop1", "dropout", (before.name,), {"p": 0.5})
    conv = replace(graph.nodes[place], inputs=("drop1",))
    graph = replace(graph, nodes=(*graph.nodes[:place], drop, conv, *graph.nodes[place + 1 :]))
    net = a_net(graph)
    groups, case = groups_from(net, "head", "update"), a_batch(net)
    step, masks = net.train_step(OptimizerSpec(), groups), masks_of(net, 4)
    norms = [node.name for node in graph.nodes if node.kind == "batch_norm"]
    wanted = evaluate(graph, net.export(), normalised(case.inputs), batch_statistics=norms, masks=masks)
    batch = replace(case.batch(graph), masks=masks)
    assert relative(step([batch], [0.0] * len(groups.trainable))()[1], wanted[graph.nodes[-1].name]) < CLOSE


def test_graph_mode_gives_what_pynative_does(net):
    results = []
    for mode in ("pynative", "graph"):
        net = a_net(net.spec.graph, mode)
        groups = groups_from(net, net.first)
        step = step_of(net, OptimizerSpec(), groups)
        results.append(
            [step(a_batch(net), [0.1] * len(groups.trainable))()[1], net.predict_step()(a_batch(net).inputs)]
        )
        results[-1] += net.export().values()
    for a, b in zip(*results, strict=True):
        assert relative(a, b) < CLOSE


def test_a_variable_is_used_again_when_its_value_is_not_needed_any_more():
    """The second block, at rest: a shortcut beside two convolutions and a squeeze-excitation of two branches."""
    graph = residual()
    part, _ = at_rest(graph, part_of(graph, "layer2", "head"))
    wanted = """
def construct(self, x):
    x0 = self.f0(x)
    x0 = self.f1(x0)
    x2 = self.f2(x0)
    x2 = self.f3(x2)
    x2 = self.f4(x2)
    x2 = self.f5(x0, x2)
    x = self.f6(x)
    x = self.f7(x2, x)
    x = self.f8(x)
    x = self.f9(x)
    x = self.f10(x)
    x = self.f11(x)
    return x
"""
    assert source_of(part, (), pictures=False) == wanted.lstrip()


def test_a_graph_with_a_kind_that_the_table_lacks_is_refused_with_the_node_and_the_kinds(monkeypatch):
    monkeypatch.delitem(KINDS, "relu")
    spec = NetworkSpec(residual(), IMAGENET_MEAN, IMAGENET_STD)
    with pytest.raises(
        BackendError, match=r"^kind of node 'relu1' .* 'relu': expected one of [\w, ]+\. Did .*'relu6'\?$"
    ):
        backend_module.MindSporeBackend().build(spec, "cpu")


@pytest.mark.long  # `test_conformance` runs both laws in one process as well, in this order
def test_a_step_that_was_refused_does_not_spoil_later_gradients():
    backend = backend_module.MindSporeBackend()
    one_value_per_channel_is_refused(backend, "cpu", "resnet18")
    gradients_of_kinds_are_right(backend, "cpu", "resnet18")
