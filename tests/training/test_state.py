"""The state of a stopped run: what is in it, when it is saved, and that it goes with nothing but its own run."""

import json
import signal
from dataclasses import replace

import numpy as np
import pytest
from calling import Calling
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from stopped_runs import recipe_of, train

import xfer
from xfer.errors import CheckpointError, ConfigError, XferError
from xfer.formats.files import read_weights, write_weights
from xfer.formats.sealed import read_sealed, write_sealed
from xfer.results.read import STATE
from xfer.testing.numpy_backend import NumpyBackend
from xfer.testing.pictures import write_class_folders
from xfer.testing.resuming import stopping
from xfer.training import record, resume, run
from xfer.training.run import prepare
from xfer.training.state import read_state


@pytest.mark.parametrize(
    ("options", "error", "names"),
    [
        ({"resume": "nowhere"}, CheckpointError, "nowhere"),
        ({"output": "elsewhere"}, ConfigError, "its own folder"),
        ({"overwrite": True}, ConfigError, "leave out one"),
        ({"epochs": 5}, ConfigError, "train.epochs was 4, 5 is"),
        ({"optimizer.momentum": 0.5}, ConfigError, "optimizer.momentum was 0.9"),
    ],
)
def test_what_contradicts_the_run_is_refused(stopped, options, error, names):
    before = (stopped / STATE).read_bytes()
    with pytest.raises(error, match=names) as caught:
        xfer.train(backend=NumpyBackend(), **{"resume": stopped, **options})
    assert "\n" not in str(caught.value)
    assert (stopped / STATE).read_bytes() == before


def test_the_same_value_again_is_fine(stopped):
    train(None, None, resume=stopped, epochs=4)


def test_changed_data_are_refused(tmp_path, unthrottled):
    folders = write_class_folders(tmp_path / "own", counts=(9, 3))
    recipe, path = recipe_of(folders), tmp_path / "run"
    with pytest.raises(KeyboardInterrupt):
        train(recipe, path, progress=stopping(45, lambda: signal.raise_signal(signal.SIGINT)))
    picture = folders / "train" / "ants" / "0.png"
    content = picture.read_bytes()
    picture.write_bytes((folders / "train" / "ants" / "1.png").read_bytes())
    with pytest.raises(CheckpointError, match=r"data .*changed since .*18 \+ 6 pictures then, 18 \+ 6 now.*Cure"):
        train(None, None, resume=path)
    picture.unlink()
    with pytest.raises(CheckpointError, match=r"18 \+ 6 pictures then, 17 \+ 6 now"):
        train(None, None, resume=path)
    picture.write_bytes(content)
    train(None, None, resume=path)


def test_a_changed_weights_file_is_refused(recipe, tmp_path, unthrottled):
    source = train(recipe, tmp_path / "source").path / "best.safetensors"
    progress = stopping(45, lambda: signal.raise_signal(signal.SIGINT))
    with pytest.raises(KeyboardInterrupt):
        train(recipe, tmp_path / "run", weights=str(source), progress=progress)
    arrays, metadata = read_weights(source)
    write_weights(source, {name: array + 1 for name, array in arrays.items()}, metadata)
    with pytest.raises(CheckpointError, match=r"weights .*best.safetensors: changed since"):
        train(None, None, resume=tmp_path / "run")


def test_a_network_that_another_version_makes_otherwise_is_refused(stopped):
    arrays, metadata = read_sealed(stopped / STATE)
    identity = json.loads(metadata["identity"]) | {"network": 64 * "0"}
    write_sealed(stopped / STATE, arrays, metadata | {"identity": json.dumps(identity)})
    with pytest.raises(CheckpointError, match=r"network tiny: changed since .* Cure: the xfer that began the run"):
        train(None, None, resume=stopped)


def test_a_changed_config_is_refused(stopped):
    text = (stopped / "config.toml").read_text()
    (stopped / "config.toml").write_text(text.replace("batch_size = 3", "batch_size = 4"))
    with pytest.raises(CheckpointError, match=r"config.toml: changed .*train.batch_size was 3, 4 is"):
        train(None, None, resume=stopped)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(where=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7), cut=st.booleans())
def test_any_damage_to_the_state_is_found_and_named(stopped, where, bit, cut):
    file = stopped / STATE
    content = (stopped / "kept").read_bytes() if (stopped / "kept").exists() else file.read_bytes()
    (stopped / "kept").write_bytes(content)
    read_state(file)
    at = int(where * len(content))
    damaged = content[:at] if cut else content[:at] + bytes([content[at] ^ (1 << bit)]) + content[at + 1 :]
    file.write_bytes(damaged)
    try:
        with pytest.raises(CheckpointError, match=r"state.safetensors: is damaged or cut short.*Cure") as caught:
            read_state(file)
        assert "\n" not in str(caught.value)
    finally:
        file.write_bytes(content)


def test_every_part_of_the_header_is_covered(stopped):
    file = stopped / STATE
    content = file.read_bytes()
    for at in [*range(40), *range(40, 8 + int.from_bytes(content[:8], "little"), 7)]:
        file.write_bytes(content[:at] + bytes([content[at] ^ (1 << at % 8)]) + content[at + 1 :])
        with pytest.raises(CheckpointError, match="damaged"):
            read_state(file)


def test_a_loss_that_is_not_finite_leaves_the_state_before(recipe, tmp_path, unthrottled):
    class Exploding(NumpyBackend):
        def make_train_step(self, model, *args):
            step = super().make_train_step(model, *args)
            call, calls = step.__call__, []

            def explode(batch, lrs):
                calls.append(batch)
                if len(calls) == 16:  # six steps an epoch: after the fourth of the third
                    model.weights["fc.bias"][0] = np.nan
                return call(batch, lrs)

            return Calling(step, explode)

    with pytest.raises(XferError, match=r"step 4 of epoch 3.*Cure"):
        xfer.train(recipe, Exploding(), output=tmp_path / "run", checkpoint_every=1e-9)
    state, _ = read_state(tmp_path / "run" / STATE)
    assert (state.point.epoch, state.point.step) == (2, 3)
    assert state.usable
    assert (tmp_path / "run" / "best.safetensors").exists()


def test_a_state_is_not_saved_more_than_once_a_second(recipe, tmp_path, monkeypatch):
    monkeypatch.setattr("xfer.training.record.draw", lambda *args: None)
    written = []
    monkeypatch.setattr(record, "write_state", lambda path, state, identity: written.append(state.point))
    xfer.train(recipe, NumpyBackend(), output=tmp_path / "run", epochs=20)
    assert len(written) <= 3
    assert written[-1].epoch == 20


def test_saving_takes_at_most_a_tenth_of_the_time(recipe, tmp_path, monkeypatch):
    """On a clock where an epoch takes 3 seconds and a state 5: one is due when 50 have passed since the last."""
    now, written = [0.0], []

    def slowly(path, state, identity):
        now[0] += 5
        written.append(state.point.epoch)

    monkeypatch.setattr(record, "write_state", slowly)
    monkeypatch.setattr(record.time, "monotonic", lambda: now[0])
    prepared = prepare(xfer.recipe.load.as_recipe(recipe, {"epochs": 40}), NumpyBackend())
    states = record.StateWriter(prepared, tmp_path)
    for event in xfer.training.run.fit(prepared):
        now[0] += 3
        states.offer(event)
    assert written == [1, 18, 35]


def test_seconds_are_summed_over_the_parts(stopped):
    state, identity = read_state(stopped / STATE)
    xfer.training.state.write_state(stopped / STATE, replace(state, seconds=5000.0, seconds_features=70.0), identity)
    result = train(None, None, resume=stopped).result
    assert 5000 < result["seconds_total"] < 5100
    assert 70 < result["seconds_features"] < 80
    assert result["resumed"] == [{"epoch": 3, "step": 2, "backend": "numpy"}]


def test_a_state_holds_nothing_that_was_frozen_all_along(recipe):
    p = prepare(recipe, NumpyBackend())
    event = next(run.train(p))
    state = event.state()
    assert set(state.weights) == set(p.net.shapes) - p.groups[0].frozen
    assert {key.partition(":")[2] for key in state.optimizer if key != "step"} == set(p.groups[0].trainable_names)
    assert json.dumps(resume.identity(p))
