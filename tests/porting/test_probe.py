"""What is measured of one backend: the steps, their gradients, the head, and how it crosses between processes."""

import dataclasses
import math

import numpy as np
import pytest
from calling import Calling
from faults import TASK

from xfer.backend import OptimizerSpec
from xfer.nets.freeze import FreezePolicy, resolve
from xfer.porting import task as task_file
from xfer.porting.differences import compare
from xfer.porting.probe import measure
from xfer.porting.subject import GRADIENT_LR, subject_of
from xfer.testing.delegate import Delegate
from xfer.testing.numpy_backend import TINY, NumpyBackend

READ = {
    "freeze": (task_file.REST_LOSS, task_file.REST_GRADIENTS),
    "follow": (task_file.LOSS, task_file.GRADIENTS),
}


def test_the_steps_that_are_taken():
    """With the statistics at rest, with the batch's, the training, and twice for an update; in batches of 4 alone."""
    taken = []

    class Listener(Delegate):
        def make_train_step(self, model, optimizer, loss, groups, start, cut):
            step = self.inner.make_train_step(model, optimizer, loss, groups, start, cut)
            decays = {group.weight_decay for group in groups.trainable}
            assert decays == ({0, 0.01} if optimizer.momentum else {0})

            def listened(parts, lrs):
                taken.append((optimizer.momentum, bool(groups.updating), len(parts[0].targets), lrs[0]))
                return step(parts, lrs)

            return Calling(step, listened)

    measure(Listener(NumpyBackend()), "cpu", TASK)
    assert taken == [
        *[(0, follow, 4, GRADIENT_LR) for follow in (False, True)],
        *[(0.9, True, 4, rate) for rate in (1e-3, 1e-3, 1e-3, 0, GRADIENT_LR)],
    ]


@pytest.mark.parametrize("norm_stats", ["freeze", "follow"])
def test_gradients_are_those_of_the_loss(norm_stats):
    """Against the slope of the loss itself, along the gradient."""
    subject = subject_of(NumpyBackend(), "cpu", TASK)
    start, loss_of, gradients_of = subject.first, *READ[norm_stats]
    gradients = subject.gradients(start)[gradients_of]
    length = math.sqrt(sum((g**2).sum() for g in gradients.values()))
    losses = []
    for way in (1e-3, -1e-3):
        moved = start | {n: (start[n] + way * g / length).astype(np.float32) for n, g in gradients.items()}
        losses.append(subject.gradients(moved)[loss_of]["loss"][0])
    assert (losses[0] - losses[1]) / 2e-3 == pytest.approx(length, rel=1e-2)


def test_gradients_keep_the_digits_of_float32():
    """Against a step at an ordinary rate, in whose difference most digits of a small gradient are lost."""
    subject = subject_of(NumpyBackend(), "cpu", TASK)
    net, start, batch = subject.net, subject.first, subject.batches[0]
    gradients = subject.gradients(start)[task_file.REST_GRADIENTS]
    net.load(start)
    groups = resolve(FreezePolicy("stem", "freeze"), TINY, list(start))
    # An Adam's first moment is a tenth of the gradient, and was never subtracted from a weight.
    step = net.train_step(OptimizerSpec("adam"), groups)
    step([batch], [0.0])
    for name, gradient in gradients.items():
        moment = 10 * step.export_state()[f"m:{name}"].astype(np.float64)
        assert np.abs(gradient - moment).max() < 1e-6 * np.abs(moment).max()


def test_the_head_is_the_files_unless_classes_are_given():
    weights = measure(NumpyBackend(), "cpu", TASK).arrays[task_file.START]
    task = dataclasses.replace(TASK, weights=weights, seed=1)
    kept, fresh = (
        measure(NumpyBackend(), "cpu", dataclasses.replace(task, classes=n)).arrays[task_file.START] for n in (None, 3)
    )
    assert np.array_equal(kept["fc.weight"], weights["fc.weight"])
    assert fresh["fc.weight"].shape == (3, 16)
    assert np.array_equal(fresh["stem.weight"], weights["stem.weight"])


def test_tasks_and_measurements_survive_the_way_between_processes(tmp_path):
    measurement = measure(NumpyBackend(), "cpu", TASK)
    task = dataclasses.replace(TASK, weights=measurement.arrays[task_file.START], source="a/b", mean=(0.1, 0.2, 0.3))
    task_file.write_task(tmp_path / "task", task)
    task_file.write_measurement(tmp_path / "result", measurement)
    again = compare(measurement, task_file.read_measurement(tmp_path / "result"), (TASK, TASK), 1e-4)
    assert all(row.max_abs == 0 for row in again.rows)
    assert len(again.rows) == sum(map(len, measurement.arrays.values()))
    read = task_file.read_task(tmp_path / "task")
    assert np.array_equal(read.images, TASK.images)
    assert read.weights.keys() == task.weights.keys()
    assert (read.source, read.mean, read.batch_size, read.steps) == ("a/b", (0.1, 0.2, 0.3), 4, 3)


class Counting(Delegate):
    def __init__(self, inner):
        super().__init__(inner)
        self.built = self.loaded = 0

    def build(self, spec, device):
        self.built += 1
        return self.inner.build(spec, device)

    def import_weights(self, model, weights):
        self.loaded += "stem.weight" in weights
        self.inner.import_weights(model, weights)


def test_the_reference_is_measured_once_where_nothing_is_beyond_the_tolerance():
    counting, task = Counting(NumpyBackend()), dataclasses.replace(TASK, draws=3, tolerance=1e-4)
    other = measure(NumpyBackend(), "cpu", TASK)
    once = measure(counting, "cpu", task, other)
    assert (counting.built, counting.loaded, once.floors) == (1, 5, {})
    report = compare(once, other, (task, TASK), 1e-4)
    assert report.passes
    assert all(point.judged for point in report.curve)
    measure(counting, "cpu", task)
    assert (counting.built, counting.loaded) == (2, 5 + 5 + 3 * (4 + 3))


@pytest.mark.parametrize("what", [task_file.ACTIVATIONS, task_file.GRADIENTS, task_file.UPDATE, "losses"])
def test_one_difference_is_enough_for_floors_to_be_measured(what):
    task, other = dataclasses.replace(TASK, draws=1, tolerance=1e-4), measure(NumpyBackend(), "cpu", TASK)
    if what == "losses":
        other.losses[-1] *= 1.01
    else:
        next(iter(other.arrays[what].values()))[:] *= 1.01
    assert measure(NumpyBackend(), "cpu", task, other).floors
