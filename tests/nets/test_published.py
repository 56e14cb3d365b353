"""Weights that others have published for the networks that are data: which are taken, and under which names."""

import json

import numpy as np
import pytest

from xfer.errors import WeightsError
from xfer.formats.files import write_weights
from xfer.graphs import packaged
from xfer.nets import pretrained
from xfer.nets.pretrained import of_network, resolve_source


def test_auxiliary_heads_are_left_out():
    held = dict.fromkeys(("conv1.conv.weight", "aux1.fc1.weight", "aux2.fc2.bias", "fc.weight"), np.zeros(1))
    assert list(of_network(held, "googlenet")) == ["conv1.conv.weight", "fc.weight"]
    assert list(of_network({"AuxLogits.fc.weight": np.zeros(1), "fc.bias": np.zeros(1)}, "inception_v3")) == ["fc.bias"]
    assert list(of_network(held, "mobilenet_v2")) == list(held)


def test_a_head_without_a_bias_gets_one_of_zeros():
    held = {"classifier.3.weight": np.ones((4, 4)), "classifier.5.weight": np.ones((3, 4))}
    found = of_network(held, "maxvit_t")
    assert set(found) - set(held) == {"classifier.5.bias"}
    assert found["classifier.5.bias"].tolist() == [0, 0, 0]
    assert "classifier.5.bias" in packaged.load("maxvit_t").weights
    own = held | {"classifier.5.bias": np.ones(3)}
    assert of_network(own, "maxvit_t")["classifier.5.bias"].tolist() == [1, 1, 1]


def test_names_of_old_files_are_those_of_the_network():
    old = "features.denseblock2.denselayer11.norm.2.running_mean"
    new = "features.denseblock2.denselayer11.norm2.running_mean"
    assert list(of_network({old: np.zeros(1)}, "densenet121")) == [new]
    assert new in packaged.load("densenet121").weights
    assert list(of_network({new: np.zeros(1)}, "densenet121")) == [new]


@pytest.mark.parametrize(
    ("arch", "file"),
    [
        ("mobilenet_v2", "mobilenet_v2-b0353104.pth"),  # the first, as for the ResNets
        ("vit_b_16", "vit_b_16-c867db91.pth"),  # and none for pictures of 384 pixels
        ("regnet_y_16gf", "regnet_y_16gf-9e6ed7dd.pth"),
        ("vit_h_14", "vit_h_14_lc_swag-c1eb923e.pth"),  # there are none without a licence of their own
    ],
)
def test_which_weights_are_meant_by_imagenet(arch, file, tmp_path, monkeypatch):
    def download(url, target, **of):
        asked.append((url, of["sha256"]))
        write_weights(target, {"a.weight": np.ones(2, np.float32)}, {})
        return iter(())

    asked = []
    monkeypatch.setattr(pretrained, "download", download)
    weights, metadata = resolve_source("imagenet", arch, tmp_path)
    assert asked == [(f"https://download.pytorch.org/models/{file}", file[-12:-4])]
    assert list(weights) == ["a.weight"]
    assert metadata["source"] == asked[0][0]
    assert json.loads(metadata["mean"]) == [0.485, 0.456, 0.406]


def test_pictures_are_normalised_as_the_weights_want_them(tmp_path, monkeypatch):
    def download(url, target, **of):
        write_weights(target, {"a.weight": np.ones(2, np.float32)}, {})
        return iter(())

    monkeypatch.setattr(pretrained, "download", download)
    _, metadata = resolve_source("imagenet", "inception_v3", tmp_path)
    normalize = pretrained.normalize_of(metadata, "imagenet")
    assert (normalize.mean, normalize.std) == ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))


def test_a_network_without_published_weights(tmp_path):
    with pytest.raises(WeightsError, match=r'there are none for convnet\. Cure: weights\.source = "random"'):
        resolve_source("imagenet", "convnet", tmp_path)
