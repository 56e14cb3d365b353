"""What the MindSpore adapter promises beyond the laws of a backend."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

backend_module = pytest.importorskip("xfer_mindspore")  # before MindSpore: it sets what that reads at its import

from mindspore import Tensor, ops  # noqa: E402
from mindspore.graph.api import ms_compile_cache  # noqa: E402

from xfer.archs import LOGITS  # noqa: E402
from xfer.backend import Batch, LossSpec, ModelSpec, OptimizerSpec  # noqa: E402
from xfer.nets.catalogue import ARCHS  # noqa: E402
from xfer.nets.freeze import FreezePolicy, resolve  # noqa: E402
from xfer.testing.kit import random_weights  # noqa: E402
from xfer_mindspore.layers import BatchNorm, Scope  # noqa: E402
from xfer_mindspore.network import Network  # noqa: E402

SIZE = 48


def made(arch="resnet18", mode="pynative"):
    backend = backend_module.MindSporeBackend(mode)
    model = backend.build(ModelSpec(arch, 3, (SIZE, SIZE), ARCHS[arch].mean, ARCHS[arch].std), "cpu")
    shapes = {name: w.shape for name, w in backend.export_weights(model).items()}
    backend.import_weights(model, random_weights(shapes, seed=1))
    return backend, model


def train_step(backend, model, train_from, start="stem", norm_stats="follow", loss=None):
    arch = ARCHS[model.spec.arch]
    groups = resolve(FreezePolicy(train_from, norm_stats), arch, list(model.parameters))
    step = backend.make_train_step(model, OptimizerSpec("sgd", momentum=0.9), loss or LossSpec(), groups, start)
    return lambda batch, lr=0.01: step(batch, [lr] * len(groups.trainable))()


def images(count, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (count, SIZE, SIZE, 3), np.uint8)


def labels(count):
    return np.arange(count) % 3


def relative(a, b):
    return np.abs(a - b).max() / np.abs(b).max()


def unfolded(model, inputs, stop):
    return Network(Scope(model.parameters), model.spec, "stem", stop)(Tensor(inputs)).asnumpy()


@pytest.mark.parametrize("arch", ["resnet18", "resnet50", "efficientnet_lite0"])
def test_merging_changes_no_activation_by_more_than_rounding(arch):
    backend, model = made(arch)
    predict = backend.make_predict_step(model, "stem", "layer1")
    assert relative(predict(images(3)), unfolded(model, images(3), "layer1")) < 1e-6
    norms = [c for _, c in predict.run.network.cells_and_names() if isinstance(c, BatchNorm)]
    assert not norms


@pytest.mark.parametrize("mode", ["pynative", "graph"])
def test_a_prediction_follows_every_kind_of_change(mode):
    backend, model = made(mode=mode)
    predict, seen = backend.make_predict_step(model, "stem", "head"), []

    def check():
        seen.append(predict(images(2)))
        assert relative(seen[-1], unfolded(model, images(2), "head")) < 1e-5

    check()
    train_step(backend, model, "layer4")(Batch(images(4), labels(4)))
    check()
    train_step(backend, model, "head", norm_stats="update")(Batch(images(4), labels(4)))  # running statistics alone
    check()
    backend.import_weights(model, random_weights({n: p.shape for n, p in model.parameters.items()}, seed=2))
    check()
    assert all(relative(a, b) > 1e-4 for a, b in pairwise(seen))


def test_only_what_changed_is_merged_anew(monkeypatch):
    backend, model = made()
    predict = backend.make_predict_step(model, "stem", "head")
    predict(images(2))
    train_step(backend, model, "layer4")(Batch(images(4), labels(4)))
    assigned = []
    monkeypatch.setattr(ops, "assign", lambda parameter, value: assigned.append(parameter.name))
    predict(images(2))
    assert assigned
    assert all(name.startswith("layer4.") for name in assigned)
    count = len(assigned)
    predict(images(2))
    assert len(assigned) == count


def test_a_new_rate_is_used_and_an_old_one_used_again():
    backend, model = made("convnet")
    step, head = train_step(backend, model, "head", "head"), model.parameters["fc.weight"]
    batch = Batch(np.random.default_rng(0).normal(0, 1, (4, 512)).astype(np.float32), labels(4))
    seen = [head.asnumpy().copy()]
    for rate in (0.1, 0.0, 0.0, 0.1):
        step(batch, rate)
        seen.append(head.asnumpy().copy())
    assert [not np.array_equal(a, b) for a, b in pairwise(seen)] == [True, False, False, True]


@pytest.mark.parametrize("mode", ["pynative", "graph"])
def test_a_step_from_pictures_is_the_step_from_cached_features(mode):
    ends = []
    for start in ("stem", "layer4"):
        backend, model = made(mode=mode)
        step, batches = train_step(backend, model, "layer4", start), [images(4, seed) for seed in range(3)]
        if start == "layer4":
            batches = [backend.make_predict_step(model, "stem", "layer4")(inputs) for inputs in batches]
        for inputs in batches:
            step(Batch(inputs, labels(4)))
        ends.append(backend.export_weights(model))
    for name in ends[0]:
        np.testing.assert_array_equal(ends[0][name], ends[1][name], err_msg=name)


@pytest.mark.parametrize("train_from", ["head", "layer4"])
def test_a_graph_is_compiled_once_whatever_the_batches(train_from):
    results = {}
    for mode in ("pynative", "graph"):
        backend, model = made(mode=mode)
        predict = backend.make_predict_step(model, "stem", LOGITS)
        step, losses, logits, before = train_step(backend, model, train_from), [], [], len(ms_compile_cache)
        for number, count in enumerate((4, 4, 6, 3, 4, 2)):
            batch = Batch(images(count, number), labels(count))
            losses.append(step(batch, 0.01 / (1 + number))[0])
            logits.append(predict(batch.inputs))
        results[mode] = losses, logits
        # The prefix, the step, and the prediction.
        assert len(ms_compile_cache) - before == (3 if mode == "graph" else 0)
    np.testing.assert_allclose(results["graph"][0], results["pynative"][0], rtol=1e-4)
    for a, b in zip(results["graph"][1], results["pynative"][1], strict=True):
        assert relative(a, b) < 1e-3


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("weights", [None, (1.0, 0.5, 2.0), (1.0, 0.0, 1.0)])
def test_the_fused_loss_is_the_formula(smoothing, weights):
    backend, model = made("convnet")
    spec = LossSpec(smoothing, weights)
    inputs = np.random.default_rng(0).normal(0, 30, (5, 512)).astype(np.float32)
    loss, logits = train_step(backend, model, "head", "head", loss=spec)(Batch(inputs, labels(5)), 0.0)
    shifted = logits.astype(np.float64) - logits.max(axis=1, keepdims=True)
    log = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    each = np.ones(3) if weights is None else np.array(weights)
    targets = (1 - smoothing) * np.eye(3)[labels(5)] + smoothing / 3
    assert loss == pytest.approx(-(targets * each * log).sum() / each[labels(5)].sum(), rel=1e-5)
