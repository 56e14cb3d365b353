"""What makes torch fast changes no result: merged normalisations follow the weights, and bfloat16 stays inside."""

import ctypes
from itertools import pairwise

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")

from xfer.archs import IMAGENET_MEAN, IMAGENET_STD, LOGITS  # noqa: E402
from xfer.backend import Batch, OptimizerSpec  # noqa: E402
from xfer.errors import BackendError  # noqa: E402
from xfer.graphs.parts import part_of  # noqa: E402
from xfer.losses import LossSpec, targets_of  # noqa: E402
from xfer.nets.freeze import FreezePolicy, resolve  # noqa: E402
from xfer.nets.net import build_net  # noqa: E402
from xfer.nets.specs import ModelSpec  # noqa: E402
from xfer.recipe.load import as_recipe  # noqa: E402
from xfer.testing.kit import random_weights  # noqa: E402
from xfer.testing.numpy_backend import NumpyBackend  # noqa: E402
from xfer.testing.pictures import write_class_folders  # noqa: E402
from xfer.training.run import prepare  # noqa: E402
from xfer_torch import TorchBackend  # noqa: E402
from xfer_torch.backend import _keep_freed_memory  # noqa: E402
from xfer_torch.network import Program, Resting, _run  # noqa: E402

SIZE, BACKEND = 64, TorchBackend()
PLAIN = (IMAGENET_MEAN, IMAGENET_STD)
NETWORKS = ["resnet18", "resnet50", "efficientnet_lite0"]


def network(arch, precision="float32"):
    net = build_net(BACKEND, "cpu", ModelSpec(arch, 3, (SIZE, SIZE), *PLAIN, precision=precision))
    net.load(random_weights(net.shapes, seed=1))
    return net


def images(count=6, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (count, SIZE, SIZE, 3), np.uint8)


MOMENTUM = OptimizerSpec("sgd", momentum=0.9)


def train_step(net, train_from, start="stem", rule=MOMENTUM, norm_stats="follow"):
    return net.train_step(rule, resolve(FreezePolicy(train_from, norm_stats), net.arch, list(net.shapes)), start)


def batch(inputs):
    return [Batch(inputs, *targets_of(LossSpec(), np.arange(len(inputs)) % 3, 3))]


@pytest.mark.parametrize("arch", NETWORKS)
def test_every_normalisation_is_merged(arch):
    net = network(arch)
    resting = Resting(net.model, "stem", LOGITS)
    norms = [node for node in net.graph.nodes if node.kind == "batch_norm"]
    assert len(resting.merges) == len(norms) > 0
    assert not [node.name for node in resting.program.part.nodes if node.kind == "batch_norm"]
    weight, _ = net.arch.head_names
    assert resting.program.head[-1].run.keywords["weight"] is net.model.tensors[weight]


@pytest.mark.parametrize("arch", NETWORKS)
def test_merging_costs_no_precision(arch):
    """Merged or not, a part is equally far from the same part in float64."""
    net, inputs = network(arch), torch.from_numpy(images())
    model = net.model
    exact = {name: tensor.detach().double() for name, tensor in model.tensors.items()}
    x = torch.addcmul(model.shift.double(), inputs.permute(0, 3, 1, 2).double(), model.scale.double())
    with torch.no_grad():
        for start, stop in pairwise(net.boundaries):
            stage = Program(model.spec, part_of(net.graph, start, stop), exact)
            values = {stage.part.source: x}
            _run([*stage.body, *stage.head], values, {})
            x = values[stage.result]
            part = part_of(net.graph, "stem", stop)
            program = Program(model.spec, part, model.tensors)
            outputs = Resting(model, "stem", stop)(inputs), program(model.entering(inputs, part))
            merged, apart = (float((value - x).norm() / x.norm()) for value in outputs)
            assert merged < 1.5 * apart + 1e-7, stop


@pytest.mark.parametrize("kind", ["sgd", "adam", "adamw"])
@pytest.mark.parametrize("arch", ["resnet18", "efficientnet_lite0"])
def test_a_predict_step_made_before_training_serves_after_each_step(arch, kind):
    model = network(arch)
    early = model.predict_step()
    step, last = train_step(model, "layer4", rule=OptimizerSpec(kind)), early(images())
    for number in range(2):
        step(batch(images(seed=number)), [0.01])()
        assert not np.array_equal(early(images()), last)
        last = early(images())
        assert np.array_equal(last, model.predict_step()(images()))


def test_a_predict_step_sees_new_running_statistics_where_no_weight_moved():
    model = network("resnet18")
    early = model.predict_step()
    before = early(images())
    train_step(model, "head", norm_stats="update")(batch(images(seed=1)), [0.0])()
    assert not np.array_equal(early(images()), before)
    assert np.array_equal(early(images()), model.predict_step()(images()))


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize(
    ("arch", "cut"),
    [
        ("resnet18", "layer4"),
        pytest.param("resnet50", "layer3", marks=pytest.mark.long),
        ("efficientnet_lite0", "head"),
    ],
)
def test_pictures_and_kept_features_train_to_the_same_bits(arch, cut, precision):
    on_features, on_pictures = network(arch, precision), network(arch, precision)
    features = on_features.predict_step(stop=cut)(images(12))  # kept from larger batches than it trains on
    assert features.dtype == np.float32
    steps = train_step(on_features, cut, start=cut), train_step(on_pictures, cut)
    for part in (slice(0, 6), slice(6, 12)):
        losses = steps[0](batch(features[part]), [0.01])(), steps[1](batch(images(12)[part]), [0.01])()
        assert losses[0][0] == losses[1][0]
        assert np.array_equal(losses[0][1], losses[1][1])
    a, b = on_features.export(), on_pictures.export()
    assert all(np.array_equal(a[name], b[name]) for name in a)


def test_bfloat16_is_rougher_and_its_weights_and_logits_are_float32():
    exact, rough = (network("resnet18", p).predict_step()(images()) for p in ("float32", "bfloat16"))
    assert rough.dtype == np.float32
    assert 1e-4 < np.abs(rough - exact).max() / np.abs(exact).max() < 0.05
    model = network("resnet18", "bfloat16")
    before = model.export()
    loss, logits = train_step(model, "stem")(batch(images()), [0.001])()
    assert np.isfinite(loss)
    assert logits.dtype == np.float32
    assert len(np.unique(logits.view(np.uint32) & 0xFFFF)) > 1, "the logits were rounded to bfloat16"
    after = model.export()
    assert all(tensor.dtype == torch.float32 for tensor in model.model.tensors.values())
    # A change below bfloat16's resolution of the weight is kept.
    assert all(not np.array_equal(before[name], after[name]) for name in before)


def test_a_recipe_chooses_the_precision(tmp_path):
    data = write_class_folders(tmp_path / "pictures", ("ants", "bees"), (4, 2), (SIZE, SIZE))
    network = {"arch": "resnet18", "weights": "random", "size": SIZE, "train.precision": "bfloat16"}
    assert prepare(as_recipe(None, {"data": str(data)} | network), BACKEND, "cpu").net.spec.precision == "bfloat16"


def test_a_backend_without_the_precision_says_so():
    with pytest.raises(BackendError, match=r"'bfloat16'.*float32"):
        build_net(NumpyBackend(), "cpu", ModelSpec("tiny", 2, (32, 32), *PLAIN, precision="bfloat16"))


@pytest.mark.parametrize("chosen", [True, False])
def test_malloc_is_left_alone_where_the_environment_has_chosen(monkeypatch, chosen):
    calls = []

    class Libc:
        @staticmethod
        def mallopt(key, value):
            calls.append(key)

    for name in ("MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_", "LD_PRELOAD"):
        monkeypatch.delenv(name, raising=False)
    if chosen:
        monkeypatch.setenv("MALLOC_TRIM_THRESHOLD_", "1")
    monkeypatch.setattr(ctypes, "CDLL", lambda name: Libc)
    monkeypatch.setattr("sys.platform", "linux")
    _keep_freed_memory()
    assert bool(calls) != chosen
