"""States by another version or by hand: one line names the field, or the run goes on to the very end it would have."""

import json
import re
from dataclasses import replace

import numpy as np
import pytest
from click.testing import CliRunner
from mutations import ANOTHER, mutated
from stopped_runs import recipe_of, stop_now

import xfer
from xfer.cli.main import main
from xfer.errors import CheckpointError
from xfer.formats.sealed import read_sealed, write_with_seal
from xfer.recipe.load import as_recipe
from xfer.results.read import STATE
from xfer.system.interrupts import Interrupted
from xfer.testing.numpy_backend import NumpyBackend
from xfer.training.misfit import refuse_misfit
from xfer.training.resume import refuse_changes
from xfer.training.run import prepare
from xfer.training.state import read_state, write_state

PHASES = [{"epochs": 1, "train_from": "head"}, {"epochs": 3, "train_from": "layer1", "lr": 0.01}]
AT = {"in an epoch": ("epoch 3", 9), "in the first step": ("epoch 1", 3), "behind a phase": ("epoch 2", 3)}


def stopped_at(recipe, path, what, done):
    def stop(name, count, total):
        if (name, count) == (what, done):
            stop_now()

    with pytest.raises(Interrupted):
        xfer.train(recipe, NumpyBackend(), output=path, checkpoint_every=1e-9, progress=stop)
    return path


@pytest.fixture(
    params=[{"kind": "sgd"}, {"kind": "adam"}, {"kind": "sgd", "momentum": 0.0}], ids=["sgd", "adam", "plain"]
)
def optimizer(request):
    return {f"optimizer.{key}": value for key, value in request.param.items()}


@pytest.fixture
def left(data, tmp_path, unthrottled):
    """A run that was left in the second of two phases."""
    return stopped_at(as_recipe(recipe_of(data), {"phases": PHASES}), tmp_path / "run", "epoch 3", 9)


def refusal(file, prepared):
    """What is said of a state, or the state where it is taken: as in resuming, but for the preparation."""
    try:
        state, identity = read_state(file)
        refuse_changes(prepared, identity, file.parent)
        refuse_misfit(prepared, state, str(file))
    except CheckpointError as error:
        return str(error)
    return state


def unlike(state):
    """All of a state that decides how a run ends."""
    arrays = {part: getattr(state, part) for part in ("weights", "optimizer", "best_weights")}
    plain = {f"{part}/{name}": a.tobytes() for part, named in arrays.items() for name, a in (named or {}).items()}
    return plain, state.point, state.history, state.logits.tobytes(), state.best_logits.tobytes()


def field_of(path):
    """The last name in it: what stands behind is the place in a list."""
    return [part for part in path.split(".") if not part.isdigit()][-1]


def check(file, changes, free=(), name_of=field_of):
    """Each change is refused in one line with its field, or changes nothing. How many were refused."""
    arrays, metadata = read_sealed(file)
    prepared = prepare(xfer.results.read.read_recipe(file.parent), NumpyBackend())
    wanted, faults, refused = unlike(refusal(file, prepared)), [], 0
    for field, how, changed_arrays, changed_metadata in changes:
        write_with_seal(file, changed_arrays, changed_metadata)
        answer = refusal(file, prepared)
        if isinstance(answer, str):
            refused += 1
            sound = name_of(field) in answer and "\n" not in answer and "Cure: " in answer and len(answer) < 1000
        else:
            sound = unlike(answer) == wanted or how == ANOTHER or field in free
        if not sound:
            faults.append((field, how, str(answer)[:400]))
    write_with_seal(file, arrays, metadata)
    assert not faults, "\n".join(map(str, faults))
    return refused


@pytest.mark.parametrize("at", AT)
def test_a_state_of_its_own_fits(data, tmp_path, unthrottled, optimizer, at):
    recipe = as_recipe(recipe_of(data, **optimizer), {"phases": PHASES})
    whole = xfer.train(recipe, NumpyBackend(), output=tmp_path / "whole")
    path = stopped_at(recipe, tmp_path / "run", *AT[at])
    resumed = xfer.train(None, NumpyBackend(), resume=path)
    assert [resumed.result[key] for key in ("weights_digest", "batches_digest", "val_loss")] == [
        whole.result[key] for key in ("weights_digest", "batches_digest", "val_loss")
    ]


def test_every_field_of_the_record(left):
    file = left / STATE
    arrays, metadata = read_sealed(file)
    record = json.loads(metadata["state"])
    assert record["point"]["step"]
    assert len(record["history"]) == 2
    changes = [
        (field, how, arrays, metadata | {"state": json.dumps(content)})
        for field, how, content in mutated(record)
        if how != ANOTHER or field in ("point.epoch", "point.step", "history")
    ]
    assert check(file, changes) > 250


def test_every_field_of_the_identity(left):
    file = left / STATE
    arrays, metadata = read_sealed(file)
    identity = json.loads(metadata["identity"])
    changes = [
        (field, how, arrays, metadata | {"identity": json.dumps(content)})
        for field, how, content in mutated(identity, keep=["recipe"])
    ]
    assert check(file, changes, free=["pictures", "backend"]) > 20


@pytest.mark.parametrize("key", ["format", "state", "identity"])
def test_every_key_of_the_metadata(left, key):
    file = left / STATE
    arrays, metadata = read_sealed(file)
    without = {k: v for k, v in metadata.items() if k != key}
    texts = ["", "{", "[]", "null", "[" * 100_000, "\x00", '{"a": NaN}']
    changes = [(key, "left out", arrays, without), (key, "renamed", arrays, without | {f"x_{key}": metadata[key]})]
    changes += [(STATE, text[:9], arrays, metadata | {key: text}) for text in texts]
    changes += [("more", "another key", arrays, metadata | {"more": "x"})]
    assert check(file, changes) == len(changes)


def reshaped(array):
    """An array in every way that another version may have it."""
    yield "float64" if array.dtype != np.float64 else "float32", array.astype(np.float64)
    yield "float16", array.astype(np.float16)
    yield "int32", array.astype(np.int32)
    yield "longer", np.concatenate([array.reshape(-1), array.reshape(-1)[:1]])
    yield "in a list", array[None]
    yield "empty", array[:0] if array.ndim else np.zeros(0, array.dtype)
    yield "negative", -array
    if array.ndim:
        yield "turned", np.ascontiguousarray(array.T) if array.ndim == 2 else array.reshape(2, -1)
    if array.dtype == np.float32:
        for value in (np.nan, np.inf):
            yield str(value), np.where(np.arange(array.size).reshape(array.shape) == 0, np.float32(value), array)


def test_every_array(data, tmp_path, unthrottled, optimizer):
    recipe = as_recipe(recipe_of(data, **optimizer), {"phases": PHASES})
    file = stopped_at(recipe, tmp_path / "run", "epoch 3", 9) / STATE
    arrays, metadata = read_sealed(file)
    changes = []
    for key, array in arrays.items():
        others = {name: value for name, value in arrays.items() if name != key}
        changes += [(key, "left out", others, metadata), (key, "renamed", others | {f"{key}x": array}, metadata)]
        changes += [(key, "elsewhere", others | {f"other/{key}": array}, metadata)]
        changes += [(key, how, others | {key: value}, metadata) for how, value in reshaped(array)]
    changes += [
        ("optimizer/velocity:fc.bias", "more", arrays | {"optimizer/velocity:fc.bias": arrays["logits"]}, metadata)
    ]
    # A weight or a momentum may be any number; a variance, a mean of squares and logits may not.
    changes = [
        (key, ANOTHER if how in ("negative", "turned") and key != "optimizer/step" else how, a, m)
        for key, how, a, m in changes
    ]
    assert check(file, changes, name_of=str) > 8 * len(arrays)


@pytest.mark.parametrize("option", ["resume", "resume on its command line"])
def test_what_does_not_fit_is_one_line_and_leaves_the_run_as_it_was(left, tmp_path, option, declaring):
    state, identity = read_state(left / STATE)
    write_state(left / STATE, replace(state, point=state.point.model_copy(update={"step": 99})), identity)
    before = {file.name: file.read_bytes() for file in left.iterdir() if file.is_file()}
    message = r"state\.safetensors: point\.step = 99, expected at most 6, .*Cure: start again with --overwrite"
    if option == "resume":
        with pytest.raises(CheckpointError, match=message):
            xfer.train(None, NumpyBackend(), resume=left)
    else:
        with declaring():
            result = CliRunner().invoke(main, ["train", "--resume", str(left), "-q"])
        assert result.exit_code == 2
        assert re.search(message, result.stderr)
        assert result.stderr.count("\n") == 1
    assert {file.name: file.read_bytes() for file in left.iterdir() if file.is_file()} == before
