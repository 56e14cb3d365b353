"""Classifiers written in torch, from the module to a trained run that needs neither the code nor the file."""

import dataclasses
import json
from functools import partial
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

import xfer
import xfer.porting.port as porting
from xfer.capabilities import Traced
from xfer.cli.main import main
from xfer.errors import CheckpointError
from xfer.formats.files import read_weights, write_weights
from xfer.nets.network_file import read_network
from xfer.porting.probe import measure
from xfer.recipe.load import as_recipe
from xfer.testing.fixtures import require
from xfer.testing.pictures import write_class_folders
from xfer.training.resume import identity, refuse_changes
from xfer.training.run import prepare


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch, torch_backend):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="module")
def torch_backend():
    return require("torch")[0]


@pytest.fixture
def own_nets():
    return import_module("own_nets")


@pytest.fixture
def in_this_process(monkeypatch, torch_backend):
    measured = partial(measure, torch_backend, "cpu")
    monkeypatch.setattr(porting, "measure_in_own_process", lambda backend, device, task: measured(task))


def run(*words):
    return CliRunner().invoke(main, [*map(str, words)])


def port(target, *words):
    return run("port", target, "-o", "net.safetensors", "--size", 32, "--backends", "torch", *words)


def test_each_framework_gives_the_logits_of_the_module(here):
    require("mindspore")
    words = ("port", "own_nets:Branches", "-o", "net.safetensors", "--size", 32, "--json")
    result = run(*words, "--backends", "torch:cpu,mindspore:cpu")
    assert result.exit_code == 0, result.output
    proofs = json.loads(result.stdout)["proofs"]
    assert [(proof["backend"], proof["passes"], proof["top1_agree"]) for proof in proofs] == [
        ("torch", True, 16), ("mindspore", True, 16),
    ]  # fmt: skip
    assert all(0 < proof["relative"] < 1e-5 for proof in proofs)


@pytest.mark.usefixtures("in_this_process")
@pytest.mark.parametrize(("name", "ending"), [("Probabilities", "softmax"), ("log_probabilities", "log_softmax")])
def test_a_last_softmax_is_no_part_of_the_network_and_of_the_proof(name, ending):
    result = port(f"own_nets:{name}")
    assert result.exit_code == 0, result.output
    assert f"left out      the last {ending}: training and prediction have their own" in result.output
    graph = read_network("net.safetensors").graph
    assert graph.nodes[-1].name == graph.head == "fc"


@pytest.mark.usefixtures("in_this_process")
def test_another_network_does_not_pass(monkeypatch, torch_backend):
    traced = torch_backend.trace

    def without_gate(module, size):
        graph = traced(module, size).graph
        nodes = [dataclasses.replace(n, kind="tanh") if n.kind == "sigmoid" else n for n in graph.nodes]
        return Traced(dataclasses.replace(graph, nodes=tuple(nodes)), "a look")

    monkeypatch.setattr(type(torch_backend), "trace", lambda self, module, size: without_gate(module, size))
    result = port("own_nets:Branches", "--json")
    assert result.exit_code == 1, result.output
    (proof,) = json.loads(result.stdout)["proofs"]
    assert proof["relative"] > 1e-2


@pytest.mark.usefixtures("in_this_process")
def test_weights_are_those_of_the_module_and_a_head_without_bias_has_zeros(own_nets):
    result = port("own_nets:ready", "--json")
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["unused"] == ["auxiliary.weight", "auxiliary.bias"]
    weights, _ = read_weights(Path("net.safetensors"))
    state = own_nets.ready.state_dict()
    assert np.array_equal(weights["fc.bias"], np.zeros(3, np.float32))
    own = {name for name in state if "auxiliary" not in name and "tracked" not in name}
    assert weights.keys() == own | {"fc.bias"}
    assert all(np.array_equal(weights[name], state[name].numpy()) for name in own)
    assert not own_nets.ready.training


@pytest.mark.usefixtures("in_this_process")
def test_names_are_those_that_reading_a_file_gives(here, own_nets):
    model = own_nets.Wrapped()
    for tensor in model.parameters():
        tensor.data += 0.5
    own_nets.torch.save({"state_dict": model.state_dict()}, here / "trained.pth")
    result = port("own_nets:Wrapped", "--weights", "trained.pth")
    assert result.exit_code == 0, result.output
    weights, _ = read_weights(here / "net.safetensors")
    assert set(weights) == {f"{layer}.{leaf}" for layer in (0, 3, 5) for leaf in ("weight", "bias")}
    assert np.array_equal(weights["3.weight"], model.model[3].weight.detach().numpy())
    assert read_network("net.safetensors").graph.fixed
    for suffix in (".pth", ".ckpt", "2.safetensors"):
        assert run("convert", "net.safetensors", f"net{suffix}").exit_code == 0
        again, _ = read_weights(here / f"net{suffix}")
        assert all(np.array_equal(again[name], weights[name]) for name in weights)


@pytest.mark.usefixtures("in_this_process")
def test_from_python_the_module_itself_is_given(own_nets):
    ported = xfer.port(own_nets.ready, "net.safetensors", size=32, backends=["torch"])
    assert ported.passes
    assert ported.proofs[0].relative < 1e-5
    with pytest.raises(xfer.XferError, match=r"int: gave a value of type int, expected a torch[.]nn[.]Module"):
        xfer.port(3, "other.safetensors", size=32)


@pytest.mark.parametrize(
    ("target", "words", "part"),
    [
        (
            "own_nets:Undecided",
            (),
            "own_nets:Undecided: the network cannot be traced: symbolically "
            "traced variables cannot be used as inputs to control flow (own_nets.py, line 70). Cure: do the same",
        ),
        ("own_nets:Squeeze", (), "calling own_nets:Squeeze: TypeError: "),
        ("own_nets:Wrapped", ("--size", 8), "own_nets:Wrapped: the network takes no pictures of 8x8 pixels"),
    ],
)
def test_what_torch_cannot_trace_is_one_line(here, target, words, part):
    result = port(target, *words)
    assert result.exit_code == 2
    (line,) = result.stderr.splitlines()
    assert line.startswith("error: ")
    assert part in line
    assert not (here / "net.safetensors").exists()


@pytest.mark.usefixtures("in_this_process")
def test_from_the_module_to_predictions_without_code_and_file(here, monkeypatch):
    write_class_folders(here / "pictures", counts=(4, 2))
    assert port("own_nets:Branches").exit_code == 0
    before, _ = read_weights(here / "net.safetensors")
    words = ("--arch", "net.safetensors", "--size", 32, "--epochs", 1, "--backend", "torch", "--device", "cpu")
    trained = run("train", "pictures", *words, "--output", "run", "--quiet")
    assert trained.exit_code == 0, trained.output
    after, metadata = read_weights(here / "run" / "best.safetensors")
    assert after.keys() == before.keys()
    assert all(np.array_equal(after[name], before[name]) for name in after if not name.startswith("fc."))
    assert after["fc.weight"].shape == (2, 16)
    assert json.loads(metadata["mean"]) == json.loads(read_weights(here / "net.safetensors")[1]["mean"])
    elsewhere = here / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    longer = run("train", "--resume", here / "run", "--epochs", 2, "--output", "longer", "--quiet")
    assert longer.exit_code == 0, longer.output
    assert json.loads((elsewhere / "longer" / "env.json").read_text())["network"] == str(here / "net.safetensors")
    monkeypatch.chdir(here)
    (here / "net.safetensors").unlink()
    longer = run("train", "--resume", "run", "--epochs", 2, "--output", "longer", "--quiet")
    assert longer.exit_code == 0, longer.output
    predicted = run("predict", "run", "pictures/val", "--json", "--device", "cpu")
    assert predicted.exit_code == 0, predicted.output
    assert len(json.loads(predicted.stdout)) == 4
    gone = run("train", "pictures", *words, "--output", "other")
    assert gone.exit_code == 2
    assert "net.safetensors: no such file" in gone.stderr
    onwards = run("train", "pictures", "--arch", "run/best.safetensors", *words[2:], "--output", "other", "--quiet")
    assert onwards.exit_code == 0, onwards.output
    assert json.loads((here / "other" / "result.json").read_text())["parent"]["head"] == "kept"


@pytest.mark.usefixtures("in_this_process")
def test_a_run_does_not_go_on_with_another_network_of_the_same_weights(here, torch_backend):
    write_class_folders(here / "pictures", counts=(2, 1))
    assert port("own_nets:Branches").exit_code == 0
    recipe = as_recipe(None, {"data": "pictures", "arch": "net.safetensors", "size": 32})
    stored = identity(prepare(recipe, torch_backend, "cpu"))
    refuse_changes(prepare(recipe, torch_backend, "cpu"), stored, Path("run"))
    weights, metadata = read_weights(here / "net.safetensors")
    write_weights(here / "net.safetensors", weights, metadata | {"graph": metadata["graph"].replace("sigmoid", "tanh")})
    with pytest.raises(CheckpointError, match=r"network net[.]safetensors: changed since run stopped"):
        refuse_changes(prepare(recipe, torch_backend, "cpu"), stored, Path("run"))


@pytest.mark.usefixtures("in_this_process")
def test_source_is_written_under_the_name_of_what_was_ported(here):
    assert port("own_nets:Branches", "--source", "net.py").exit_code == 0
    text = (here / "net.py").read_text()
    assert "class Branches(nn.Cell):" in text
    assert "import torch" not in text
    result = port("own_nets:Branches", "--source", "net.py", "--overwrite")
    assert result.exit_code == 0
    (here / "net.safetensors").unlink()
    for words, reason in ((["--source", "net.py"], "there already"), (["--source", "net.txt"], "ending in .py")):
        result = port("own_nets:Branches", *words)
        assert result.exit_code == 2
        assert reason in result.stderr
        assert not (here / "net.safetensors").exists(), "refused before anything is written"
