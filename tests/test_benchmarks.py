"""What the measurements tell their cases. None is run here."""

import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import load_file

from benchmarks import common, finetune, gpu, scaling
from benchmarks.common import Options, in_turns
from benchmarks.made_pictures import class_folders
from xfer.formats.files import write_weights
from xfer.graphs import packaged
from xfer.nets.net import build_net
from xfer.nets.specs import ModelSpec
from xfer.system.download import file_hash
from xfer.testing.kit import random_weights
from xfer.testing.numpy_backend import NumpyBackend

WEIGHTS = {"conv1.weight": np.arange(4, dtype=np.float32).reshape(2, 2)}


@pytest.fixture
def cases(monkeypatch):
    """The weights that each case of fine-tuning is given, as its process would read them."""
    given = {}

    def in_turns(cases, rounds):
        given.update({name: load_file(arguments[2]) for name, arguments in cases.items()})
        return {name: {"seconds": 1.0} for name in cases}

    monkeypatch.setattr(finetune, "in_turns", in_turns)
    monkeypatch.setattr(finetune, "child", lambda module: {"overhead": 0.0})
    return given


@pytest.mark.parametrize("name", ["imagenet", "resnet18.pth", "resnet18.ckpt"])
def test_every_peer_of_fine_tuning_reads_the_weights_asked_for(tmp_path, monkeypatch, cases, name):
    file = tmp_path / "weights" / ("small.pth" if name == "imagenet" else name)
    write_weights(file, WEIGHTS, {})
    monkeypatch.setenv("XFER_CACHE", str(tmp_path))
    small = replace(packaged.published("resnet18")[0], url="http://127.0.0.1:9/small.pth", sha256=file_hash(file))
    monkeypatch.setattr(packaged, "published", lambda name: (replace(small, size=None),))
    finetune.measure(Options(tmp_path, name if name == "imagenet" else str(file), 1))
    assert cases.keys() == finetune.PEERS.keys()
    for weights in cases.values():
        np.testing.assert_array_equal(weights["conv1.weight"], WEIGHTS["conv1.weight"])


@pytest.mark.parametrize("source", ["nowhere.pth", "random"])
def test_weights_that_are_not_there_are_a_row_that_says_so(tmp_path, cases, source):
    figures = finetune.measure(Options(tmp_path, source, 1))
    assert not cases
    assert all(source in figures[name]["missing"] for name in finetune.PEERS)
    table, _ = finetune.report(json.loads(json.dumps(figures)))
    assert table.count(source) == len(finetune.PEERS)


@pytest.mark.parametrize(("until", "rounds"), [(0, 1), (29, 2), (30, 3), (1000, 5)])
def test_no_round_is_begun_that_would_end_too_late(monkeypatch, until, rounds):
    """Two cases of 5 seconds each: after the first round, another one takes until 20, and the third until 30."""
    clock, given = [0.0], []

    def child(module, *arguments, env):
        clock[0] += 5
        given.append(module)
        return {"seconds": 5.0 * len(given)}

    monkeypatch.setattr(common, "child", child)
    monkeypatch.setattr(common.time, "monotonic", lambda: clock[0])
    rows = in_turns({"a": ["a"], "b": ["b"]}, 5, until=until)
    assert given == ["a", "b"] * rounds
    assert rows["a"]["seconds"] == 5.0 * np.median(range(1, len(given), 2))


PLACES = (Path("pictures"), Path("few"), Path("weights"))


def gpu_figures(**changed):
    """Of every case of the plan: a step of xfer's takes as long as a bare one, and all else is as wanted."""
    once, often = gpu.plan("cuda", gpu.Sizes(), *PLACES)
    figures = {name: {"training": 100.0, "inference": 50.0} for name in often}
    figures |= {name: {"seconds": 2.0} for name in once}
    figures["frozen"] = {"seconds": 8.0, "seconds_features": 3.0, "seconds_training": 1.0}
    figures["bits"] = {"twice": "the same bits", "resumed": "the same bits"}
    return figures | changed


def verdicts(report):
    """(ratio, what was wanted, verdict) by the beginning of a line."""
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in report.splitlines() if line.startswith("| ")]
    return {row[0]: tuple(row[3:]) for row in rows}


def test_the_table_of_a_gpu_sets_each_ratio_beside_its_target():
    lines = verdicts(gpu.report(gpu_figures()))
    assert lines["training steps of resnet18, bfloat16, pictures/s"] == ("1.000", "at least 0.97", "met")
    assert lines["training steps of resnet18, float32, pictures/s"] == ("1.000", "", "")
    assert lines["the whole frozen command, s; features and training in it"] == ("2.000", "at most 2.0", "met")
    assert lines["two runs end with"] == ("", "the same bits", "met")
    assert sum(verdict == "met" for _, _, verdict in lines.values()) == 8


def test_what_misses_its_target_on_a_gpu_is_said():
    slow = {"training": 96.0, "inference": 50.0}
    figures = gpu_figures(
        **{"resnet50, tf32, xfer": slow, "fine-tuning, timm": {"seconds": 1.6}},
        frozen={"seconds": 8.1, "seconds_features": 3.0, "seconds_training": 1.0},
        bits={"twice": "other bits", "resumed": "it ended before it was killed"},
    )
    missed = {what: ratio for what, (ratio, _, verdict) in verdicts(gpu.report(figures)).items() if verdict == "missed"}
    assert missed == {
        "training steps of resnet50, tf32, pictures/s": "0.960",
        "an epoch of fine-tuning, resnet18, bfloat16, s; timm with its prefetcher": "1.250",
        "the whole frozen command, s; features and training in it": "2.025",
        "two runs end with": "",
    }
    assert verdicts(gpu.report(figures))["one that is killed and resumed ends with"] == ("", "the same bits", "not run")


def test_a_peer_that_is_not_installed_is_a_line_that_says_so():
    gone = {"missing": "ModuleNotFoundError: No module named 'timm.data'"}
    lines = verdicts(gpu.report(gpu_figures(**{"fine-tuning, timm": gone, "bits": {"missing": "a run failed"}})))
    peer = "an epoch of fine-tuning, resnet18, bfloat16, s; timm with its prefetcher"
    assert lines[peer] == ("", "at most 1.0", "not run: timm is missing")
    assert lines["two runs end with"] == ("", "the same bits", "not run: a run failed")


def test_a_machine_without_a_gpu_says_so_in_a_line(monkeypatch):
    monkeypatch.setattr(gpu, "child", lambda module, device: {"missing": "torch sees no GPU"})
    monkeypatch.setattr(sys, "argv", ["gpu"])
    with pytest.raises(SystemExit, match=r"^torch sees no GPU.*--device cpu --quick[^\n]*$"):
        gpu.main()


def test_sizes_that_are_asked_for_take_the_place_of_the_usual():
    asked = {"train": 10, "val": None, "workers": None, "minutes": 2.0, "device": "cuda"}
    assert gpu.sizes_of(False, 3, asked) == replace(gpu.Sizes(), train=10, workers=3, minutes=2.0)
    assert gpu.sizes_of(True, 3, asked | {"train": None, "minutes": None}) == gpu.QUICK


def test_pictures_that_are_made_are_jpeg_files_and_no_two_alike(tmp_path):
    files = sorted(class_folders(tmp_path, 4, 2, (30, 40)).rglob("*.jpg"))
    assert [str(file.parent.relative_to(tmp_path)) for file in files] == [
        *["train/a"] * 2, *["train/b"] * 2, "val/a", "val/b",
    ]  # fmt: skip
    assert len({file.read_bytes() for file in files}) == 6
    for file in files:
        with Image.open(file) as image:
            assert (image.format, image.size) == ("JPEG", (40, 30))


SCALING = {
    "threads 1": {"rate": 500.0, "own": 1900.0, "others": 100.0},
    "threads 2": {"rate": 900.0, "own": 2000.0, "others": 0.0},
    "processes 2": {"rate": 910.0, "own": 40.0, "others": 1960.0},
    "processes 8": {"missing": "a worker died"},
    "picture": {"decode": 1200.0, "resize": 500.0},
    "step": {"copy": 30.0, "step": 60.0, "clock": 1250.0},
}


def test_reading_is_set_against_one_core_and_against_the_step_that_waits_for_it():
    """A step takes 1250 microseconds for a picture, which is 800 pictures a second."""
    reading, costs = scaling.report(SCALING)
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in reading.splitlines() if line.startswith("| ")]
    assert rows[1:4] == [
        ["threads", "1", "500", "1.00", "1900", "100", "reading"],
        ["threads", "2", "900", "0.90", "2000", "0", "the step"],
        ["processes", "2", "910", "", "40", "1960", "the step"],
    ]
    assert rows[4][:3] == ["processes", "8", "a worker died"]
    assert "| the rest of reading | 300 |" in costs
    assert "| copy to the device | 30 |" in costs


def test_what_scaling_cannot_measure_is_said():
    _, costs = scaling.report(SCALING | {"step": {"missing": "no such device"}})
    assert costs.count("not run: no such device") == 3


@pytest.mark.parametrize(("most", "numbers"), [(1, [1]), (2, [1, 2]), (6, [1, 2, 4, 6]), (16, [1, 2, 4, 8, 16])])
def test_numbers_of_cores_are_doubled_up_to_all(most, numbers):
    assert scaling.powers(most) == numbers


def test_the_step_that_is_measured_is_that_of_the_loop():
    step_torch = pytest.importorskip("benchmarks.step_torch", reason="needs torch", exc_type=ImportError)
    net = build_net(NumpyBackend(), "cpu", ModelSpec("tiny", 2, (16, 16), (0.5,) * 3, (0.25,) * 3))
    net.load(random_weights(net.shapes, 0))
    before = net.export()
    step_torch.with_xfer(net, step_torch.in_memory(2, 3, 16))()
    assert not all(np.array_equal(before[name], value) for name, value in net.export().items())
