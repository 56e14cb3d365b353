"""A person's own code: what is refused and how, what is written, and what the proof says. Needs no framework."""

import dataclasses
import json
import os
import sys

import numpy as np
import pytest
from small_graphs import GRAPHS
from stand_in import CODE, Own, run, told

from xfer.errors import AbsentError, BackendError, WeightsError
from xfer.formats.files import read_weights, write_weights
from xfer.nets.network_file import read_network
from xfer.nets.pretrained import resolve_source
from xfer.nets.specs import arch_named


@pytest.mark.usefixtures("offered")
@pytest.mark.parametrize(
    ("target", "part"),
    [
        ("mine", "expected package.module:factory"),
        ("mine.py:make", "expected package.module:factory. Cure: mine:make"),
        ("./nets/mine.py:make", "Cure: nets.mine:make"),
        ("a b:make", "expected package.module:factory"),
        ("nowhere:make", "there is no module nowhere, here or installed"),
        ("mine.inner:make", "there is no module mine.inner, here or installed"),
        (
            "failing:make",
            "importing failing: ModuleNotFoundError: No module named 'no_such_package' (failing.py, line 1)",
        ),
        ("ending:make", "importing ending: SystemExit: 5 (ending.py, line 1)"),
        ("mine:mak", "mine.py has no 'mak'. Did you mean 'make'?"),
        ("mine:constant", "mine:constant: is of type int, expected a function or a class"),
        ("mine:number", "mine:number: gave a value of type int, expected a torch.nn.Module"),
        ("mine:broken", "calling mine:broken: ValueError: a cause in two lines (mine.py, line 9)"),
        ("mine:leaves", "calling mine:leaves: SystemExit: 4 (mine.py, line 10)"),
    ],
)
def test_what_cannot_be_ported_is_one_line(here, target, part):
    path = list(sys.path)
    assert part in told(run(target, "-o", "net.safetensors", "--size", 16))
    assert not (here / "net.safetensors").exists()
    assert sys.path == path


@pytest.mark.usefixtures("offered")
@pytest.mark.parametrize(
    ("words", "part"),
    [
        (("-o", "net.pth"), "expected a file ending in .safetensors. Cure: --output net.safetensors"),
        (("-o", "there.safetensors"), "there.safetensors exists already"),
        (("-o", "net.safetensors", "--size", 0), "size = 0"),
        (("-o", "net.safetensors", "--std", 1, 1, 0), "of std above 0"),
        (("-o", "net.safetensors", "--images", "nowhere"), "nowhere"),
    ],
)
def test_misuse_is_told_before_any_code_of_theirs_runs(here, words, part):
    (here / "mine.py").write_text("open('ran', 'w')\n" + CODE)
    (here / "there.safetensors").write_bytes(b"what was there")
    assert part in told(run("mine:make", *words))
    assert (here / "there.safetensors").read_bytes() == b"what was there"
    assert not (here / "ran").exists()


@pytest.mark.usefixtures("offered")
def test_the_file_is_the_network(here):
    result = run("mine:make", "-o", "net.safetensors", "--size", 32, "--mean", 0.1, 0.2, 0.3, "--json")
    assert result.exit_code == 0, result.output
    content = json.loads(result.stdout)  # what their code prints is not among it
    assert "a word of its own" in result.stderr
    assert (content["passes"], content["unused"], content["size"]) == (True, ["more"], [32, 32])
    assert [(p["backend"], p["passes"], p["top1_agree"]) for p in content["proofs"]] == [
        ("torch", True, 16), ("mindspore", True, 16),
    ]  # fmt: skip
    graph = dataclasses.replace(GRAPHS["residual"], size=(32, 32))
    network = read_network("net.safetensors")
    assert network.graph == graph
    assert list(network.graph.weights) == list(graph.weights)
    assert network.normalize.mean == (0.1, 0.2, 0.3)
    arch = arch_named("net.safetensors")
    assert (arch.name, arch.mean) == ("net.safetensors", (0.1, 0.2, 0.3))
    own = Own(graph).export_weights()
    weights, metadata = resolve_source("imagenet", "net.safetensors")
    assert weights.keys() == graph.weights.keys()
    assert all(np.array_equal(weights[name], own[name]) for name in weights)
    assert metadata["ported_from"] == "mine:make"
    again = run("mine:make", "-o", "net.safetensors", "--size", 32, "--overwrite", "--quiet")
    assert again.exit_code == 0, again.output
    assert read_network("net.safetensors").normalize.mean != (0.1, 0.2, 0.3)


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize(
    ("error", "code", "verdict"),
    [
        (0.0, 0, "same"),
        (1.0, 1, "DIFFERS"),
        (float("nan"), 1, "DIFFERS"),
        (AbsentError("it needs a package"), 0, "not installed"),
        (BackendError("it has no expand"), 1, "it has no expand"),
    ],
)
def test_the_verdict_on_each_backend_and_the_exit_code(offered, error, code, verdict):
    offered["mindspore"] = error
    result = run("mine:make", "-o", "net.safetensors", "--size", 16)
    assert result.exit_code == code, result.output
    rows = {line.split()[1]: line for line in result.stdout.splitlines() if line.startswith("│")}
    assert "same" in rows["torch"]
    assert verdict in rows["mindspore"]


@pytest.mark.usefixtures("offered")
def test_weights_of_a_file_are_taken_strictly(here):
    own = Own(GRAPHS["residual"]).export_weights()
    moved = {name: array + np.float32(1) for name, array in own.items()}
    write_weights(here / "w.pth", {f"module.{name}": array for name, array in moved.items()}, {})
    result = run("mine:make", "-o", "net.safetensors", "--size", 16, "--weights", "w.pth")
    assert result.exit_code == 0, result.output
    written, _ = read_weights(here / "net.safetensors")
    assert all(np.array_equal(written[name], moved[name]) for name in written)
    write_weights(here / "less.pth", {name: moved[name] for name in moved if name != "conv1.weight"}, {})
    refused = run("mine:make", "-o", "less.safetensors", "--size", 16, "--weights", "less.pth")
    assert "less.pth does not fit the network: 1 missing: conv1.weight" in told(refused)
    write_weights(here / "nan.pth", moved | {"fc.bias": np.full(3, np.nan, np.float32)}, {})
    refused = run("mine:make", "-o", "less.safetensors", "--size", 16, "--weights", "nan.pth")
    assert "fc.bias holds values that are not finite" in told(refused)
    assert not (here / "less.safetensors").exists()


def changed(file, words):
    """The file with other metadata: a seal that fits them."""
    weights, metadata = read_weights(file)
    write_weights(file, weights, {key: value for key, value in (metadata | words).items() if value is not None})


@pytest.mark.usefixtures("offered")
@pytest.mark.parametrize(
    ("words", "part"),
    [
        ({"graph": None}, "holds no network (graph is missing)"),
        ({"graph": "[1]"}, "expected an object with format, head"),
        ({"graph": "{"}, "holds no network that can be used"),
        ({"graph": '{"format": 2}'}, "expected 1. Cure: the xfer that wrote it"),
        ({"mean": "[1, 2]"}, "mean"),
        ({"std": "[0, 1, 1]"}, "std"),
    ],
)
def test_a_file_that_holds_no_network_is_refused(here, words, part):
    assert run("mine:make", "-o", "net.safetensors", "--size", 16).exit_code == 0
    changed(here / "net.safetensors", words)
    with pytest.raises(WeightsError, match=r"^net[.]safetensors: ") as refused:
        read_network("net.safetensors")
    assert part in str(refused.value)
    assert str(refused.value).count("Cure: ") == 1
    assert len(str(refused.value).splitlines()) == 1


@pytest.mark.usefixtures("offered")
def test_no_bit_of_the_file_may_change(here):
    assert run("mine:make", "-o", "net.safetensors", "--size", 16).exit_code == 0
    content = bytearray((here / "net.safetensors").read_bytes())
    place = content.index(b"ported_from") + 20
    content[place] ^= 1
    (here / "net.safetensors").write_bytes(content)
    with pytest.raises(WeightsError, match="digest"):
        read_network("net.safetensors")


def test_other_files_are_no_networks(tmp_path):
    (tmp_path / "folder.safetensors").mkdir()
    os.mkfifo(tmp_path / "pipe.safetensors")
    (tmp_path / "text.safetensors").write_text("no such thing")
    write_weights(tmp_path / "plain.safetensors", {"a.weight": np.ones((2, 2), np.float32)}, {})
    for name, part in (
        ("folder", "a folder"),
        ("pipe", "a pipe"),
        ("text", "header"),
        ("plain", "graph is missing"),
        ("no", "no such file"),
    ):
        with pytest.raises(WeightsError, match=f"{name}.safetensors: .*{part}"):
            read_network(str(tmp_path / f"{name}.safetensors"))


@pytest.mark.usefixtures("offered")
def test_what_lies_beside_their_code_takes_no_place_of_what_is_installed(here, monkeypatch):
    monkeypatch.delitem(sys.modules, "colorsys", raising=False)
    (here / "colorsys.py").write_text("open('ran', 'a')")
    (here / "mine.py").write_text(f"import beside, colorsys\n{CODE}")
    (here / "beside.py").write_text("")
    assert run("mine:make", "-o", "net.safetensors", "--size", 16).exit_code == 0
    assert not (here / "ran").exists()
