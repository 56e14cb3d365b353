"""`train.accumulate`: several batches make one step, which is that of one large batch."""

import numpy as np
import pytest
from stopped_runs import recipe_of, stopped_in, train

from xfer.backend import Batch
from xfer.data import loader
from xfer.errors import CheckpointError, ConfigError
from xfer.recipe.load import as_recipe
from xfer.recipe.meaning import from_random, small_from_random, step_size
from xfer.results.read import STATE
from xfer.testing.fixtures import require
from xfer.testing.numpy_backend import NumpyBackend
from xfer.testing.recorder import Recorder
from xfer.testing.resuming import assert_same_end, assert_same_folders, ended
from xfer.training.loop import parts_of
from xfer.training.run import prepare

CLOSE = 1e-5  # of the largest value: gradients added up in another order, for three epochs
WEIGHTED = {"loss.class_weights": [1.0, 5.0], "loss.label_smoothing": 0.1, "train.norm_stats": "freeze"}
PHASES = [{"epochs": 1, "train_from": "head"}, {"epochs": 2, "train_from": "stem", "lr": 0.01}]


def taken(recipe, tmp_path):
    """Sizes of the parts of each step, and the factors of its samples."""
    recorder = Factors(NumpyBackend())
    ended(recipe, [recorder], [], tmp_path)
    return recorder.steps


class Factors(Recorder):
    """A backend that keeps the parts of each step."""

    def __init__(self, inner):
        super().__init__(inner)
        self.steps = []

    def make_train_step(self, *arguments):
        inner, steps = self.inner.make_train_step(*arguments), self.steps

        class Step:
            export_state, import_state = inner.export_state, inner.import_state

            def __call__(self, parts, lrs):
                steps.append([part.factors for part in parts])
                return inner(parts, lrs)

        return Step()


def test_a_step_has_parts_of_the_batch_size_and_an_epoch_ends_with_what_is_left(data, tmp_path):
    recipe = recipe_of(data, batch_size=4, epochs=1, **{"train.accumulate": 2, "loss.class_weights": [1.0, 5.0]})
    steps = taken(recipe, tmp_path)
    assert [[len(part) for part in step] for step in steps] == [[4, 4], [4, 4], [2]]
    for step in steps:  # the mean is over the weights of all labels of the step
        assert np.concatenate(step).sum() == pytest.approx(1, abs=1e-6)
    assert len({round(float(f), 6) for f in np.concatenate(steps[0])}) == 2  # two classes, two factors, over all parts


def test_parts_share_nothing_and_leave_nothing_out():
    rng = np.random.default_rng(0)
    whole = Batch(rng.random((7, 2)), rng.random((7, 3)), rng.random(7), {"head": rng.random((7, 4))})
    parts = parts_of(whole, 3)
    assert [len(part.inputs) for part in parts] == [3, 3, 1]
    for key in ("inputs", "targets", "factors"):
        assert np.array_equal(np.concatenate([getattr(part, key) for part in parts]), getattr(whole, key))
    assert np.array_equal(np.concatenate([part.masks["head"] for part in parts]), whole.masks["head"])


@pytest.mark.parametrize("name", ["numpy", "torch", "mindspore"])
def test_it_is_the_step_of_one_large_batch(data, tmp_path, name):
    """With dropout, class weights, smoothing, momentum and an average; statistics are frozen."""
    backend, device = require(name)
    more = {"arch": "tiny" if name == "numpy" else "convnet", "train.ema": 0.9, **WEIGHTED}
    phases = PHASES if name == "numpy" else PHASES[:1]
    apart = as_recipe(recipe_of(data, batch_size=3, **more, **{"train.accumulate": 4}), {"phases": phases})
    whole = as_recipe(recipe_of(data, batch_size=12, **more), {"phases": phases})
    (_, a, weights_a), (_, b, weights_b) = (ended(recipe, [backend], [], tmp_path, device) for recipe in (apart, whole))
    assert a.epoch.batches_digest == b.epoch.batches_digest
    assert [e.lr for e in a.state().history] == [e.lr for e in b.state().history]
    assert [e.train_loss for e in a.state().history] == pytest.approx([e.train_loss for e in b.state().history])
    for left, right in ((weights_a, weights_b), (a.weights(), b.weights()), (a.state().optimizer, b.state().optimizer)):
        assert left.keys() == right.keys()
        for key, array in right.items():
            assert np.abs(left[key] - array).max() <= CLOSE * max(np.abs(array).max(), 1e-3), key


def test_stopped_anywhere_it_ends_the_same(data, tmp_path):
    recipe = as_recipe(recipe_of(data, batch_size=3, **{"train.accumulate": 2}), {"phases": PHASES})
    whole = ended(recipe, [NumpyBackend()], [], tmp_path)
    for stops in ([1], [5, 2], [11, 3, 2]):
        assert_same_end(whole, ended(recipe, [NumpyBackend()], stops, tmp_path))


def test_kept_features_change_nothing_of_it_where_phases_end_early(data, tmp_path):
    """An average and a plateau too, but for the last bits, which go by how many pictures are computed at once."""
    more = {"train.accumulate": 2, "train.ema": 0.5, "train.patience": 1, "schedule.kind": "plateau"}
    phases = [{"epochs": 4, "train_from": "head", "lr": 0.0}, {"epochs": 2, "train_from": "layer1"}]
    recipe = as_recipe(recipe_of(data, batch_size=3, **{"schedule.plateau_patience": 0, **more}), {"phases": phases})
    recipes = [as_recipe(recipe, {"features.cache": kept}) for kept in (True, False)]
    kept, computed = (ended(of, [NumpyBackend()], [], tmp_path)[1] for of in recipes)
    told = [[(e.phase, e.lr, e.best, e.batches_digest) for e in last.state().history] for last in (kept, computed)]
    assert told[0] == told[1]
    assert [phase for phase, *_ in told[0]][:3] == [1, 1, 2]
    for name, array in computed.weights().items():
        assert np.abs(kept.weights()[name] - array).max() <= CLOSE * np.abs(array).max(), name


def test_a_state_in_the_middle_of_an_epoch_counts_steps_and_not_parts(data, tmp_path, unthrottled):
    recipe = recipe_of(data, batch_size=2, **{"train.accumulate": 3})
    whole = train(recipe, tmp_path / "whole")
    path = stopped_in(tmp_path / "run", recipe)
    text = (path / "config.toml").read_text()
    (path / "config.toml").write_text(text.replace("accumulate = 3", "accumulate = 2"))
    with pytest.raises(CheckpointError, match=r"changed since the run stopped \(train\.accumulate was 3, 2 is now"):
        train(None, None, resume=path)
    (path / "config.toml").write_text(text)
    assert (path / STATE).exists()
    assert_same_folders(whole.path, train(None, None, resume=path).path)


def test_batches_that_fit_and_steps_that_do_not_are_refused_with_the_cure(data, monkeypatch):
    asked = []
    monkeypatch.setattr(loader, "refuse_memory", lambda what, size, cure: asked.append((what, size, cure)))
    for parts in (4, 1):
        prepare(recipe_of(data, batch_size=3, **{"train.accumulate": parts, "data.workers": 1}), NumpyBackend())
    (_, apart, cure), validation, (_, plain, plain_cure), same_validation = asked
    assert [what for what, _, _ in asked] == [f"batches of {n} pictures of 32 x 32 pixels" for n in (12, 3, 3, 3)]
    assert validation[:2] == same_validation[:2]
    assert apart - plain == 9 * 32 * 32 * 3 * (1 + loader.BATCHES_AHEAD)  # as bytes, not as floats
    assert cure == "a smaller train.accumulate, or smaller pictures"
    assert plain_cure == "a smaller train.batch_size, or smaller pictures"


def test_a_lone_picture_is_looked_for_among_parts(data):
    """18 pictures in steps of 4 parts of 17: one is left for a part of its own, which norm layers cannot bear."""
    with pytest.raises(ConfigError, match="of 18 training pictures one is left"):
        prepare(recipe_of(data, batch_size=17, **{"train.accumulate": 4}), NumpyBackend())


def test_the_runs_from_random_weights_have_the_same_steps(data):
    recipe = recipe_of(data, batch_size=3, **{"train.accumulate": 4})
    assert [step_size(of) for of in (recipe, from_random(recipe, "stem"), small_from_random(recipe))] == [12, 12, 12]
