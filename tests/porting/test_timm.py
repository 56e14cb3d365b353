"""timm's own networks, traced by torch and held against timm's modules. What needs no timm is in test_library.py."""

import dataclasses
import sys
from importlib import import_module
from importlib.util import find_spec
from types import SimpleNamespace

import numpy as np
import pytest

import xfer.nets.library as library
from xfer.archs import LOGITS
from xfer.backend import NetworkSpec
from xfer.errors import AbsentError, ConfigError, WeightsError
from xfer.formats.files import read_weights, write_weights
from xfer.graphs.stages import arch_of
from xfer.nets.library_process import write_traced
from xfer.nets.network_file import read_network
from xfer.testing.fixtures import require

WITH_TIMM = pytest.mark.skipif(find_spec("timm") is None, reason="needs timm: pip install 'xfer-vision[timm]'")


@pytest.fixture(scope="module")
def torch_backend():
    return require("torch")[0]


class Small:
    """timm's networks, for pictures of a size that tests have time for."""

    def __init__(self, backend, size):
        self.backend, self.size = backend, size

    def __getattr__(self, name):
        return getattr(self.backend, name)

    def library_module(self, name, pretrained):
        return dataclasses.replace(self.backend.library_module(name, pretrained), size=self.size)


def traced(backend, tmp_path, name, size=(64, 64)):
    """The network as it is traced and proved, and what the library said of it."""
    file = tmp_path / f"{name}.safetensors"
    write_traced(Small(backend, size), name, file, pretrained=False)
    assert read_weights(file)[0] == {}, "the network alone: no weights were asked for"
    return read_network(str(file)), read_weights(file)[1]


@WITH_TIMM
@pytest.mark.parametrize(
    ("name", "holds"),
    [
        ("resnet10t", lambda node: node.name == "layer4.0.conv2"),
        ("regnety_002", lambda node: (node.name, node.kind) == ("stem.bn", "batch_norm")),
        ("tf_efficientnet_lite0", lambda node: node.attributes.get("padding") == "same"),
        ("convnext_atto", lambda node: node.kind == "layer_norm"),
    ],
)
def test_networks_of_timm_are_graphs_of_the_same_logits(torch_backend, tmp_path, name, holds):
    network, metadata = traced(torch_backend, tmp_path, name)
    assert metadata["traced_by"] == "torch.fx"
    assert any(holds(node) for node in network.graph.nodes)
    assert metadata["architecture"] == name.partition(".")[0]
    assert metadata["hf_hub_id"].startswith(f"timm/{name}")


@WITH_TIMM
def test_each_framework_runs_it(torch_backend, tmp_path):
    """Attention in a kind of its own; padding as TensorFlow's where a side is odd."""
    mindspore = require("mindspore")[0]
    timm, torch = import_module("timm"), import_module("torch")
    for name, size in (("vit_tiny_patch16_224", (224, 224)), ("tf_mobilenetv3_small_minimal_100", (63, 75))):
        network, _ = traced(torch_backend, tmp_path, name, (224, 224) if name.startswith("vit") else (64, 64))
        assert ("attention" in {node.kind for node in network.graph.nodes}) == name.startswith("vit")
        module = timm.create_model(name).eval()
        weights = torch_backend.own_module(module).export_weights()
        pictures = np.random.default_rng(0).integers(0, 256, (2, *size, 3), np.uint8)
        with torch.no_grad():
            inputs = (torch.from_numpy(pictures).permute(0, 3, 1, 2) / 255 - 0.5) / 0.25
            expected = module(inputs).numpy()
        for backend in (torch_backend, mindspore):
            built = backend.build(NetworkSpec(network.graph, (0.5,) * 3, (0.25,) * 3), "cpu")
            backend.import_weights(built, {key: weights[key] for key in network.graph.weights})
            first = arch_of(name, network.graph).stage_names[0]
            given = backend.make_predict_step(built, first, LOGITS)(pictures)
            assert np.abs(given - expected).max() < 1e-5 * np.abs(expected).max()


@WITH_TIMM
def test_pictures_are_seen_as_timm_says(torch_backend):
    found = torch_backend.library_module("vit_tiny_patch16_224.augreg_in21k_ft_in1k", False)
    assert (found.size, found.mean, found.std) == ((224, 224), (0.5,) * 3, (0.5,) * 3)
    assert (found.crop, found.interpolation, found.squash) == (0.9, "bicubic", False)
    assert torch_backend.library_module("resnet18.tv_in1k", False).interpolation == "bilinear"


@WITH_TIMM
@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("resnet81", r"arch = 'timm/resnet81': timm .* has no resnet81[.] Did you mean 'resnet"),
        ("resnet18.nope", r"has no such tag[.] Cure: .*resnet18[.]a1_in1k"),
    ],
)
def test_what_cannot_be_had_is_one_line(torch_backend, tmp_path, name, words):
    with pytest.raises(ConfigError, match=words) as refused:
        write_traced(torch_backend, name, tmp_path / "net.safetensors", False)
    assert "\n" not in str(refused.value)
    assert not (tmp_path / "net.safetensors").exists()


@WITH_TIMM
def test_weights_come_from_the_hub_and_without_it_there_is_a_cure(torch_backend, tmp_path, monkeypatch):
    timm, hub = import_module("timm"), import_module("huggingface_hub")
    published = timm.create_model("resnet18.a1_in1k")
    monkeypatch.setattr(hub, "try_to_load_from_cache", lambda *a, **k: None)

    def unreachable(self, *anything, **more):
        raise OSError("no network\nhere")

    monkeypatch.setattr(hub.HfApi, "model_info", unreachable)
    cure = (
        r"resnet18.a1_in1k cannot be had from the hub \(no network here\)[.] Cure: .*--weights FILE .*--weights random"
    )
    with pytest.raises(WeightsError, match=cure):
        torch_backend.library_module("resnet18.a1_in1k", True)
    unpublished = SimpleNamespace(pretrained_cfg={"num_classes": 3}, num_classes=3)
    monkeypatch.setattr(timm, "create_model", lambda *a, **k: unpublished)
    with pytest.raises(WeightsError, match="timm publishes none for resnet18"):
        torch_backend.library_module("resnet18", True)
    monkeypatch.setattr(hub.HfApi, "model_info", lambda *a, **k: None)
    monkeypatch.setattr(timm, "create_model", lambda *a, **k: published)
    write_traced(Small(torch_backend, (64, 64)), "resnet18.a1_in1k", tmp_path / "net.safetensors", True)
    weights, _ = read_weights(tmp_path / "net.safetensors")
    assert np.array_equal(weights["conv1.weight"], published.conv1.weight.detach().numpy())


def test_a_library_that_cannot_be_imported_is_told_with_its_extra(torch_backend, monkeypatch):
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(AbsentError, match=r"timm/resnet18: .*Cure: pip install 'xfer-vision\[timm\]'"):
        torch_backend.library_module("resnet18", False)


@WITH_TIMM
def test_a_state_dict_of_timm_fits_what_was_traced(torch_backend, tmp_path, monkeypatch):
    """From the command on: another process traces, and the file is found again without timm."""
    monkeypatch.setenv("XFER_CACHE", str(tmp_path / "cache"))
    graph = library.read_library_network("timm/resnet10t.c3_in1k").graph
    (file,) = (tmp_path / "cache" / "weights").iterdir()
    state = torch_backend.own_module(import_module("timm").create_model("resnet10t")).export_weights()
    write_weights(tmp_path / "own.pth", state, {})
    assert {name: array.shape for name, array in read_weights(tmp_path / "own.pth")[0].items()} == graph.weights
    monkeypatch.setattr(library, "_installed", lambda: None)
    assert library.seen_by("timm/resnet10t.c3_in1k").size == (176, 176)
    assert file.stat().st_size < 50_000
