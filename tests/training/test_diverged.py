"""Numbers that are no longer finite end a run, wherever they come up; what was written before stays readable."""

import json
import threading

import numpy as np
import pytest
from stopped_runs import recipe_of, train

import xfer
from xfer.errors import ConfigError, XferError
from xfer.formats.files import read_weights, write_weights
from xfer.results.read import STATE
from xfer.testing.numpy_backend import NumpyBackend
from xfer.training.state import read_state

STEPS = 6  # of an epoch: 18 pictures, three at a time


class Broken(NumpyBackend):
    """Breaks a weight behind the given step of the run, or what the step gives."""

    def __init__(self, after, change=lambda weights: None, logits=lambda logits: logits):
        self.after, self.change, self.logits, self.done = after, change, logits, 0

    def make_train_step(self, model, *args):
        inner = super().make_train_step(model, *args)
        owner = self

        class Step:
            def __call__(self, parts, lrs):
                loss, logits = inner(parts, lrs)()
                owner.done += 1
                if owner.done != owner.after:
                    return lambda: (loss, logits)
                owner.change(model.weights)
                return lambda: (loss, owner.logits(logits))

            def __getattr__(self, name):
                return getattr(inner, name)

        return Step()


def put(name, value):
    return lambda weights: weights[name].__setitem__(0, value)


# The first two weights leave every loss and logit finite: a ReLU swallows one, a division by it the other.
WEIGHTS = {
    "a bias": (put("stem.bias", -np.inf), r"stem\.bias holds values that are not finite"),
    "a variance": (put("norm1.running_var", np.inf), r"norm1\.running_var holds values that are not finite"),
    "a negative variance": (put("norm1.running_var", -1e-7), r"norm1\.running_var holds a variance below 0"),
    "a head": (put("fc.bias", np.nan), "the logits of validation picture 1 after epoch EPOCH, .* are not finite"),
}


@pytest.mark.parametrize("epoch", [1, 2, 4])
@pytest.mark.parametrize("which", WEIGHTS)
def test_weights_broken_by_the_last_step_of_an_epoch_end_the_run(data, tmp_path, unthrottled, which, epoch):
    change, message = WEIGHTS[which]
    recipe, path = recipe_of(data, train_from="stem"), tmp_path / "run"
    with pytest.raises(XferError, match=message.replace("EPOCH", str(epoch))) as caught:
        xfer.train(recipe, Broken(epoch * STEPS, change), output=path, checkpoint_every=1e-9)
    line = str(caught.value)
    assert "\n" not in line
    assert "Cure: a smaller optimizer.lr, or optimizer.clip_norm = 1.0" in line
    assert not (path / "result.json").exists()
    if epoch > 1:
        assert xfer.results.checkpoint.load_checkpoint(path).classes == ("ants", "bees")
        rows = xfer.results.read.read_metrics(path)
        assert [row["epoch"] for row in rows] == list(range(1, len(rows) + 1))
        assert len(rows) <= epoch
    state, _ = read_state(path / STATE)
    assert state.usable
    assert state.point.epoch < epoch
    left = epoch * STEPS - state.point.epoch * STEPS - state.point.step
    with pytest.raises(XferError) as again:  # the same steps, to the same end
        xfer.train(None, Broken(left, change), resume=path)
    assert str(again.value) == line
    assert not (path / "result.json").exists()


def test_the_last_weights_are_looked_at_though_another_epoch_is_the_best(data, tmp_path):
    still = {"optimizer.lr": 0.0, "train.norm_stats": "freeze", "model.dropout": 0.0}  # all epochs are alike
    recipe, path = recipe_of(data, **still), tmp_path / "run"
    with pytest.raises(XferError, match=r"after epoch 4, .*norm1\.bias holds values that are not finite"):
        xfer.train(recipe, Broken(4 * STEPS, put("norm1.bias", -np.inf)), output=path)
    assert [row["best"] for row in xfer.results.read.read_metrics(path)] == [True, False, False, False]
    assert not {"result.json", "last.safetensors", "predictions.csv"} & {file.name for file in path.iterdir()}
    assert np.isfinite(xfer.results.checkpoint.load_checkpoint(path).weights["norm1.bias"]).all()


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_logits_of_a_step_count_where_its_loss_is_finite(recipe, tmp_path, value):
    backend = Broken(STEPS + 2, logits=lambda logits: np.where(np.arange(2) == 1, np.float32(value), logits))
    with pytest.raises(XferError, match=r"the loss became \S+ at step 2 of epoch 2, at a learning rate of 0.0\d+\."):
        xfer.train(recipe, backend, output=tmp_path / "run")


@pytest.mark.parametrize(
    "overrides",
    [
        {"optimizer.lr": 1e15, "optimizer.head_lr_mult": 1e15},
        {"optimizer.lr": 1e14, "optimizer.head_lr_mult": 1e15, "optimizer.kind": "adam", "train_from": "stem"},
        {"optimizer.lr": 1e15, "optimizer.clip_norm": 1.0, "train_from": "stem"},
        {"optimizer.weight_decay": 1e15, "train_from": "head"},
    ],
)
def test_rates_far_too_high_are_named(data, tmp_path, overrides):
    with pytest.raises(XferError, match=r"epoch \d.* at a learning rate of \S+.*Cure: a smaller opt") as caught:
        train(recipe_of(data, **overrides), tmp_path / "run")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "run" / "result.json").exists()


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"optimizer.lr": 1e30}, r"optimizer\.lr = 1e\+30: .* at most 1e\+15\. Cure"),
        (
            {"optimizer.weight_decay": 1e39},
            r"optimizer\.weight_decay = 1e\+39: .* at most 1e\+15\. Cure",
        ),
        (
            {
                "optimizer.lr": 1e15,
                "optimizer.head_lr_mult": 1e15,
                "schedule": {"kind": "constant", "warmup_factor": 1e3, "warmup_epochs": 1.0},
            },
            r"head_lr_mult make a rate of 1e\+33 in epoch 1, expected at most 1e\+30\. Cure: a smaller optimizer\.lr",
        ),
    ],
)
def test_a_rate_beyond_float32_is_refused_before_a_step(data, tmp_path, overrides, message):
    with pytest.raises(ConfigError, match=message):
        train(recipe_of(data, **overrides), tmp_path / "run")


def test_a_loss_before_any_step_is_not_blamed_on_the_rate(data, recipe, tmp_path):
    source = train(recipe, tmp_path / "source").path / "best.safetensors"
    arrays, metadata = read_weights(source)
    arrays["norm1.bias"][:] = 1e38
    arrays["fc.weight"][:] = [[1e30], [-1e30]]
    write_weights(source, arrays, metadata)
    with pytest.raises(XferError, match=r"at the first step, before any weight has moved.*Cure: other weights"):
        train(recipe_of(data, weights=str(source)), tmp_path / "huge")


def test_bfloat16_is_named_where_it_was_asked_for():
    from xfer.training.diverged import lost

    assert "or train.precision = 'float32'" in str(lost(float("nan"), 2, 1, 0.1, "bfloat16"))
    assert "precision" not in str(lost(float("nan"), 2, 1, 0.1, "float32"))


def test_no_file_of_a_run_holds_a_number_that_json_has_not(recipe, tmp_path):
    path = train(recipe, tmp_path / "run").path

    def refuse(name):
        raise AssertionError(name)

    for file in path.rglob("*.json*"):
        for line in file.read_text().splitlines() if file.suffix == ".jsonl" else [file.read_text()]:
            json.loads(line, parse_constant=refuse)


@pytest.mark.parametrize("cached", [True, False])
def test_an_error_leaves_no_reading_threads_behind_while_it_is_looked_at(data, tmp_path, cached):
    before = set(threading.enumerate())  # of other tests
    recipe = recipe_of(data, **{"features.cache": cached, "train_from": "head" if cached else "stem"})
    prefix = "features" if cached else "epoch 1"

    def stop(what, done, total):
        if what.startswith(prefix) or "view" in what:
            raise RuntimeError("enough")

    with pytest.raises(RuntimeError, match="enough") as caught:
        xfer.train(recipe, NumpyBackend(), output=tmp_path / "run", progress=stop)
    reading = [t for t in threading.enumerate() if t not in before and t.name.startswith("xfer-read")]
    assert reading == []
    assert caught.traceback  # it is there still
