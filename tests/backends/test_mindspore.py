"""What the MindSpore adapter promises beyond the laws of a backend."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

backend_module = pytest.importorskip("xfer_mindspore")  # before MindSpore: it sets what that reads at its import

from mindspore import Tensor, ops  # noqa: E402
from mindspore.graph.api import ms_compile_cache  # noqa: E402

from xfer.archs import IMAGENET_MEAN, IMAGENET_STD  # noqa: E402
from xfer.backend import OptimizerSpec  # noqa: E402
from xfer.graphs.parts import part_of  # noqa: E402
from xfer.losses import LossSpec  # noqa: E402
from xfer.nets.freeze import FreezePolicy, resolve  # noqa: E402
from xfer.nets.specs import ModelSpec  # noqa: E402
from xfer.testing.case import Case  # noqa: E402
from xfer.testing.kit import prepare, random_weights  # noqa: E402
from xfer_mindspore.layers import BatchNorm  # noqa: E402
from xfer_mindspore.network import network_of  # noqa: E402

SIZE = 48


def made(arch="resnet18", mode="pynative"):
    spec = ModelSpec(arch, 3, (SIZE, SIZE), IMAGENET_MEAN, IMAGENET_STD)
    return prepare(backend_module.MindSporeBackend(mode), "cpu", arch, seed=1, spec=spec)


def train_step(net, train_from, start="stem", norm_stats="follow", loss=None):
    groups = resolve(FreezePolicy(train_from, norm_stats), net.arch, list(net.weights))
    step = net.step(groups, OptimizerSpec("sgd", momentum=0.9), loss, start)
    return lambda case, lr=0.01: step(case, [lr] * len(groups.trainable))()


def images(count, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (count, SIZE, SIZE, 3), np.uint8)


def labels(count):
    return np.arange(count) % 3


def relative(a, b):
    return np.abs(a - b).max() / np.abs(b).max()


def unfolded(net, inputs, stop):
    network = network_of(net.model, part_of(net.graph, "stem", stop), net.model.parameters)
    return network(Tensor(inputs)).asnumpy()


@pytest.mark.parametrize("arch", ["resnet18", "resnet50", "efficientnet_lite0"])
def test_merging_changes_no_activation_by_more_than_rounding(arch):
    net = made(arch)
    predict = net.predict_step("stem", "layer1")
    assert relative(predict(images(3)), unfolded(net, images(3), "layer1")) < 1e-6
    norms = [c for _, c in predict.run.run.cells_and_names() if isinstance(c, BatchNorm)]
    assert not norms


@pytest.mark.parametrize("mode", ["pynative", "graph"])
def test_a_prediction_follows_every_kind_of_change(mode):
    net, seen = made(mode=mode), []
    predict = net.predict_step("stem", "head")

    def check():
        seen.append(predict(images(2)))
        assert relative(seen[-1], unfolded(net, images(2), "head")) < 1e-5

    check()
    train_step(net, "layer4")(Case(images(4), labels(4)))
    check()
    train_step(net, "head", norm_stats="update")(Case(images(4), labels(4)))  # running statistics alone
    check()
    net.load(random_weights(net.shapes, seed=2))
    check()
    assert all(relative(a, b) > 1e-4 for a, b in pairwise(seen))


def test_only_what_changed_is_merged_anew(monkeypatch):
    net = made()
    predict = net.predict_step("stem", "head")
    predict(images(2))
    train_step(net, "layer4")(Case(images(4), labels(4)))
    assigned = []
    monkeypatch.setattr(ops, "assign", lambda parameter, value: assigned.append(parameter.name))
    predict(images(2))
    assert assigned
    assert all(name.startswith("layer4.") for name in assigned)
    count = len(assigned)
    predict(images(2))
    assert len(assigned) == count


def test_a_new_rate_is_used_and_an_old_one_used_again():
    net = made("convnet")
    step, head = train_step(net, "head", "head"), net.model.parameters["fc.weight"]
    case = Case(np.random.default_rng(0).normal(0, 1, (4, 512)).astype(np.float32), labels(4))
    seen = [head.asnumpy().copy()]
    for rate in (0.1, 0.0, 0.0, 0.1):
        step(case, rate)
        seen.append(head.asnumpy().copy())
    assert [not np.array_equal(a, b) for a, b in pairwise(seen)] == [True, False, False, True]


@pytest.mark.parametrize("mode", ["pynative", "graph"])
def test_a_step_from_pictures_is_the_step_from_cached_features(mode):
    ends = []
    for start in ("stem", "layer4"):
        net = made(mode=mode)
        step, batches = train_step(net, "layer4", start), [images(4, seed) for seed in range(3)]
        if start == "layer4":
            batches = [net.predict(inputs, "stem", "layer4") for inputs in batches]
        for inputs in batches:
            step(Case(inputs, labels(4)))
        ends.append(net.export())
    for name in ends[0]:
        np.testing.assert_array_equal(ends[0][name], ends[1][name], err_msg=name)


@pytest.mark.parametrize("train_from", ["head", pytest.param("layer4", marks=pytest.mark.long)])
def test_a_graph_is_compiled_once_for_each_size_and_gives_what_pynative_does(train_from):
    results, sizes = {}, (4, 4, 6, 4, 6)
    for mode in ("pynative", "graph"):
        net = made(mode=mode)
        step, predict, before = train_step(net, train_from), net.predict_step(), len(ms_compile_cache)
        losses, logits = [], []
        for number, count in enumerate(sizes):
            case = Case(images(count, number), labels(count))
            losses.append(step(case, 0.01 / (1 + number))[0])
            logits.append(predict(case.inputs))
        results[mode] = losses, logits
        # The prefix, the gradients, and the prediction.
        assert len(ms_compile_cache) - before == (3 * len(set(sizes)) if mode == "graph" else 0)
    np.testing.assert_allclose(results["graph"][0], results["pynative"][0], rtol=1e-4)
    for a, b in zip(results["graph"][1], results["pynative"][1], strict=True):
        assert relative(a, b) < 1e-3


def test_on_the_cpu_the_gradients_of_large_batches_alone_are_a_graph(monkeypatch):
    graph = made("convnet").graph
    work = 3 * SIZE * SIZE * (len(graph.nodes) - 1)  # of one picture; the first node is the picture itself
    monkeypatch.setattr(backend_module.backend, "LONG", 4 * work)
    net = made("convnet", "auto")
    step, before = train_step(net, "stem"), len(ms_compile_cache)
    for count, compiled in ((3, 0), (4, 1), (4, 1), (3, 1), (5, 2)):
        step(Case(images(count), labels(count)))
        net.predict(images(count))
        assert len(ms_compile_cache) - before == compiled


@pytest.mark.parametrize("mode", ["pynative", "graph"])
def test_parts_of_a_batch_are_one_step(mode):
    """Without statistics of the batch it is the step of the whole, but for rounding."""
    ends, case = [], Case(images(5), labels(5))
    for cuts in ([], [2, 4]):
        net = made("convnet", mode)
        groups = resolve(FreezePolicy("layer2"), net.arch, list(net.weights))
        step = net.train_step(OptimizerSpec("sgd", momentum=0.9), groups)
        whole = case.batch(net.graph)
        rows = [slice(*ends_of) for ends_of in pairwise([0, *cuts, 5])]
        parts = [replace(whole, **{n: getattr(whole, n)[at] for n in ("inputs", "targets", "factors")}) for at in rows]
        results = [step(parts, [0.1] * len(groups.trainable)) for _ in range(2)]
        assert int(step.export_state()["step"]) == 2
        ends.append((*[result() for result in results], net.export()))
    for (loss, logits), (of_parts, logits_of_parts) in zip(ends[0][:2], ends[1][:2], strict=True):
        assert of_parts == pytest.approx(loss, rel=1e-5)
        assert relative(logits_of_parts, logits) < 1e-5
    for name, weight in ends[0][2].items():
        assert relative(ends[1][2][name], weight) < 1e-5, name


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("weights", [None, (1.0, 0.5, 2.0), (1.0, 0.0, 1.0)])
def test_the_fused_loss_is_the_formula(smoothing, weights):
    net, spec = made("convnet"), LossSpec(smoothing, weights)
    inputs = np.random.default_rng(0).normal(0, 30, (5, 512)).astype(np.float32)
    loss, logits = train_step(net, "head", "head", loss=spec)(Case(inputs, labels(5)), 0.0)
    shifted = logits.astype(np.float64) - logits.max(axis=1, keepdims=True)
    log = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    each = np.ones(3) if weights is None else np.array(weights)
    targets = (1 - smoothing) * np.eye(3)[labels(5)] + smoothing / 3
    assert loss == pytest.approx(-(targets * each * log).sum() / each[labels(5)].sum(), rel=1e-5)


@pytest.mark.parametrize("mode", ["pynative", "graph"])
def test_the_loss_of_several_labels_is_the_formula_and_so_is_its_gradient(mode):
    net = made("convnet", mode)
    groups = net.groups("head")
    inputs = np.random.default_rng(0).normal(0, 30, (5, 512)).astype(np.float32)
    batch = Case(inputs, labels(5)).batch(net.graph)
    batch = replace(batch, targets=np.array([[1, 0, 1], [0, 0, 0], [1, 1, 1], [0, 0.5, 1], [0.2, 0, 0]], np.float32))
    batch = replace(batch, factors=np.array([0.1, 0.2, 0.0, 0.3, 0.4], np.float32))
    step = net.train_step(OptimizerSpec(), groups, "head", loss="sigmoid")
    loss, logits = step([batch], [1.0])()
    z = logits.astype(np.float64)
    each = np.logaddexp(0, z) - batch.targets * z  # -(t * log(s(z)) + (1 - t) * log(1 - s(z)))
    assert np.abs(z).max() > 30, "this test needs logits at which exp(z) is far from 1"
    assert loss == pytest.approx((each.sum(1) * batch.factors).sum(), rel=1e-5)
    slope = (1 / (1 + np.exp(-z)) - batch.targets) * batch.factors[:, None]
    moved = net.weights["fc.bias"].astype(np.float64) - net.export()["fc.bias"]
    np.testing.assert_allclose(moved, slope.sum(0), atol=1e-6)


@pytest.mark.parametrize("fast", [False, True])
def test_the_same_bits_are_asked_for_before_a_device_is_bound_and_once(monkeypatch, fast):
    asked, module = [], backend_module.backend

    def once(value):
        if ("deterministic", value) in asked:
            raise RuntimeError("The 'mindspore.set_deterministic' can not be set repeatedly.")
        asked.append(("deterministic", value))

    monkeypatch.setattr(module.ms, "set_deterministic", once)
    monkeypatch.setattr(module.ms, "get_current_device", lambda: ("CPU", 0))
    monkeypatch.setattr(module.ms, "set_device", lambda *device: asked.append(device))
    for _ in range(2):
        module._bind("npu:0", fast)
    assert asked == [*([] if fast else [("deterministic", True)]), ("Ascend", 0), ("Ascend", 0)]


def test_on_the_cpu_nothing_is_asked_for(monkeypatch):
    monkeypatch.setattr(backend_module.backend.ms, "set_deterministic", None)
    made("convnet")
