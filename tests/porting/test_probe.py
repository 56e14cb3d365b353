"""What is measured of one backend: the steps, their gradients, the head, and how it crosses between processes."""

import dataclasses
import math

import numpy as np
import pytest
from faults import TASK

from xfer.backend import OptimizerSpec
from xfer.porting import probe
from xfer.porting import task as task_file
from xfer.porting.differences import compare
from xfer.porting.probe import measure
from xfer.testing.delegate import Delegate
from xfer.testing.numpy_backend import TINY, NumpyBackend


def test_the_steps_that_are_taken():
    """One with the statistics at rest, one with the batch's, and then the training; in full batches of 4 alone."""
    taken = []

    class Listener(Delegate):
        def make_train_step(self, model, optimizer, loss, groups, start, cut):
            step = self.inner.make_train_step(model, optimizer, loss, groups, start, cut)
            assert groups.trainable[0].weight_decay == 0

            def listened(parts, lrs):
                taken.append((optimizer.momentum, bool(groups.updating), len(parts[0].targets), lrs[0] > 1))
                return step(parts, lrs)

            return listened

    measure(Listener(NumpyBackend()), "cpu", TASK)
    assert taken == [(0, False, 4, True), (0, True, 4, True), *[(0.9, True, 4, False)] * 3]


@pytest.mark.parametrize("norm_stats", ["freeze", "follow"])
def test_gradients_are_those_of_the_loss(norm_stats):
    """Against the slope of the loss itself, along the gradient."""
    net, start = probe._net(NumpyBackend(), "cpu", TINY, TASK)
    batch = probe._batches(TASK, net.spec.num_classes)[0]
    _, gradients = probe._gradients(net, start, batch, norm_stats)
    length = math.sqrt(sum((g**2).sum() for g in gradients.values()))
    losses = []
    for way in (1e-3, -1e-3):
        moved = start | {n: (start[n] + way * g / length).astype(np.float32) for n, g in gradients.items()}
        losses.append(probe._gradients(net, moved, batch, norm_stats)[0]["loss"][0])
    assert (losses[0] - losses[1]) / 2e-3 == pytest.approx(length, rel=1e-2)


def test_gradients_keep_the_digits_of_float32():
    """Against a step at an ordinary rate, in whose difference most digits of a small gradient are lost."""
    net, start = probe._net(NumpyBackend(), "cpu", TINY, TASK)
    batch = probe._batches(TASK, net.spec.num_classes)[0]
    _, gradients = probe._gradients(net, start, batch, "freeze")
    net.load(start)
    groups = probe.resolve(probe.FreezePolicy("stem", "freeze"), TINY, list(start))
    # An Adam's first moment is a tenth of the gradient, and was never subtracted from a weight.
    step = net.train_step(OptimizerSpec("adam"), groups)
    step([batch], [0.0])
    for name, gradient in gradients.items():
        moment = 10 * step.export_state()[f"m:{name}"].astype(np.float64)
        assert np.abs(gradient - moment).max() < 1e-6 * np.abs(moment).max()


def test_the_head_is_the_files_unless_classes_are_given():
    weights = measure(NumpyBackend(), "cpu", TASK).arrays[probe.START]
    task = dataclasses.replace(TASK, weights=weights, seed=1)
    kept, fresh = (
        measure(NumpyBackend(), "cpu", dataclasses.replace(task, classes=n)).arrays[probe.START] for n in (None, 3)
    )
    assert np.array_equal(kept["fc.weight"], weights["fc.weight"])
    assert fresh["fc.weight"].shape == (3, 16)
    assert np.array_equal(fresh["stem.weight"], weights["stem.weight"])


def test_tasks_and_measurements_survive_the_way_between_processes(tmp_path):
    measurement = measure(NumpyBackend(), "cpu", TASK)
    task = dataclasses.replace(TASK, weights=measurement.arrays[probe.START], source="a/b", mean=(0.1, 0.2, 0.3))
    task_file.write_task(tmp_path / "task", task)
    task_file.write_measurement(tmp_path / "result", measurement)
    again = compare(measurement, task_file.read_measurement(tmp_path / "result"), (TASK, TASK), 1e-4)
    assert all(row.max_abs == 0 for row in again.rows)
    assert len(again.rows) == sum(map(len, measurement.arrays.values()))
    read = task_file.read_task(tmp_path / "task")
    assert np.array_equal(read.images, TASK.images)
    assert read.weights.keys() == task.weights.keys()
    assert (read.source, read.mean, read.batch_size, read.steps) == ("a/b", (0.1, 0.2, 0.3), 4, 3)
