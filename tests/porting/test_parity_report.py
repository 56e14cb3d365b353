"""What is measured of one backend, and how two measurements are judged: on the NumPy backend, in this process."""

import dataclasses
import json
import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from xfer.archs import LOGITS
from xfer.backend import Batch, LossSpec, OptimizerSpec
from xfer.cli.main import main
from xfer.errors import BackendError, WeightsError
from xfer.formats.files import write_weights
from xfer.porting import differences, parity
from xfer.porting import probe as parity_probe
from xfer.porting.differences import compare
from xfer.porting.parity import noise
from xfer.porting.probe import Task, measure
from xfer.testing.delegate import Delegate
from xfer.testing.numpy_backend import TINY, NumpyBackend

TASK = Task("tiny", noise(10, 16, seed=0), batch_size=4, steps=3)


class Stage(Delegate):
    """What leaves one stage is rolled by one element, in everything that passes through it."""

    def __init__(self, inner, broken):
        super().__init__(inner)
        self.broken = broken

    def make_predict_step(self, model, start, stop):
        stages = (*TINY.stage_names, LOGITS)
        cut = stages[stages.index(self.broken) + 1]
        if stages.index(stop) < stages.index(cut):
            return self.inner.make_predict_step(model, start, stop)
        before = self.inner.make_predict_step(model, start, cut)
        if stop == cut:
            return lambda inputs: np.roll(before(inputs), 1, axis=1)
        behind = self.inner.make_predict_step(model, cut, stop)
        return lambda inputs: behind(np.roll(before(inputs), 1, axis=1))


class Step(Delegate):
    """After each step, the weights that `fault` has changed."""

    def __init__(self, inner, fault):
        super().__init__(inner)
        self.fault = fault

    def make_train_step(self, model, optimizer, loss, groups, start):
        step = self.inner.make_train_step(model, optimizer, loss, groups, start)

        def broken(batch, lrs):
            before = self.export_weights(model)
            result = step(batch, lrs)
            self.import_weights(model, self.fault(before, self.export_weights(model), groups))
            return result

        return broken


def report(backend, task=TASK, tolerance=1e-4):
    measurements = measure(NumpyBackend(), "cpu", task), measure(backend, "cpu", task)
    return compare(*measurements, (task, task), tolerance)


@pytest.fixture
def in_this_process(monkeypatch):
    """Runs NumPy in place of any backend, through the files that processes exchange."""

    def here(backend, device, task):
        measurement = measure(FAKES.get(backend, NumpyBackend()), "cpu", task)
        return dataclasses.replace(measurement, backend=backend)

    monkeypatch.setattr(parity, "measure_in_own_process", here)


FAKES = {"shifted": Stage(NumpyBackend(), "layer1")}


def test_a_backend_is_the_same_as_itself():
    same = report(NumpyBackend())
    assert same.passes
    assert same.first_difference is None
    assert (same.top1_agree, same.images) == (10, 10)
    assert {row.what for row in same.rows if row.judged} == set(differences.JUDGED)
    assert all(row.max_abs == row.mean_abs == row.relative == row.squared == 0 for row in same.rows)
    assert all(row.cosine == pytest.approx(1) for row in same.rows)


@pytest.mark.parametrize("stage", TINY.stage_names)
def test_the_first_stage_that_differs_is_named(stage):
    parity_report = report(Stage(NumpyBackend(), stage))
    assert not parity_report.passes
    assert parity_report.first_difference.stage == stage
    off = {
        row.stage for row in parity_report.rows if row.what in (parity_probe.ACTIVATIONS, "logits") and not row.passes
    }
    assert off == set(TINY.stage_names[TINY.stage_names.index(stage) :])


def scaled(names, factor):
    """A gradient that is too large in some weights."""
    return lambda before, after, groups: {
        n: (before[n] + factor * (w - before[n]) if n in names else w) for n, w in after.items()
    }


def test_of_gradients_the_one_nearest_the_loss_is_named():
    wrong = scaled({"stem.weight", "layer1.weight"}, 1.1)
    first = report(Step(NumpyBackend(), wrong)).first_difference
    assert (first.what, first.stage) == (parity_probe.REST_GRADIENTS, "layer1")
    assert report(Step(NumpyBackend(), scaled({"stem.weight"}, 1.1))).first_difference.stage == "stem"


def test_statistics_that_follow_too_fast_are_found():
    wrong = scaled({"norm1.running_var"}, 2.0)
    first = report(Step(NumpyBackend(), wrong)).first_difference
    assert (first.what, first.tensor) == (parity_probe.STATISTICS, "norm1.running_var")


def test_what_differs_only_after_many_steps_is_reported_and_not_judged():
    class Late(Delegate):
        def make_train_step(self, model, optimizer, loss, groups, start):
            step, count = self.inner.make_train_step(model, optimizer, loss, groups, start), iter(range(100))

            def second_is_wrong(batch, lrs):
                return step(batch, [rate * (1 + (next(count) == 1)) for rate in lrs])

            return second_is_wrong

    late = report(Late(NumpyBackend()))
    apart = {row.what for row in late.rows if row.max_abs > 0}
    assert apart == {parity_probe.after(3)}
    assert late.passes


def test_the_steps_that_are_taken():
    """One with the statistics at rest, one with the batch's, and then the training; in full batches of 4 alone."""
    taken = []

    class Listener(Delegate):
        def make_train_step(self, model, optimizer, loss, groups, start):
            step = self.inner.make_train_step(model, optimizer, loss, groups, start)
            assert groups.trainable[0].weight_decay == 0

            def listened(batch, lrs):
                taken.append((optimizer.momentum, bool(groups.updating), len(batch.labels), lrs[0] > 1))
                return step(batch, lrs)

            return listened

    measure(Listener(NumpyBackend()), "cpu", TASK)
    assert taken == [(0, False, 4, True), (0, True, 4, True), *[(0.9, True, 4, False)] * 3]


@pytest.mark.parametrize("norm_stats", ["freeze", "follow"])
def test_gradients_are_those_of_the_loss(norm_stats):
    """Against the slope of the loss itself, along the gradient."""
    backend, arch = NumpyBackend(), TINY
    model, start, classes = parity_probe._model(backend, "cpu", arch, TASK)
    batch = parity_probe._batches(TASK, classes)[0]
    _, gradients = parity_probe._gradients(backend, model, arch, start, batch, norm_stats)
    length = math.sqrt(sum((g**2).sum() for g in gradients.values()))
    losses = []
    for way in (1e-3, -1e-3):
        moved = start | {n: (start[n] + way * g / length).astype(np.float32) for n, g in gradients.items()}
        losses.append(parity_probe._gradients(backend, model, arch, moved, batch, norm_stats)[0]["loss"][0])
    assert (losses[0] - losses[1]) / 2e-3 == pytest.approx(length, rel=1e-2)


def test_gradients_keep_the_digits_of_float32():
    """Against a step at an ordinary rate, in whose difference most digits of a small gradient are lost."""
    backend, arch = NumpyBackend(), TINY
    model, start, classes = parity_probe._model(backend, "cpu", arch, TASK)
    batch = parity_probe._batches(TASK, classes)[0]
    _, gradients = parity_probe._gradients(backend, model, arch, start, batch, "freeze")
    backend.import_weights(model, start)
    groups = parity_probe.resolve(parity_probe.FreezePolicy("stem", "freeze"), arch, list(start))
    # An Adam's first moment is a tenth of the gradient, and was never subtracted from a weight.
    step = backend.make_train_step(model, OptimizerSpec("adam"), LossSpec(), groups, "stem")
    step(Batch(batch.inputs, batch.labels), [0.0])
    for name, gradient in gradients.items():
        moment = 10 * step.export_state()[f"m:{name}"].astype(np.float64)
        assert np.abs(gradient - moment).max() < 1e-6 * np.abs(moment).max()


def rows(a, b, quantity=parity_probe.ACTIVATIONS):
    return list(
        differences.compare_arrays(quantity, {"x": np.array(a, float)}, {"x": np.array(b, float)}, {"x": "stem"}, 1e-4)
    )


def test_figures_of_a_row():
    (row,) = rows([3, -4, 0], [3, -4.5, 0.5])
    assert (row.max_abs, row.mean_abs, row.relative, row.squared) == pytest.approx((0.5, 1 / 3, 0.125, 0.02))
    assert row.cosine == pytest.approx(27 / (5 * math.sqrt(9 + 20.25 + 0.25)))
    assert not row.passes


@pytest.mark.parametrize(
    ("a", "b", "passes"),
    [
        ([0.0], [0.0], True),
        ([0.0], [1e-30], False),
        ([1.0], [1.00009], True),
        ([1.0], [1.00011], False),
        ([math.nan], [1.0], False),
        ([1.0], [math.nan], False),
        ([math.inf], [math.inf], False),
    ],
)
def test_verdicts(a, b, passes):
    assert rows(a, b)[0].passes is passes


def test_gradients_may_jump_in_one_element_but_not_altogether():
    many = np.ones(10_000)
    jump = many + 0.5 * (np.arange(10_000) == 7)
    for quantity, passes in ((parity_probe.REST_GRADIENTS, True), (parity_probe.ACTIVATIONS, False)):
        assert rows(many, jump, quantity)[0].passes is passes
    assert not rows(many, 1.06 * many, parity_probe.REST_GRADIENTS)[0].passes
    assert not rows(many, -many, parity_probe.REST_GRADIENTS)[0].passes


def test_the_worst_tensor_of_each_stage_stands_for_it():
    parity_report = report(Step(NumpyBackend(), scaled({"stem.bias"}, 1.5)))
    worst = {(row.what, row.stage): row.tensor for row in parity_report.worst()}
    assert worst[parity_probe.REST_GRADIENTS, "stem"] == "stem.bias"
    assert len(worst) == len({(row.what, row.stage) for row in parity_report.rows})


def test_tasks_and_measurements_survive_the_way_between_processes(tmp_path):
    measurement = measure(NumpyBackend(), "cpu", TASK)
    task = dataclasses.replace(TASK, weights=measurement.arrays[parity_probe.START], source="a/b", mean=(0.1, 0.2, 0.3))
    parity_probe.write_task(tmp_path / "task", task)
    parity_probe.write_measurement(tmp_path / "result", measurement)
    again = compare(measurement, parity_probe.read_measurement(tmp_path / "result"), (TASK, TASK), 1e-4)
    assert all(row.max_abs == 0 for row in again.rows)
    assert len(again.rows) == sum(map(len, measurement.arrays.values()))
    read = parity_probe.read_task(tmp_path / "task")
    assert np.array_equal(read.images, TASK.images)
    assert read.weights.keys() == task.weights.keys()
    assert (read.source, read.mean, read.batch_size, read.steps) == ("a/b", (0.1, 0.2, 0.3), 4, 3)


def test_noise_is_smooth_and_repeats():
    a = noise(2, 64, seed=3)
    assert np.array_equal(a, noise(2, 64, seed=3))
    assert not np.array_equal(a, noise(2, 64, seed=4))
    assert np.abs(np.diff(a.astype(float), axis=1)).max() < 100
    assert a.astype(float).std() > 30


# The command


def run(*words):
    return CliRunner().invoke(main, ["parity", "--arch", "tiny", "--size", "16", *map(str, words)])


RANDOM = ("--weights", "random", "--batch-size", 4, "--steps", 2)


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


@pytest.mark.usefixtures("in_this_process")
def test_json_holds_every_tensor():
    content = json.loads(run(*RANDOM, "--backends", "numpy,other", "--json").stdout)
    assert content["passes"] is True
    assert len(content["rows"]) > len({(row["what"], row["stage"]) for row in content["rows"]})
    assert [side["backend"] for side in content["sides"]] == ["numpy", "other"]


@pytest.fixture
def files(tmp_path):
    """Two files of the same weights."""
    weights = measure(NumpyBackend(), "cpu", TASK).arrays[parity_probe.START]
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
    assert f"first difference: layer1 ({parity_probe.START}, layer1.weight" in result.stdout


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


def test_the_head_is_the_files_unless_classes_are_given(files):
    weights, *_ = files
    task = dataclasses.replace(TASK, weights=weights, seed=1)
    kept, fresh = (
        measure(NumpyBackend(), "cpu", dataclasses.replace(task, classes=n)).arrays[parity_probe.START]
        for n in (None, 3)
    )
    assert np.array_equal(kept["fc.weight"], weights["fc.weight"])
    assert fresh["fc.weight"].shape == (3, 16)
    assert np.array_equal(fresh["stem.weight"], weights["stem.weight"])


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
        parity.subprocess,
        "run",
        lambda _, _run=subprocess.run, **kwargs: _run([sys.executable, "-c", code], **kwargs),
    )
    with pytest.raises(kind, match=message):
        parity.measure_in_own_process("x", "cpu", TASK)


def test_the_answer_of_a_process_that_died_is_not_believed(monkeypatch):
    def dies(command, **kwargs):
        parity_probe.write_measurement(Path(command[-1]), measure(NumpyBackend(), "cpu", TASK))
        return subprocess.CompletedProcess(command, -11, "", "Segmentation fault")

    monkeypatch.setattr(parity.subprocess, "run", dies)
    with pytest.raises(BackendError, match="died with exit code -11: Segmentation fault"):
        parity.measure_in_own_process("x", "cpu", TASK)


def test_an_unknown_backend_is_refused_by_its_own_process():
    with pytest.raises(BackendError, match="backend = 'nonesuch': expected one of"):
        parity.measure_in_own_process("nonesuch", "auto", TASK)
