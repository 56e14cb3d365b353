"""Two backends held against each other: what the command says and writes, its input, and a process that dies."""

import dataclasses
import json
import math
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from faults import TASK, Stage
from PIL import Image

from xfer.cli.main import main
from xfer.errors import BackendError, WeightsError
from xfer.formats.files import write_weights
from xfer.porting import differences, parity
from xfer.porting import task as task_file
from xfer.porting.chart import Line, chart
from xfer.porting.parity import noise
from xfer.porting.probe import measure
from xfer.system import processes
from xfer.testing.numpy_backend import NumpyBackend

FAKES = {"shifted": Stage(NumpyBackend(), "layer1")}


@pytest.fixture
def in_this_process(monkeypatch):
    """Runs NumPy in place of any backend, and starts no process for it."""

    def here(backend, device, task, other=None):
        measurement = measure(FAKES.get(backend, NumpyBackend()), "cpu", task, other)
        return dataclasses.replace(measurement, backend=backend)

    monkeypatch.setattr(parity, "measure_in_own_process", here)


def run(*words):
    return CliRunner().invoke(main, ["parity", "--arch", "tiny", "--size", "16", *map(str, words)])


RANDOM = ("--weights", "random", "--batch-size", 4, "--steps", 2)


def test_noise_is_smooth_and_repeats():
    a = noise(2, 64, seed=3)
    assert np.array_equal(a, noise(2, 64, seed=3))
    assert not np.array_equal(a, noise(2, 64, seed=4))
    assert np.abs(np.diff(a.astype(float), axis=1)).max() < 100
    assert a.astype(float).std() > 30


@pytest.mark.usefixtures("in_this_process")
def test_exit_codes_and_what_is_said(tmp_path):
    good = run(*RANDOM, "--backends", "numpy,other")
    assert good.exit_code == 0, good.output
    assert "same top-1 on 8 of 8 images" in good.stdout
    assert "DIFFERS" not in good.stdout
    bad = run(*RANDOM, "--backends", "numpy,shifted", "--output", tmp_path / "report.json")
    assert bad.exit_code == 1
    assert "first difference: layer1 (activations" in bad.stdout
    (line,) = [line for line in bad.stdout.splitlines() if line.endswith("DIFFERS") and line.startswith("  layer1")]
    assert line.split()[1] == "layer1"
    content = json.loads((tmp_path / "report.json").read_text())
    assert (content["passes"], content["first_difference"]) == (False, "layer1")
    again = run(*RANDOM, "--backends", "numpy,other", "--output", tmp_path / "report.json")
    assert again.exit_code == 0, again.output
    (tmp_path / "report.json").write_text("{}")
    refused = run(*RANDOM, "--backends", "numpy,other", "--output", tmp_path / "report.json")
    assert "holds no report of parity" in str(refused.exception) + refused.stderr
    assert (tmp_path / "report.json").read_text() == "{}"


def test_the_page_holds_the_ladder_and_needs_nothing_else(in_this_process, tmp_path, monkeypatch):
    name = "<script>alert(1)</script>"
    monkeypatch.setitem(FAKES, name, FAKES["shifted"])
    page = tmp_path / "report.html"
    result = run(*RANDOM, "--backends", f"numpy,{name}", "--html", page)
    assert result.exit_code == 1, result.output
    content = page.read_text()
    assert "<script" not in content
    assert "&lt;script&gt;alert(1)" in content
    assert not re.findall(r'(?:src|href)="?(?!data:)', content)
    for part in ("<title>Parity of tiny", "differs", "first difference: layer1", "first node: relu", "batch size 4"):
        assert part in content
    for what in (*differences.JUDGED, task_file.after(2)):
        assert f"<td>{what}</td>" in content
    assert content.count("<svg") == content.count("</svg>") == 2
    (numpy,) = {f"numpy {np.__version__}"} & {part.rstrip(",<") for part in re.findall(r"numpy [\d.]+", content)}
    assert numpy
    again = run(*RANDOM, "--backends", "numpy,other", "--html", page)
    assert again.exit_code == 0, again.output
    assert "differs" not in page.read_text()
    page.write_text("<title>Mine</title>")
    refused = run(*RANDOM, "--backends", "numpy,other", "--html", page)
    assert (refused.exit_code, page.read_text()) == (2, "<title>Mine</title>")
    assert "holds no report of parity. Cure: another --html, or --overwrite" in refused.stderr
    both = run(*RANDOM, "--backends", "numpy,other", "--html", page, "--output", page)
    assert (both.exit_code, "is the file of --output too" in both.stderr) == (2, True)
    assert run(*RANDOM, "--backends", "numpy,other", "--html", page, "--overwrite").exit_code == 0


def test_charts_leave_out_what_is_no_number():
    drawn = chart("<c>", [Line("<a>", [1, 2, 3], [1.0, math.nan, 3.0]), Line("b", [1, 2, 3], [2.0, 2.0, math.inf])])
    assert re.findall(r'points="([^"]*)"', drawn) == ["80.0,224.0 704.0,16.0", "80.0,120.0 392.0,120.0"]
    assert "<a>" not in drawn
    assert "<c>" not in drawn
    assert chart("c", [Line("a", [1], [math.nan])]) == ""
    assert "1.0e-12" in chart("c", [Line("a", [1, 2], [0.0, 1.0])], logarithmic=True)


@pytest.mark.usefixtures("in_this_process")
def test_json_holds_every_tensor():
    content = json.loads(run(*RANDOM, "--backends", "numpy,other", "--json").stdout)
    assert content["passes"] is True
    assert len(content["rows"]) > len({(row["what"], row["stage"]) for row in content["rows"]})
    assert [side["backend"] for side in content["sides"]] == ["numpy", "other"]


@pytest.fixture
def files(tmp_path):
    """Two files of the same weights."""
    weights = measure(NumpyBackend(), "cpu", TASK).arrays[task_file.START]
    paths = tmp_path / "a.safetensors", tmp_path / "b.pth"
    for path in paths:
        write_weights(path, weights, {})
    return weights, *paths


@pytest.mark.usefixtures("in_this_process")
def test_each_backend_has_its_own_file(files):
    weights, a, b = files
    same = run("--weights", a, "--weights-other", b, "--json")
    assert same.exit_code == 0
    assert [side["weights"] for side in json.loads(same.stdout)["sides"]] == [str(a), str(b)]
    write_weights(b, weights | {"layer1.weight": weights["layer1.weight"] * np.float32(1.01)}, {})
    result = run("--weights", a, "--weights-other", b)
    assert result.exit_code == 1
    assert f"first difference: layer1 ({task_file.START}, layer1.weight" in result.stdout


@pytest.mark.parametrize(
    ("change", "note"),
    [
        (lambda w: {n: v for n, v in w.items() if n != "fc.bias"}, "only in the first"),
        (lambda w: w | {"more.weight": np.ones((2, 2), np.float32)}, "only in the second"),
        (lambda w: w | {"fc.bias": np.ones(4, np.float32)}, "shapes (10,) and (4,)"),
    ],
)
def test_files_of_other_names_or_shapes_are_not_run(files, change, note):
    weights, a, b = files
    write_weights(b, change(weights), {})
    result = run("--weights", a, "--weights-other", b)
    assert result.exit_code == 1, result.output
    assert note in result.stdout
    content = json.loads(run("--weights", a, "--weights-other", b, "--json").stdout)
    (off,) = [row for row in content["rows"] if not row["passes"]]
    assert (off["note"], off["max_abs"], content["images"]) == (note, None, 0)


@pytest.mark.usefixtures("in_this_process")
@pytest.mark.parametrize("what", [".", "*.gif"])
def test_pictures_of_any_suffix_that_can_be_read(tmp_path, what):
    for i in range(4):
        Image.new("RGB", (16, 16), (60 * i, 0, 0)).save(tmp_path / f"{i}.gif")
    good = run(*RANDOM, "--backends", "numpy,other", "--images", tmp_path / what)
    assert good.exit_code == 0, good.output
    assert "same top-1 on 4 of 4 images" in good.stdout


@pytest.mark.parametrize(
    ("words", "part"),
    [
        (("--backends", "torch"), "expected two"),
        (("--batch-size", 0), "batch_size = 0"),
        (("--classes", 0), "classes = 0"),
        (("--tolerance", "nan"), "tolerance"),
        (("--weights", "nowhere.pth"), "no such file"),
        (("--images", "nowhere"), "nowhere"),
    ],
)
def test_misuse_is_one_line(words, part):
    result = run(*RANDOM, *words)
    assert result.exit_code == 2
    assert part in result.stderr
    assert len(result.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("code", "kind", "message"),
    [
        ("import sys; sys.exit('boom')", BackendError, "backend 'x' died with exit code 1: boom"),
        ("import os; os._exit(7)", BackendError, "exit code 7"),
        ("pass", BackendError, "exit code 0"),
        ('print(\'noise\'); print(\'{"kind": "WeightsError", "message": "of another"}\')', WeightsError, "of another"),
        ('print(\'{"kind": "json", "message": "no error of ours"}\')', BackendError, "died"),
    ],
)
def test_what_goes_wrong_in_the_process_is_raised_here(monkeypatch, code, kind, message):
    monkeypatch.setattr(
        processes.subprocess,
        "run",
        lambda _, _run=subprocess.run, **kwargs: _run([sys.executable, "-c", code], **kwargs),
    )
    with pytest.raises(kind, match=message):
        parity.measure_in_own_process("x", "cpu", TASK)


def test_the_answer_of_a_process_that_died_is_not_believed(monkeypatch):
    def dies(command, **kwargs):
        task_file.write_measurement(Path(command[-1]), measure(NumpyBackend(), "cpu", TASK))
        return subprocess.CompletedProcess(command, -11, "", "Segmentation fault")

    monkeypatch.setattr(processes.subprocess, "run", dies)
    with pytest.raises(BackendError, match="was killed by SIGSEGV: Segmentation fault"):
        parity.measure_in_own_process("x", "cpu", TASK)


def test_an_unknown_backend_is_refused_by_its_own_process():
    with pytest.raises(BackendError, match="backend = 'nonesuch': expected one of"):
        parity.measure_in_own_process("nonesuch", "auto", TASK)
