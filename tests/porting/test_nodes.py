"""Where a network goes wrong, node by node, and where it stops being finite."""

import json
from dataclasses import replace

import numpy as np
import pytest
from faults import TASK, At, Step

from xfer.errors import BackendError
from xfer.porting import parity, probe, text
from xfer.porting import task as task_file
from xfer.porting.node_rows import compare_nodes, furthest
from xfer.porting.nodes import values_of
from xfer.porting.parity import noise
from xfer.porting.subject import subject_of
from xfer.testing.delegate import Delegate
from xfer.testing.kinds import evaluate
from xfer.testing.numpy_backend import NETWORK, TINY, NumpyBackend

MADE_OF_PICTURES = [node.name for node in NETWORK.nodes[1:]]


def loaded():
    subject = subject_of(NumpyBackend(), "cpu", TASK)
    subject.net.load(subject.first)
    return subject


@pytest.fixture
def reported(monkeypatch):
    """The report on a backend against another one, `good` where nothing else is said, both in this process."""

    def report(**backends):
        given = {"good": NumpyBackend(), **backends}

        def here(backend, device, task, other=None):
            return replace(probe.measure(given[backend], device, task, other), backend=backend)

        monkeypatch.setattr(parity, "measure_in_own_process", here)
        return parity.parity("tiny", "random", backends=tuple(given), size=16, batch_size=4, steps=3, seed=1)

    return report


def bent(value):
    return value + np.float32(0.1) * np.abs(value).max()


def overflowing(value):
    return np.where(value == value.max(), np.float32(np.inf), value)


def test_every_node_that_is_made_of_pictures_is_measured_as_the_formulas_say():
    net = loaded().net
    pixels = (TASK.images / 255 - net.spec.mean) / net.spec.std
    wanted = evaluate(net.graph, net.export(), pixels.transpose(0, 3, 1, 2))
    found = {place.name: value for place, value in values_of(net, TINY.stage_names, TASK.images)}
    assert list(found) == MADE_OF_PICTURES
    for name, value in found.items():
        assert np.abs(value - wanted[name]).max() <= 1e-6 * np.abs(wanted[name]).max()


@pytest.mark.parametrize("node", MADE_OF_PICTURES)
def test_the_first_node_that_is_off_is_named_with_its_place(reported, node):
    report = reported(bent=At(NumpyBackend(), node, bent))
    first = report.first_node
    stage = {"layer1": "layer1", "norm1": "layer1", "relu": "layer1", "fc": "head"}.get(node, "stem")
    assert (first.place.name, first.place.kind, first.place.stage) == (node, NETWORK[node].kind, stage)
    assert (first.relative, first.passes) == (pytest.approx(0.1, rel=1e-3), False)
    assert first.floor < 1e-6
    before = [row for row in report.nodes if row.place.name in first.place.inputs]
    assert all(row.passes for row in before)
    assert f"first node: {node} ({NETWORK[node].kind}, " in "\n".join(text.summary(report))
    assert json.loads(json.dumps(report.as_json()))["first_node"] == node


def test_where_all_is_the_same_no_node_is_looked_at(reported):
    report = reported(other=NumpyBackend())
    assert report.passes
    assert (report.nodes, report.first_node, report.not_finite) == ((), None, (None, None))
    assert not any("node" in line or "not finite" in line for line in text.summary(report))


@pytest.mark.parametrize("node", ["stem", "norm1", "fc"])
def test_the_node_that_overflows_is_named_for_each_backend(reported, node):
    report = reported(over=At(NumpyBackend(), node, overflowing))
    assert not report.passes
    first, second = report.not_finite
    assert first is None
    assert (second.tensor, second.kind, second.value, second.what) == (node, NETWORK[node].kind, "inf", task_file.NODES)
    said = "\n".join(text.summary(report))
    assert "not finite: good: nothing" in said
    assert f"not finite: over: first inf in {node} {NETWORK[node].kind} ({second.stage}, " in said


def test_both_backends_that_overflow_are_no_match(reported):
    report = reported(over=At(NumpyBackend(), "stem", overflowing), good=At(NumpyBackend(), "stem", overflowing))
    assert not report.passes
    assert [place.tensor for place in report.not_finite] == ["stem", "stem"]


def test_a_weight_that_is_no_number_after_a_step_is_found(reported):
    def broken(before, after, groups):
        late = 0 < np.abs(after["fc.bias"] - before["fc.bias"]).max() < 1  # none that gradients are read from
        return after | {"layer1.weight": after["layer1.weight"] * np.float32(np.nan if late else 1)}

    report = reported(wrong=Step(NumpyBackend(), broken))
    assert (report.not_finite[1].what, report.not_finite[1].tensor) == (task_file.ONE_STEP, "layer1.weight")
    assert report.nodes == ()
    assert "not finite: wrong: first nan in layer1.weight (layer1, movement in 1 step;" in str(text.summary(report))


def test_a_backend_that_stops_at_boundaries_alone_gets_its_report_all_the_same(reported):
    class Plain(Delegate):
        def make_predict_step(self, model, start, stop):
            if stop.startswith("node:"):
                raise BackendError(f"no stop {stop}")
            step = self.inner.make_predict_step(model, start, stop)
            return lambda inputs: np.roll(step(inputs), stop == "logits", axis=1)

    report = reported(plain=Plain(NumpyBackend()))
    assert (report.passes, report.nodes, report.first_difference.stage) == (False, (), "head")
    assert text.summary(report)[-2] == "nodes: not compared (no stop node:fc)"


def test_nodes_and_floors_survive_the_way_between_processes(tmp_path):
    tasks = replace(TASK, draws=2), replace(TASK, draws=2, nodes=("layer1",))
    for task in tasks:
        task_file.write_task(tmp_path / "task", task)
        assert task_file.read_task(tmp_path / "task").nodes == task.nodes
        measurement = probe.measure(NumpyBackend(), "cpu", task)
        task_file.write_measurement(tmp_path / "result", measurement)
        read = task_file.read_measurement(tmp_path / "result")
        assert read.nodes == measurement.nodes
        assert read.losses.tolist() == measurement.losses.tolist()
        assert read.band.tolist() == measurement.band.tolist()
        for what, floors in measurement.floors.items():
            assert {n: f.tolist() for n, f in floors.items()} == {n: f.tolist() for n, f in read.floors[what].items()}
    assert [row.place.name for row in compare_nodes(read, measurement, 1e-4)] == ["layer1", "norm1", "relu"]


def test_the_picture_that_is_furthest_apart():
    a = noise(3, 4, seed=0).astype(np.float32)
    for off in (1.0, np.nan, np.inf):
        b = a.copy()
        b[1, 2, 2, 0] += off
        assert furthest(a, b) == 1
