"""Studies on the NumPy backend, in processes of their own: what is run, what is skipped, what fails, what is said."""

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

import xfer
from xfer.cli.main import main
from xfer.errors import CheckpointError
from xfer.results.read import STATE, read_recipe
from xfer.studies import processes
from xfer.studies.study import Ended, events, read_plan, study
from xfer.testing.numpy_backend import NumpyBackend
from xfer.training.resume import identity
from xfer.training.run import prepare, train
from xfer.training.state import write_state

LOG = "logs/numpy-1.log"
NAMES = ["head-numpy-0", "head-numpy-1", "all-numpy-0", "all-numpy-1"]


@pytest.fixture
def undrawn(monkeypatch, finished):
    """No figure of a study is drawn in this process, but for that of the study that all tests share."""
    monkeypatch.setattr("xfer.studies.study.draw", lambda groups, folder, earlier: [])


def test_a_study_trains_what_its_file_names(finished, folder):
    output, results = finished
    assert [run.folder for run in results.runs] == [f"runs/{name}" for name in NAMES]
    assert [(row.mode, row.backend, row.seeds) for row in results.rows] == [
        ("head", "numpy", (0, 1)),
        ("all", "numpy", (0, 1)),
    ]
    assert any(run.last_accuracy < run.accuracy for run in results.runs), (
        "this test needs a last epoch that is not best"
    )
    for row, seeds in zip(results.rows, (results.runs[:2], results.runs[2:]), strict=True):
        assert row.accuracy == pytest.approx(np.mean([run.accuracy for run in seeds]))
        assert row.last_accuracy == pytest.approx(np.mean([run.last_accuracy for run in seeds]))
        assert row.best == max(run.accuracy for run in seeds)
        for run in seeds:
            result = json.loads((output / run.folder / "result.json").read_text())
            rows = [json.loads(line) for line in (output / run.folder / "metrics.jsonl").read_text().splitlines()]
            assert (run.accuracy, run.seconds, run.seed) == (
                result["val_accuracy"],
                result["seconds_total"],
                result["seed"],
            )
            assert run.last_accuracy == rows[-1]["val_accuracy"]
            assert run.jobs == 1
            assert json.loads((output / run.folder / "env.json").read_text())["command"] == "a study"


def test_a_run_of_a_study_is_the_run_of_its_recipe(finished, folder, tmp_path):
    output, _ = finished
    run = xfer.train(folder / "recipe.toml", NumpyBackend(), output=tmp_path / "r", seed=1, train_from="stem", epochs=4)
    there = json.loads((output / "runs" / "all-numpy-1" / "result.json").read_text())
    same = ("batches_digest", "weights_digest", "val_accuracy", "val_loss")
    assert [run.result[key] for key in same] == [there[key] for key in same]


def test_pairs_are_tested_on_what_the_runs_predicted(finished):
    output, results = finished
    (pair,) = results.pairs
    assert results.rows[0].accuracy < results.rows[1].accuracy, "these tests need rows that differ"
    right = {}
    for name in NAMES:
        with (output / "runs" / name / "predictions.csv").open(encoding="utf-8", newline="") as file:
            rows = sorted(csv.DictReader(file), key=lambda row: row["file"])
        right[name] = np.array([row["label"] == row["predicted"] for row in rows], int)
        right[name + " said"] = np.array([row["predicted"] for row in rows])
    a, b = ([right[f"{mode}-numpy-{seed}"] for seed in (0, 1)] for mode in ("head", "all"))
    assert pair.difference == pytest.approx(np.mean(b) - np.mean(a))
    assert (pair.n, pair.seeds) == (20, (0, 1))
    same = sum((right[f"head-numpy-{s} said"] == right[f"all-numpy-{s} said"]).sum() for s in (0, 1))
    assert pair.same == same
    assert pair.difference == pytest.approx(results.rows[1].accuracy - results.rows[0].accuracy)


def stamps(output):
    return {path: path.stat().st_mtime_ns for path in (output / "runs").rglob("*") if path.is_file()}


def copied(finished, tmp_path):
    shutil.copytree(finished[0], tmp_path / "out")
    return tmp_path / "out"


def ended(folder, output, **flags):
    """What happened to each run, and the results."""
    *runs, results = events(read_plan(folder / "study.toml"), output, **flags)
    assert all(isinstance(event, Ended) for event in runs)
    return {event.run.name: (event.before, event.reason) for event in runs}, results


@pytest.mark.usefixtures("undrawn")
def test_what_is_done_is_not_done_again(finished, folder, tmp_path):
    output = copied(finished, tmp_path)
    before, again = stamps(output), ended(folder, output)
    assert stamps(output) == before
    assert again == (dict.fromkeys(NAMES, (True, None)), finished[1])
    assert json.loads((output / "study.json").read_text()) == again[1].as_json()


@pytest.mark.usefixtures("undrawn")
def test_what_is_gone_or_half_done_is_done_again_alone(finished, folder, tmp_path):
    output = copied(finished, tmp_path)
    gone, half = (output / "runs" / name for name in ("all-numpy-0", "head-numpy-1"))
    shutil.rmtree(gone)
    (half / "result.json").unlink()  # as where a run was cut off
    before = stamps(output)
    runs, results = ended(folder, output)
    assert {name for name, (there, _) in runs.items() if not there} == {gone.name, half.name}
    changed = [path for path, stamp in stamps(output).items() if before.get(path) != stamp]
    assert {path.relative_to(output / "runs").parts[0] for path in changed} == {gone.name, half.name}
    assert [row.accuracy for row in results.rows] == [row.accuracy for row in finished[1].rows]
    assert results.pairs == finished[1].pairs


@pytest.mark.usefixtures("undrawn")
def test_a_run_that_was_cut_off_goes_on_and_one_that_cannot_is_done_anew(finished, folder, tmp_path):
    output = copied(finished, tmp_path)
    stopped, damaged = (output / "runs" / name for name in ("all-numpy-0", "head-numpy-1"))
    prepared = prepare(read_recipe(stopped), NumpyBackend())
    steps = train(prepared)
    for _ in range(3):
        event = next(steps)
    write_state(stopped / STATE, event.state(), identity(prepared))
    (damaged / STATE).write_bytes(b"torn")
    for path in (stopped, damaged):
        (path / "result.json").unlink()
    _, results = ended(folder, output)
    assert results.pairs == finished[1].pairs
    assert [len(json.loads((path / "result.json").read_text())["resumed"]) for path in (stopped, damaged)] == [1, 0]


def test_a_run_of_another_recipe_is_refused_before_anything_is_done(finished, folder, tmp_path):
    output = copied(finished, tmp_path)
    shutil.rmtree(output / "runs" / "head-numpy-0")
    before = stamps(output)
    plan = read_plan(folder / "study.toml", overrides={"epochs": 3})
    with pytest.raises(CheckpointError, match=r"train\.epochs = 2, wanted 3.*Cure: another --output, or --overwrite"):
        next(iter(events(plan, output)))
    with pytest.raises(CheckpointError, match="device = cpu, wanted cuda"):
        next(iter(events(read_plan(folder / "study.toml"), output, device="cuda:1")))
    assert stamps(output) == before
    assert processes.is_done(plan.runs[1], output / "runs" / "head-numpy-1", "auto", overwrite=True) is False
    (output / "runs" / "head-numpy-1" / "config.toml").unlink()
    with pytest.raises(CheckpointError, match="which cannot be read"):
        next(iter(events(read_plan(folder / "study.toml"), output)))


@pytest.mark.parametrize("device", ["auto", "cpu", "cpu:0"])
def test_a_run_on_the_wanted_kind_of_device_is_done(device, finished, folder):
    plan = read_plan(folder / "study.toml")
    assert all(processes.is_done(run, finished[0] / "runs" / run.name, device) for run in plan.runs)


def xfer_(*words, code=0):
    result = CliRunner().invoke(main, [str(word) for word in words])
    assert result.exit_code == code, result.output + result.stderr + str(result.exception)
    return result


@pytest.mark.usefixtures("undrawn")
def test_the_command_says_what_was_done_and_what_it_shows(finished, folder, tmp_path):
    output = copied(finished, tmp_path)
    lines = xfer_("study", folder / "study.toml", "--output", output).stdout
    for number, run in enumerate(finished[1].runs, start=1):
        line = (
            f"[{number}/4] {run.mode} on numpy, seed {run.seed}: {run.accuracy:.2%} in {run.seconds:.1f} s, done before"
        )
        assert line in lines
    assert (output / "study.md").read_text() in lines
    assert "not comparable" not in lines
    content = json.loads(xfer_("study", folder / "study.toml", "--output", output, "--json").stdout)
    assert content == json.loads((output / "study.json").read_text())
    quiet = xfer_("study", folder / "study.toml", "--output", output, "--quiet").stdout
    assert quiet.startswith("\n# two\n")


def test_files_of_a_study_are_whole(finished):
    output, _ = finished
    for name in ("accuracy", "accuracy_head", "accuracy_all"):
        with Image.open(output / "plots" / f"{name}.png") as picture:
            assert len(set(picture.convert("L").resize((32, 32)).tobytes())) > 5
    page = (output / "report.html").read_text()
    assert page.count("data:image/png;base64,") == 3
    assert "{" not in page.split("</style>")[1]
    assert not list(output.rglob("*.part"))


@pytest.mark.usefixtures("undrawn")
def test_a_failed_run_is_told_and_the_others_go_on(finished, folder, tmp_path):
    output = copied(finished, tmp_path)
    shutil.rmtree(output / "runs" / "head-numpy-1")
    text = (folder / "study.toml").read_text()
    text += '\n[modes.lost]\nrecipe = "recipe.toml"\nseeds = 1\nset = { data.source = "nowhere" }\n'
    text += '\n[modes.killed]\nrecipe = "recipe.toml"\nbackends = ["dying"]\n'
    (folder / "failing.toml").write_text(text)
    result = xfer_("study", folder / "failing.toml", "--output", output, "--overwrite", code=1)
    assert "lost on numpy, seed 0: failed: data = 'nowhere'" in result.stdout
    died = "failed: the process of backend 'dying' died with exit code 7: some fault"
    assert result.stdout.count(died) == 4  # as each ends, and at the end
    content = json.loads((output / "study.json").read_text())
    assert [(run["mode"], run["seed"]) for run in content["failed"]] == [("lost", 0), ("killed", 0), ("killed", 1)]
    assert [row["seeds"] for row in content["rows"]] == [[0, 1], [0, 1]]
    assert result.stderr == ""


@pytest.mark.usefixtures("undrawn")
def test_several_jobs_give_the_same_and_say_that_they_shared_the_machine(finished, folder, tmp_path):
    results = study(folder / "study.toml", output=tmp_path / "out", jobs=2, seeds=1)
    assert [run.jobs for run in results.runs] == [2, 2]
    assert [run.accuracy for run in results.runs] == [run.accuracy for run in finished[1].runs if run.seed == 0]
    assert "these seconds are not comparable" in (tmp_path / "out" / "study.md").read_text()
    # A later call with one job does not forget it.
    assert study(folder / "study.toml", output=tmp_path / "out", seeds=1).rows[1].shared_machine


@pytest.mark.usefixtures("undrawn")
@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="processes are looked up in /proc")
def test_an_interrupted_study_leaves_no_process_and_keeps_what_is_done(finished, folder, tmp_path):
    output = copied(finished, tmp_path)
    for name in ("head-numpy-1", "all-numpy-0", "all-numpy-1"):
        shutil.rmtree(output / "runs" / name)
    words = ["study", str(folder / "study.toml"), "--output", str(output)]
    code = f"from xfer.cli.main import main; main({words!r})"
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert "done before" in process.stdout.readline()
    deadline = time.monotonic() + 60
    while not (output / "runs" / "head-numpy-1" / "config.toml").exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    workers = [int(pid) for pid in children(process.pid)]
    assert len(workers) == 1
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=30)
    assert (process.returncode, errors) == (130, "interrupted\n")
    assert not any(alive(pid) for pid in workers)
    assert (output / "runs" / "head-numpy-0" / "result.json").exists()
    runs, _ = ended(folder, output)
    assert runs == {name: (name == "head-numpy-0", None) for name in NAMES}


def children(pid):
    """The processes that any thread of a process has started."""
    return [child for task in Path(f"/proc/{pid}/task").iterdir() for child in (task / "children").read_text().split()]


def alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_a_folder_of_something_else_is_refused_and_its_files_stay(finished, folder, tmp_path):
    def refused(output, match, **flags):
        before = {path: path.read_bytes() for path in output.rglob("*") if path.is_file()}
        with pytest.raises(CheckpointError, match=match):
            next(iter(events(read_plan(folder / "study.toml"), output, **flags)))
        assert {path: path.read_bytes() for path in output.rglob("*") if path.is_file()} == before

    for name in ("notes.txt", "report.html", "study.json", "plots/accuracy_head.png", "plots/mine.png", LOG):
        file = tmp_path / name.replace("/", "_") / name
        file.parent.mkdir(parents=True)
        file.write_text("mine")
        refused(tmp_path / name.replace("/", "_"), "Cure: another --output")
    for name in ("report.html", "study.json", "plots_accuracy_head.png", LOG.replace("/", "_")):
        refused(tmp_path / name, "is of no study, and would be replaced", overwrite=True)


@pytest.mark.parametrize(
    ("runs", "field"),
    [
        ([{}], "runs.0.mode is missing"),
        ([{"mode": "head"}, {"made": "all"}], "runs.1.mode is missing"),
        ([{"mode": 5}], "runs.0.mode = 5"),
        ([{"mode": "/../../mine"}], "runs.0.mode"),
        (["head"], "runs.0 = 'head'"),
        ({"mode": "head"}, "runs = "),
        (None, "runs = None"),
    ],
)
def test_a_study_by_hand_is_one_line_that_names_the_field(finished, folder, tmp_path, runs, field):
    output = copied(finished, tmp_path)
    content = json.loads((output / "study.json").read_text())
    (output / "study.json").write_text(json.dumps(content | {"runs": runs}))
    before = stamps(output)
    result = xfer_("study", folder / "study.toml", "--output", output, code=2)
    assert f"study.json: {field}" in result.stderr
    assert result.stderr.count("\n") == 1
    assert stamps(output) == before


def test_a_study_that_was_killed_before_its_first_run_begins_anew(finished, folder, tmp_path):
    output, _ = finished
    (tmp_path / "out" / "logs").mkdir(parents=True)
    shutil.copy(output / LOG, tmp_path / "out" / LOG)
    assert "xfer.training.worker numpy" in (output / LOG).read_text().splitlines()[0]
    next(iter(events(read_plan(folder / "study.toml"), tmp_path / "out")))


def test_files_beside_a_study_stay_and_pictures_of_earlier_modes_go(finished, folder, tmp_path):
    output = copied(finished, tmp_path)
    for name in ("notes.txt", "plots/accuracy_mine.png", "runs/mine.txt"):
        (output / name).write_text("mine")
    text = (folder / "study.toml").read_text().split("[modes.all]")[0]
    (folder / "head.toml").write_text(text)
    xfer_("study", folder / "head.toml", "--output", output)
    assert {path.name for path in (output / "plots").iterdir()} == {
        "accuracy.png",
        "accuracy_head.png",
        "accuracy_mine.png",
    }
    assert [(output / name).read_text() for name in ("notes.txt", "runs/mine.txt")] == ["mine", "mine"]


def test_a_study_that_was_killed_goes_on_beside_what_was_there(finished, folder, tmp_path):
    output = copied(finished, tmp_path)
    for name in ("study.json", "study.md", "report.html"):
        (output / name).unlink()
    shutil.rmtree(output / "plots")
    xfer_("study", folder / "study.toml", "--output", output)
    (output / "study.json").unlink()
    shutil.rmtree(output / "plots")
    for name in ("study.md", "report.html"):
        (output / name).unlink()
    (output / "notes.txt").write_text("mine")
    assert "holds notes.txt, but no study" in xfer_("study", folder / "study.toml", "-o", output, code=2).stderr
    xfer_("study", folder / "study.toml", "--output", output, "--overwrite")
    assert (output / "notes.txt").read_text() == "mine"


def in_training(folder, output):
    """A study in a process of its own that trains its first run, and the worker's number."""
    words = ["study", str(folder / "study.toml"), "--output", str(output), "--seeds", "1"]
    code = f"from xfer.cli.main import main; main({words!r})"
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 600
    while not list(output.glob("runs/*/config.toml")):
        assert time.monotonic() < deadline
        assert process.poll() is None, process.communicate()
        time.sleep(0.01)
    (worker,) = map(int, children(process.pid))
    return process, worker


@pytest.mark.usefixtures("undrawn")
@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="processes are looked up in /proc")
def test_a_killed_study_leaves_no_orphan_and_the_second_call_goes_on(finished, folder, tmp_path):
    process, worker = in_training(folder, tmp_path / "out")
    process.kill()
    process.communicate()
    deadline = time.monotonic() + 10
    while alive(worker) and "Z" not in Path(f"/proc/{worker}/stat").read_text().rpartition(")")[2][:3]:
        assert time.monotonic() < deadline, "it trains on"
        time.sleep(0.01)
    assert (tmp_path / "out" / "study.lock").exists()
    runs = study(folder / "study.toml", output=tmp_path / "out", seeds=1).runs
    assert [run.accuracy for run in runs] == [run.accuracy for run in finished[1].runs if run.seed == 0]
    assert not (tmp_path / "out" / "study.lock").exists()


@pytest.mark.usefixtures("undrawn")
@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="processes are looked up in /proc")
def test_a_killed_worker_is_one_line_and_the_other_runs_go_on(folder, tmp_path):
    process, worker = in_training(folder, tmp_path / "out")
    os.kill(worker, signal.SIGKILL)
    stdout, stderr = process.communicate(timeout=600)
    (line,) = [line for line in stdout.splitlines() if line.startswith("[") and "failed" in line]
    assert "the process of backend 'numpy' was killed by SIGKILL, as by a system that is out of memory" in line
    assert (process.returncode, stderr) == (1, "")
    assert [path.parent.name for path in (tmp_path / "out").glob("runs/*/result.json")] == ["all-numpy-0"]
    assert study(folder / "study.toml", output=tmp_path / "out", seeds=1).failed == ()


@pytest.mark.usefixtures("undrawn")
def test_a_study_that_is_asked_twice_is_refused_with_the_holder_named(finished, folder, tmp_path):
    output = copied(finished, tmp_path)
    shutil.rmtree(output / "runs" / "head-numpy-1")
    first = events(read_plan(folder / "study.toml"), output)
    next(first)
    with pytest.raises(CheckpointError, match=rf"study\.lock: is held by process {os.getpid()} on .*Cure"):
        next(events(read_plan(folder / "study.toml"), output))
    first.close()
    assert not (output / "study.lock").exists()
    assert ended(folder, output)[0]["head-numpy-1"] == (False, None)


@pytest.mark.usefixtures("undrawn")
@pytest.mark.parametrize("missing", ["predictions.csv", "metrics.jsonl", "the end"])
def test_a_run_that_is_not_whole_is_not_done(finished, folder, tmp_path, missing):
    output = copied(finished, tmp_path)
    path = output / "runs" / "head-numpy-1"
    if missing == "the end":  # killed behind its result, before the pictures
        prepared = prepare(read_recipe(path), NumpyBackend())
        *_, event = train(prepared)
        write_state(path / STATE, event.state(), identity(prepared))
        shutil.rmtree(path / "plots")
    else:
        (path / missing).unlink()
    assert ended(folder, output)[0] == {name: (name != path.name, None) for name in NAMES}
    assert (path / "plots" / "curves.png").exists()
    assert not (path / STATE).exists()
    assert ended(folder, output)[0] == dict.fromkeys(NAMES, (True, None))
