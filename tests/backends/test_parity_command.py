"""`xfer parity` on the frameworks themselves: it passes where they agree, and names the stage where they do not."""

import json

import pytest
from click.testing import CliRunner

from xfer.cli.main import main
from xfer.porting import task as task_file
from xfer.porting.differences import compare
from xfer.porting.parity import noise
from xfer.porting.probe import measure
from xfer.porting.task import Task
from xfer.testing.fixtures import require

TASK = Task("resnet18", noise(8, 64, seed=0), steps=1)


def test_a_shifted_max_pool_fails_and_names_the_stem(monkeypatch):
    """One pixel to the right and down: as 'same' padding is in some frameworks."""
    torch, device = require("torch")
    from torch.nn import functional

    good, max_pool2d = measure(torch, device, TASK), functional.max_pool2d

    def moved(x, kernel, stride, *rest):
        return max_pool2d(functional.pad(x, (0, 1, 0, 1), value=float("-inf")), kernel, stride)

    monkeypatch.setattr(functional, "max_pool2d", moved)
    bad = measure(torch, device, TASK)
    for name, array in good.arrays[task_file.START].items():
        assert (array == bad.arrays[task_file.START][name]).all()
    report = compare(good, bad, (TASK, TASK), 1e-4)
    assert not report.passes
    assert report.first_difference.stage == "stem"
    assert report.first_difference.what == task_file.ACTIVATIONS


@pytest.mark.parametrize(("arch", "size"), [("convnet", 20), pytest.param("resnet18", 64, marks=pytest.mark.long)])
def test_both_frameworks_pass_each_in_a_process_of_its_own(arch, size):
    for name in ("torch", "mindspore"):
        require(name)
    flags = ["--arch", arch, "--weights", "random", "--size", str(size), "--batch-size", "4", "--steps", "1"]
    targets = "torch:cpu,mindspore:cpu"
    result = CliRunner().invoke(main, ["parity", *flags, "--backends", targets, "--json", "--quiet"])
    assert result.exit_code == 0, result.output
    report = json.loads(result.stdout)
    assert report["passes"] is True
    assert report["first_difference"] is None
    assert report["top1_agree"] == report["images"] == 8
    assert [side["backend"] for side in report["sides"]] == ["torch", "mindspore"]
    assert "mindspore" in report["sides"][1]["versions"]
    # Two frameworks, and not one of them twice, round differently somewhere.
    assert any(row["max_abs"] for row in report["rows"] if row["what"] == task_file.ACTIVATIONS)


def test_what_the_framework_refuses_is_one_line():
    require("torch")
    result = CliRunner().invoke(main, ["parity", "--arch", "resnet81", "--weights", "random", "--size", "32"])
    assert result.exit_code == 2
    assert "arch = 'resnet81': expected one of" in result.stderr
    assert len(result.stderr.splitlines()) == 1
