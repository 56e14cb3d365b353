"""TorchScript, torch.export, MindIR and plain weights: what is read back from the file predicts what the run does."""

import json
import os
from importlib import import_module
from importlib.metadata import entry_points

import numpy as np
import pytest
from click.testing import CliRunner
from small_graphs import convolutional_head, residual, transformer

import xfer
from xfer.archs import IMAGENET_MEAN, IMAGENET_STD
from xfer.backend import NetworkSpec
from xfer.backends import GROUP
from xfer.cli.main import main
from xfer.formats.files import read_weights
from xfer.graphs.parts import boundaries
from xfer.testing.fixtures import require
from xfer.testing.kit import random_weights
from xfer.testing.laws.branches import BRANCHES, tree_of
from xfer.testing.numpy_backend import NumpyBackend
from xfer.testing.pictures import write_class_folders

SUFFIX = {"torchscript": ".pt", "torch-export": ".pt2", "mindir": ".mindir", "safetensors": ".safetensors"}
WINDOWS = tree_of([branch for branch in BRANCHES if branch.kind == "window_attention"][:1]).graph
NETWORKS = {
    ("torch", "torchscript"): [residual(), transformer(depth=1), WINDOWS],
    ("torch", "torch-export"): [transformer(depth=1)],
    ("mindspore", "mindir"): [convolutional_head()],
}
CASES = [(*pair, graph) for pair, graphs in NETWORKS.items() for graph in graphs]


@pytest.fixture(scope="module")
def declared_backends(declared_backends):
    return declared_backends | {entry.name: entry for entry in entry_points(group=GROUP)}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_class_folders(tmp_path_factory.mktemp("data") / "pictures", ("ants", "bees"), (4, 5), (40, 48))


@pytest.fixture(scope="module")
def run_of(data, tmp_path_factory, undrawn_module):
    runs = {}

    def of(name):
        backend, device = require(name)
        if name not in runs:
            recipe = {"data": str(data), "arch": "convnet", "weights": "random", "epochs": 1, "size": 64}
            output = tmp_path_factory.mktemp("runs") / "run"
            runs[name] = xfer.train(None, backend, device=device, output=output, **recipe)
        return runs[name]

    return of


def exported(run, output, *more, code=0):
    result = CliRunner().invoke(main, ["export", str(run.path), "-o", str(output), "--json", *map(str, more)])
    assert result.exit_code == code, result.output + str(result.exception)
    return json.loads(result.stdout) if code == 0 else result.stderr


@pytest.mark.parametrize(("backend", "name"), NETWORKS)
def test_a_run_in_a_format_of_its_framework(backend, name, run_of, tmp_path):
    output = tmp_path / f"model{SUFFIX[name]}"
    done = exported(run_of(backend), output)
    assert (done["format"], done["bytes"]) == (name, output.stat().st_size)
    assert done["check"]["difference"] < 1e-5
    assert {key: done["check"][key] for key in ("kind", "pictures", "same")} == {
        "kind": "validation", "pictures": 10, "same": 10,
    }  # fmt: skip
    assert os.listdir(tmp_path) == [output.name]


@pytest.mark.parametrize(("backend", "name", "graph"), CASES, ids=lambda value: value if type(value) is str else "")
def test_what_is_read_back_gives_the_logits_of_batches_of_any_size(backend, name, graph, tmp_path):
    used, device = require(backend)
    model = used.build(NetworkSpec(graph, IMAGENET_MEAN, IMAGENET_STD), device)
    used.import_weights(model, random_weights(graph.weights, seed=1))
    read = used.exports[name](model, tmp_path / f"m{SUFFIX[name]}", graph.size)
    pictures = np.random.default_rng(0).integers(0, 256, (5, *graph.size, 3), np.uint8)
    wanted = used.make_predict_step(model, next(iter(boundaries(graph))), "logits")(pictures)
    images = ((pictures / 255 - IMAGENET_MEAN) / IMAGENET_STD).transpose(0, 3, 1, 2).astype(np.float32)
    for part in (slice(0, 1), slice(0, 5), slice(1, 4)):
        assert np.abs(read(images[part]) - wanted[part]).max() <= 1e-5 * np.abs(wanted).max()
    before = read(images)
    used.import_weights(model, {n: 0 * w for n, w in used.export_weights(model).items()})
    assert np.array_equal(read(images), before), "a file has weights of its own"


def test_a_network_that_mindspore_does_not_compile_is_one_line(tmp_path):
    backend, device = require("mindspore")
    model = backend.build(NetworkSpec(WINDOWS, IMAGENET_MEAN, IMAGENET_STD), device)
    with pytest.raises(xfer.XferError, match=r"mindir: MindSpore does not compile window_attention\. Cure: --format"):
        backend.exports["mindir"](model, tmp_path / "m.mindir", WINDOWS.size)


def test_a_framework_that_fails_is_one_line(run_of, tmp_path, monkeypatch):
    run = run_of("torch")
    torch = import_module("torch")
    monkeypatch.setattr(torch.jit, "trace", lambda *args, **more: 1 / 0)
    line = exported(run, tmp_path / "m.pt", code=2).splitlines()[-1]
    assert line == "error: torch cannot write torchscript: division by zero. Cure: --format onnx"
    assert os.listdir(tmp_path) == []


def test_a_file_that_predicts_something_else_is_not_written(run_of, tmp_path, monkeypatch):
    run = run_of("torch")
    exports = import_module("xfer_torch.exports")
    monkeypatch.setitem(exports.EXPORTS, "torchscript", lambda model, path, size: lambda x: np.zeros((len(x), 2)))
    assert "m.pt is not written: against torch, " in exported(run, tmp_path / "m.pt", code=1)
    assert os.listdir(tmp_path) == []


def test_plain_weights_have_the_names_and_bits_of_the_network(data, tmp_path, undrawn):
    recipe = {"data": str(data), "arch": "tiny", "weights": "random", "epochs": 1, "size": 32}
    run = xfer.train(None, NumpyBackend(), output=tmp_path / "run", **recipe)
    output = tmp_path / "weights.safetensors"
    assert exported(run, output)["check"]["difference"] == 0
    weights, metadata = read_weights(output)
    assert metadata == {}
    assert weights.keys() == run.checkpoint.weights.keys()
    assert all(np.array_equal(weights[name], run.checkpoint.weights[name]) for name in weights)
