"""Each class drawn equally often: what is drawn, with which pictures, and that a run repeats it."""

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from xfer.backend import Labelled
from xfer.data.loader import read_batches
from xfer.data.order import balance, balanced_order, epoch_order, sample_order
from xfer.data.sources import NativePictures
from xfer.errors import ConfigError
from xfer.pixels.augment import CenterCrop
from xfer.progress import silent
from xfer.recipe.load import as_recipe
from xfer.recipe.meaning import plan
from xfer.testing.fixtures import require, targets
from xfer.testing.numpy_backend import NumpyBackend
from xfer.testing.pictures import write_class_folders
from xfer.testing.recorder import Recorder
from xfer.testing.resuming import assert_same_end, ended
from xfer.training.loop import Point, train
from xfer.training.phases import open_phase
from xfer.training.run import fit, prepare

LABELS = np.repeat([0, 1, 2], [2, 30, 7])
FIXED = (CenterCrop(size=32),)
FRAMEWORKS = [target for target in targets() if target.backend != "numpy" and target.kind == "cpu"]


@pytest.mark.parametrize("labels", [LABELS, LABELS[::-1], np.random.default_rng(0).permutation(np.repeat(LABELS, 3))])
def test_each_class_comes_equally_often_and_its_pictures_in_rounds(labels):
    for epoch in range(5):
        order = balanced_order(labels, 3, epoch)
        n = len(labels)
        assert order.shape == (n,)
        assert len({*order.tolist()}) == n, "no position twice"
        assert np.bincount(labels[order % n]).tolist() == [n // 3] * 3
        for label in range(3):
            times = np.bincount((order % n)[labels[order % n] == label], minlength=n)[labels == label]
            assert times.max() - times.min() <= 1
        rounds = order // n
        assert {*rounds[labels[order % n] == 1].tolist()} == {0}, "a class of many has none twice"


def test_a_remainder_falls_to_classes_of_chance():
    labels = np.array([0, 0, 0, 1, 1, 2, 2])
    counts = [np.bincount(labels[balanced_order(labels, 0, epoch) % 7]).tolist() for epoch in range(60)]
    assert {tuple(count) for count in counts} == {(3, 2, 2), (2, 3, 2), (2, 2, 3)}


def test_the_order_is_mixed_and_of_the_seed_and_the_epoch():
    orders = [balanced_order(LABELS, seed, epoch) for seed in (0, 1) for epoch in (0, 1, 2)]
    assert len({order.tobytes() for order in orders}) == 6
    assert np.array_equal(orders[1], balanced_order(LABELS, 0, 1))
    assert np.abs(np.diff(LABELS[orders[0] % 39])).sum() > 20, "classes do not come one by one"
    seen = np.unique(np.concatenate([balanced_order(LABELS, 0, epoch) % 39 for epoch in range(12)]))
    assert len(seen) == 39, "in time, every picture of the largest class is drawn"


def test_without_it_the_order_is_what_it_was():
    assert np.array_equal(epoch_order("shuffle", LABELS, 3, 1), sample_order(39, 3, 1))
    assert np.array_equal(epoch_order("balanced", LABELS, 3, 1), balanced_order(LABELS, 3, 1))


def test_it_says_how_many_of_how_many():
    assert balance(LABELS, "abc") == "13 pictures of each class an epoch, out of 2 of a to 30 of b"
    assert balance(LABELS[:-1], "abc") == "12 or 13 pictures of each class an epoch, out of 2 of a to 30 of b"


# Pictures and runs


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    root = write_class_folders(tmp_path_factory.mktemp("data") / "pictures", ("ants", "bees"), (9, 4), (36, 40))
    for number in range(2, 9):
        (root / "train" / "ants" / f"{number}.png").unlink()
    return root


def recipe_of(data, arch="tiny", **changes):
    usual = {"data": str(data), "arch": arch, "weights": "random", "size": 32, "epochs": 3, "batch_size": 4}
    return as_recipe(None, usual | {"train.sampler": "balanced", "model.dropout": 0.3, "optimizer.lr": 0.01} | changes)


@pytest.mark.parametrize("readers", ["threads", "processes"])
def test_a_picture_that_comes_again_has_a_crop_of_its_own(data, readers):
    p = prepare(recipe_of(data), NumpyBackend())
    train, transforms, count = p.data.train, p.recipe.augment.train_transforms, len(p.data.train.labels)
    parts = [np.array([0, count, 2 * count, 1]), np.array([count + 1])]
    batches = list(read_batches(train, transforms, parts, seed=0, view=0, workers=2, readers=readers))
    (first, digests), (second, _) = batches
    assert first.labels.tolist() == train.labels[[0, 0, 0, 1]].tolist()
    assert second.labels.tolist() == [train.labels[1]]
    assert len({row.tobytes() for row in digests}) == 4
    ((plain, _),) = read_batches(train, transforms, [np.array([0, 1])], seed=0, view=0, workers=1)
    assert np.array_equal(plain.inputs, first.inputs[[0, 3]])
    ((fixed, _),) = read_batches(train, FIXED, [np.array([0, count, count + 1])], seed=0, view=0, workers=1)
    files = [np.asarray(Image.open(train.files[index])) for index in (0, 0, 1)]
    assert np.array_equal(fixed.inputs, [pixels[2:34, 4:36] for pixels in files])


def test_a_native_pipeline_gets_places_of_files(data):
    split = prepare(recipe_of(data), NumpyBackend()).data.train
    asked = []

    def read(spec):
        asked.extend(part.tolist() for part in spec.chunks)
        return (Labelled(np.zeros((len(part), 8, 8, 3), np.uint8), split.labels[part]) for part in spec.chunks)

    source = NativePictures(read, split, (), 0, 1)
    ((batch, _),) = source.batches([np.array([1, len(split.labels) + 1, 3])], 0)
    assert asked == [[1, 1, 3]]
    assert batch.labels.tolist() == split.labels[[1, 1, 3]].tolist()


class Noting:
    """A source, and the positions that it was asked for."""

    def __init__(self, source):
        self.source, self.asked = source, []

    def batches(self, chunks, view):
        self.asked += np.concatenate(chunks).tolist()
        return self.source.batches(chunks, view)


@pytest.mark.parametrize("views", ["fresh", 2])
def test_fresh_views_are_new_for_each_time_and_a_kept_view_is_one_picture(data, views):
    p = prepare(recipe_of(data, train_from="stem", views=views, epochs=1), NumpyBackend())
    training, _ = open_phase(p, *plan(p.recipe), silent)
    training = replace(training, train=Noting(training.train))
    *_, end = train(training, Point(), silent)
    count = len(p.data.train.labels)
    drawn = balanced_order(p.data.train.labels, p.recipe.seed, 0)
    assert drawn.max() >= count
    assert training.train.asked == (drawn if views == "fresh" else drawn % count).tolist()
    assert end[0].epoch == 1


@pytest.mark.parametrize("changes", [{"views": 2, "train_from": "head"}, {"views": "fresh"}, {"views": 2}], ids=str)
def test_stopped_anywhere_it_ends_the_same(data, tmp_path, changes):
    recipe = recipe_of(data, **{"train_from": "stem"} | changes)
    whole = ended(recipe, [NumpyBackend()], [], tmp_path)
    assert_same_end(whole, ended(recipe, [NumpyBackend()], [2, 3, 1], tmp_path))


def test_kept_features_give_what_pictures_give(data, tmp_path):
    recipe = recipe_of(data, views=2, train_from="head")
    _, kept, weights = ended(recipe, [NumpyBackend()], [], tmp_path)
    _, computed, again = ended(as_recipe(recipe, {"features.cache": False}), [NumpyBackend()], [], tmp_path)
    assert kept.epoch.batches_digest == computed.epoch.batches_digest
    assert [name for name in weights if not np.array_equal(weights[name], again[name])] == []


def test_frameworks_get_the_same_batches_of_as_many_of_each_class(data):
    traces, digests = [], []
    for target in FRAMEWORKS:
        recorder = Recorder(require(target.backend)[0])
        p = prepare(recipe_of(data, "convnet", train_from="stem", epochs=1), recorder, "cpu")
        (last,) = fit(p)
        traces.append(recorder.trace)
        digests.append(last.epoch.batches_digest)
    assert [trace for trace in traces if trace != traces[0]] == []
    assert {*digests} == {digests[0]}
    drawn = "5 or 6 pictures of each class an epoch, out of 2 of ants to 9 of bees"
    assert p.notes[-1] == f"train.sampler = 'balanced': {drawn}"


def test_weights_for_the_same_purpose_are_refused(data):
    with pytest.raises(ConfigError, match=r"train.sampler and loss.class_weights are both 'balanced'.*Cure: leave one"):
        recipe_of(data, **{"loss.class_weights": "balanced"})
    assert recipe_of(data, **{"loss.class_weights": [1.0, 2.0]}).train.sampler == "balanced"
