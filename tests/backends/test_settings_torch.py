"""What torch is asked for on a GPU: it holds while a network computes, forwards and backwards, and not any longer."""

import os
from dataclasses import replace
from types import SimpleNamespace

import pytest

torch = pytest.importorskip("torch")

from torch.nn import functional  # noqa: E402
from torch_networks import BACKEND, residual, spec_of  # noqa: E402

from xfer.errors import BackendError  # noqa: E402
from xfer.testing.fixtures import require  # noqa: E402
from xfer.testing.kit import prepare  # noqa: E402
from xfer_torch import network, settings  # noqa: E402
from xfer_torch.layers import bins  # noqa: E402

CUDNN = torch.backends.cudnn


BY = "'torch.use_deterministic_algorithms(True)'"
SPEC = spec_of(residual())


def state():
    """All that is set: of products, of convolutions, of cuDNN's choice, and of algorithms."""
    return {
        "matmul": torch.backends.cuda.matmul.fp32_precision,
        "conv": CUDNN.conv.fp32_precision,
        "cudnn": (CUDNN.deterministic, CUDNN.benchmark),
        "algorithms": (
            torch.are_deterministic_algorithms_enabled(),
            torch.is_deterministic_algorithms_warn_only_enabled(),
            torch.utils.deterministic.fill_uninitialized_memory,
        ),
    }


EXACT = {"matmul": "ieee", "conv": "ieee", "cudnn": (True, False), "algorithms": (True, False, False)}


@pytest.fixture
def own():
    """What a program has set by itself: nothing of it is what a network asks for."""
    before = torch.backends.cuda.matmul.fp32_precision, CUDNN.benchmark
    torch.backends.cuda.matmul.fp32_precision, CUDNN.benchmark = "tf32", True
    yield state()
    torch.backends.cuda.matmul.fp32_precision, CUDNN.benchmark = before


def seen_by_a_step(monkeypatch, **asked):
    """What is set, on the CPU, at each convolution of a prediction; and of a step, forwards and backwards."""
    seen, convolve = [], network.FUNCTIONS["conv"]

    def conv(*arguments, **options):
        seen.append(state())
        y = convolve(*arguments, **options)
        if y.requires_grad:
            y.register_hook(lambda gradient: seen.append(state()))
        return y

    monkeypatch.setattr(network, "FUNCTIONS", {**network.FUNCTIONS, "conv": conv})
    monkeypatch.setattr(
        network.Network, "computing", lambda net, training=False: settings.on_gpu(replace(SPEC, **asked), training)
    )
    bench = prepare(BACKEND, "cpu", "convnet")
    bench.predict(bench.batch().inputs)
    predicting, seen = seen, []
    bench.step(bench.groups(*bench.arch.stage_names))(bench.batch(), [0.1])()
    return predicting, seen


@pytest.mark.parametrize("precision", ["float32", "tf32", "bfloat16"])
def test_a_step_computes_by_what_its_network_asks_for(own, monkeypatch, precision):
    predicting, training = seen_by_a_step(monkeypatch, precision=precision)
    rounding = "tf32" if precision == "tf32" else "ieee"
    wanted = EXACT | {"matmul": rounding, "conv": rounding}
    assert len(training) == 2 * len(predicting) > 2
    assert all(found == wanted for found in training)
    assert all(found == wanted | {"algorithms": own["algorithms"]} for found in predicting)
    assert state() == own


def test_fast_lets_cudnn_choose_and_asks_for_no_algorithms(monkeypatch):
    before = state()
    for seen in seen_by_a_step(monkeypatch, fast=True):
        assert all(found == before | {"matmul": "ieee", "conv": "ieee", "cudnn": (False, True)} for found in seen)
    assert state() == before


def test_an_error_leaves_the_settings_of_the_program(own):
    with pytest.raises(KeyError), settings.on_gpu(SPEC, training=True):
        raise KeyError
    assert state() == own


def test_what_has_no_order_of_its_own_is_refused_with_the_cure():
    words = r"^torch cannot compute x_cuda with the same bits.*Cure: train.fast = true$"
    with pytest.raises(BackendError, match=words), settings.on_gpu(SPEC, training=True):
        raise RuntimeError(f"x_cuda does not have a deterministic implementation, but you set {BY}")
    words = rf"^this process used cuBLAS before xfer.*Cure: {settings.WORKSPACE}=:4096:8 .* or train.fast = true$"
    with pytest.raises(BackendError, match=words), settings.on_gpu(SPEC, training=True):
        raise RuntimeError(f"Deterministic behavior was enabled with {BY}, and cuBLAS\nneeds {settings.WORKSPACE}")
    with pytest.raises(RuntimeError, match=r"^out of memory$"), settings.on_gpu(SPEC, training=True):
        raise RuntimeError("out of memory")


def test_on_the_cpu_nothing_is_set(own, monkeypatch):
    monkeypatch.setattr(network, "on_gpu", None)
    bench = prepare(BACKEND, "cpu", "convnet")
    bench.step(bench.groups("head"))(bench.batch(), [0.1])()
    assert state() == own


@pytest.mark.parametrize(
    ("device", "capability", "hip", "wanted"),
    [
        ("cpu", (9, 0), None, ("float32", "bfloat16")),
        ("cuda:0", (9, 0), None, ("float32", "tf32", "bfloat16", "float16")),
        ("cuda:1", (8, 0), None, ("float32", "tf32", "bfloat16", "float16")),
        ("cuda:0", (7, 5), None, ("float32", "bfloat16", "float16")),
        ("cuda:0", (9, 4), "6.4", ("float32", "bfloat16", "float16")),
    ],
)
def test_tf32_is_what_gpus_from_ampere_on_have(monkeypatch, device, capability, hip, wanted):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda name: capability)
    monkeypatch.setattr(torch.version, "hip", hip)
    assert BACKEND.precisions(device) == wanted


def test_a_precision_that_a_device_lacks_is_not_built():
    with pytest.raises(BackendError, match=r"precision on cpu of backend 'torch' = 'tf32': .*float32, bfloat16"):
        BACKEND.build(replace(SPEC, precision="tf32"), "cpu")


@pytest.mark.parametrize("precision", ["float32", "tf32"])
def test_of_torch_before_2_9_it_is_asked_by_the_older_names(monkeypatch, precision):
    places = SimpleNamespace(allow_tf32=True), SimpleNamespace(allow_tf32=False)
    monkeypatch.setattr(settings, "ROUNDING", settings.Rounding(places, "allow_tf32", False, True))
    with settings.on_gpu(replace(SPEC, precision=precision), training=False):
        assert [place.allow_tf32 for place in places] == 2 * [precision == "tf32"]
    assert [place.allow_tf32 for place in places] == [True, False]


@pytest.mark.parametrize(("own", "wanted"), [(None, ":4096:8"), (":16:8", ":16:8")])
def test_the_workspace_of_cublas_is_set_unless_it_is(monkeypatch, own, wanted):
    monkeypatch.setattr(os, "environ", {} if own is None else {settings.WORKSPACE: own})
    settings.before_cublas()
    assert os.environ == {settings.WORKSPACE: wanted}


@pytest.mark.parametrize("count", [1, 2, 3, 6, 7, 9])
@pytest.mark.parametrize("axis", [2, 3])
def test_means_of_parts_are_those_of_torch(count, axis):
    x = torch.randn(2, 3, 7, 13, generator=torch.Generator().manual_seed(count))
    size = (count, 13) if axis == 2 else (7, count)
    torch.testing.assert_close(bins(x, axis, count), functional.adaptive_avg_pool2d(x, size), rtol=1e-6, atol=1e-6)


def test_on_a_gpu_tf32_is_rougher_than_float32_and_no_more():
    _, device = require("torch", "cuda")
    exact = prepare(BACKEND, device, "resnet18")
    if "tf32" not in BACKEND.precisions(device):
        pytest.skip(f"{device} has no TensorFloat-32")
    rough = prepare(BACKEND, device, "resnet18", spec=replace(exact.spec, precision="tf32"))
    inputs = exact.batch(16).inputs
    wanted = exact.predict(inputs)
    off = abs(rough.predict(inputs) - wanted).max() / abs(wanted).max()
    assert 1e-6 < off < 0.01
    assert (exact.predict(inputs) == wanted).all()
