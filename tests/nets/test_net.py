"""What a network on a device knows of itself."""

import pytest

from xfer.nets.net import Net
from xfer.nets.specs import ModelSpec, with_graph
from xfer.testing.numpy_backend import NumpyBackend


def resnet(size, device):
    spec = with_graph(ModelSpec("resnet18", 3, (size, size), (0.5,) * 3, (0.25,) * 3), NumpyBackend())
    return Net(NumpyBackend(), device, spec, spec.described, model=None)


@pytest.mark.parametrize(
    ("size", "together"),
    [
        (112, 256),
        (224, 167),  # 64 x 112 x 112 float32 that a layer takes, and as many that it gives: 6.4 MB of 1,074
        (448, 41),
        (896, 32),  # 10 would fill it: never fewer than on a CPU
    ],
)
def test_inference_fills_a_device_that_is_no_cpu(size, together):
    assert resnet(size, "cuda:0").predict_batch() == together


def test_on_a_cpu_more_gain_nothing():
    assert resnet(112, "cpu").predict_batch() == 32
    assert resnet(112, "cpu").predict_batch(on_cpu=7) == 7
