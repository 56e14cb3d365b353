import json
from dataclasses import replace

import numpy as np
import pytest

from xfer.backend import NetworkSpec, OptimizerSpec
from xfer.losses import LossSpec
from xfer.testing.broken.mechanics import predictions, replacing
from xfer.testing.conformance import LAWS
from xfer.testing.kit import prepare, random_batch
from xfer.testing.laws.model import channels_are_red_green_blue
from xfer.testing.numpy_backend import NETWORK, NumpyBackend
from xfer.testing.recorder import Recorder

FOR_TINY = [law for law in LAWS if law is not channels_are_red_green_blue]  # it needs a convolution over colours
MOMENTUM = OptimizerSpec("sgd", momentum=0.9)


def workflow(backend, *, seed=0, pictures=0, order=(0, 1, 2, 3), rates=(0.1, 0.05), keep=None, decay=0.1, loss=None):
    """Train the head on cached features, evaluate, keep the best weights, resume: every kind of call, in short."""
    bench = prepare(backend, "cpu", "tiny", seed)
    batch = random_batch(4, seed=pictures)
    features = bench.predict(batch.inputs, stop="head")
    step = bench.step(bench.head_groups(decay), MOMENTUM, loss or LossSpec(), "head")
    shuffled = list(order)
    step(replace(batch, inputs=features[shuffled], labels=batch.labels[shuffled], keep=keep), rates)()
    best, state = bench.export(), step.export_state()
    bench.predict(batch.inputs)
    backend.import_weights(bench.model, best)
    resumed = bench.step(bench.head_groups(decay), MOMENTUM, start="head")
    resumed.import_state(state)
    resumed(replace(batch, inputs=features), rates)()


def trace(backend, **changes):
    recorder = Recorder(backend)
    workflow(recorder, **changes)
    return recorder.trace


def imprecise(backend):
    """As another framework: whatever it computes differs in the last digits, and so do the weights it is born with."""

    def nearly(array):
        return array * np.float32(1 + 1e-6) + np.float32(1e-9)

    def export_weights(inner, model):
        return {n: nearly(w) if n.startswith("fc.") else w for n, w in backend.export_weights(model).items()}

    noisy = predictions(lambda predict, inputs, start, stop: nearly(predict(inputs)))(backend)
    return replacing(export_weights=export_weights)(noisy)


def test_the_same_workflow_gives_the_same_trace():
    assert trace(NumpyBackend()) == trace(NumpyBackend())


def test_last_digits_of_answers_do_not_matter():
    assert trace(imprecise(NumpyBackend())) == trace(NumpyBackend())


@pytest.mark.parametrize(
    "change",
    [
        {"seed": 1},
        {"pictures": 1},
        {"order": (1, 0, 2, 3)},
        {"rates": (0.1, 0.06)},
        {"decay": 0.2},
        {"loss": LossSpec(label_smoothing=0.1)},
        {"keep": np.ones((4, 16), np.float32)},
    ],
    ids=lambda change: next(iter(change)),
)
def test_another_workflow_gives_another_trace(change):
    assert trace(NumpyBackend(), **change) != trace(NumpyBackend())
    assert trace(imprecise(NumpyBackend()), **change) == trace(NumpyBackend(), **change)


def test_one_changed_pixel_and_one_changed_label_show():
    def trained(batch):
        recorder = Recorder(NumpyBackend())
        bench = prepare(recorder, "cpu", "tiny")
        bench.step(bench.head_groups())(batch, (0.1, 0.1))
        return recorder.trace

    batch = random_batch(4)
    pixel, label = batch.inputs.copy(), batch.labels.copy()
    pixel[3, 5, 7, 2] ^= 1
    label[3] = (label[3] + 1) % 3
    assert trained(replace(batch)) == trained(batch)
    assert trained(replace(batch, inputs=pixel)) != trained(batch)
    assert trained(replace(batch, labels=label)) != trained(batch)


def test_weights_a_model_is_born_with_have_no_name():
    """Zeros that the core imports are the core's, also where a framework begins with zeros itself."""

    def imported(backend):
        recorder = Recorder(backend)
        model = recorder.build(NetworkSpec(NETWORK, (0.5,) * 3, (0.5,) * 3), "cpu")
        shapes = {name: w.shape for name, w in recorder.export_weights(model).items()}
        recorder.import_weights(model, {name: np.zeros(shape, np.float32) for name, shape in shapes.items()})
        return recorder.trace

    assert imported(imprecise(NumpyBackend())) == imported(NumpyBackend())


def test_a_batch_of_cached_features_is_named_by_its_pictures():
    recorder = Recorder(NumpyBackend())
    bench = prepare(recorder, "cpu", "tiny")
    batch = random_batch(4)
    features = bench.predict(batch.inputs, stop="head")
    bench.step(bench.head_groups())(batch, (0.1, 0.1))
    bench.step(bench.head_groups(), start="head")(replace(batch, inputs=features), (0.1, 0.1))
    images, cached = (call["parts"][0]["inputs"] for call in recorder.trace if call["call"] == "train")
    assert images == cached


def test_a_trace_is_plain_data():
    calls = trace(NumpyBackend())
    assert {call["call"] for call in calls} == {
        "build",
        "export_weights",
        "import_weights",
        "make_train_step",
        "make_predict_step",
        "train",
        "predict",
        "export_state",
        "import_state",
    }
    assert json.loads(json.dumps(calls)) == json.loads(json.dumps(trace(NumpyBackend())))


@pytest.mark.parametrize("law", FOR_TINY, ids=lambda law: law.__name__)
def test_recording_changes_nothing(law):
    law(Recorder(NumpyBackend()), "cpu", "tiny")
