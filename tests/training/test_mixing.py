"""Mixed batches: what is mixed with what, what the loss and the accuracy are then of, and that a run repeats it."""

from dataclasses import replace
from itertools import islice
from types import SimpleNamespace

import numpy as np
import pytest

from xfer.backend import Labelled
from xfer.errors import ConfigError
from xfer.features.store import entries, open_store
from xfer.losses import LossSpec, Partners, leading, mean_loss, targets_of
from xfer.metrics import log_softmax
from xfer.pixels.mixing import Blend, Patch
from xfer.progress import silent
from xfer.recipe.load import as_recipe
from xfer.recipe.meaning import plan
from xfer.recipe.recipe import Mix
from xfer.recipe.schedule import Schedule
from xfer.testing.fixtures import require, targets
from xfer.testing.numpy_backend import NumpyBackend
from xfer.testing.pictures import write_class_folders
from xfer.testing.recorder import Recorder
from xfer.testing.resuming import assert_same_end, ended
from xfer.training import mixing
from xfer.training.loop import Point, Training, train
from xfer.training.lr_range import Ramp, find_range
from xfer.training.masks import Masks
from xfer.training.mixing import examples, mixed
from xfer.training.phases import open_phase
from xfer.training.run import fit, prepare

LABELS = np.array([0, 1, 2, 0, 1, 2, 1], np.int64)
PICTURES = np.random.default_rng(5).integers(0, 256, (7, 8, 10, 3), np.uint8)
BOTH = Mix(mixup=0.4, cutmix=1.0)


class Seven:
    """A source of seven pictures."""

    def batches(self, chunks, view):
        for indices in chunks:
            yield Labelled(PICTURES[indices], LABELS[indices]), np.tile(indices[:, None].astype(np.uint8), 16)


class Step:
    """Notes its batches, and answers with their targets."""

    def __init__(self):
        self.batches = []

    def __call__(self, parts, lrs):
        self.batches += parts
        return lambda: (1.0, parts[0].targets)


def training(step, mix, **changes):
    source, schedule = Seven(), Schedule()
    standard = Training(
        step, lambda inputs: np.zeros((len(inputs), 3), np.float32), source, source, LABELS, LABELS, (1.0,), schedule,
        lr=0.1, phase=0, first_epoch=0, epochs=2, batch_size=3, val_batch=3, views=None, masks=Masks(), seed=0,
        classes=3, mix=mix, loss=LossSpec(),
    )  # fmt: skip
    return replace(standard, **changes)


def epochs(step, mix, start=None, **changes):
    """The epochs of a run of two with that step."""
    halts = train(training(step, mix, **changes), start or Point(), silent)
    return [halt[0] for halt in halts if isinstance(halt, tuple)]


def fixed(monkeypatch, how):
    """All that is drawn is this."""
    monkeypatch.setattr(mixing, "draw", lambda mix, size, rng: how)


def test_each_picture_is_mixed_with_the_one_before_it(monkeypatch):
    fixed(monkeypatch, Blend(64))
    result = mixed(BOTH, Labelled(PICTURES, LABELS), 0, 0, 0)
    others = PICTURES[[6, 0, 1, 2, 3, 4, 5]].astype(int)
    assert np.array_equal(result.inputs, (3 * PICTURES.astype(int) + others + 2) // 4)
    assert result.partners.labels.tolist() == [1, 0, 1, 2, 0, 1, 2]
    assert result.partners.share == 0.25


def test_a_batch_depends_on_seed_epoch_and_place_alone():
    def of(*key, batch=PICTURES):
        return mixed(Mix(mixup=1.0), Labelled(batch, LABELS), *key).inputs

    before = PICTURES.copy()
    assert np.array_equal(of(3, 1, 14), of(3, 1, 14))
    assert len({of(*key).tobytes() for key in [(3, 1, 14), (4, 1, 14), (3, 2, 14), (3, 1, 28)]}) == 4
    assert np.array_equal(PICTURES, before), "the reader's pictures are its own"


def test_a_batch_of_one_and_one_that_is_not_to_be_mixed_stay():
    for mix, batch in ((BOTH, Labelled(PICTURES[:1], LABELS[:1])), (Mix(mixup=1.0, p=0.0), Labelled(PICTURES, LABELS))):
        result = mixed(mix, batch, 0, 0, 0)
        assert result.inputs is batch.inputs
        assert result.partners is None


@pytest.mark.parametrize(
    ("mix", "none", "patches"),
    [
        (Mix(mixup=0.2), 0, 0),
        (Mix(cutmix=1.0), 0, 1),
        (Mix(mixup=0.2, cutmix=1.0), 0, 0.5),
        (Mix(mixup=0.2, cutmix=1.0, switch_p=0.9), 0, 0.9),
        (Mix(mixup=0.2, p=0.25), 0.75, 0),
        (Mix(cutmix=0.5, p=0.25, switch_p=0.0), 0.75, 0.25),
    ],
)
def test_how_often_there_is_which(mix, none, patches):
    rng = np.random.default_rng(0)
    drawn = [type(mixing.draw(mix, (8, 8), rng)) for _ in range(2000)]
    assert drawn.count(type(None)) / 2000 == pytest.approx(none, abs=0.03)
    assert drawn.count(Patch) / 2000 == pytest.approx(patches, abs=0.03)


@pytest.mark.parametrize("spec", [LossSpec(), LossSpec(0.3), LossSpec(0.3, (1.0, 2.0, 0.5))])
@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_the_loss_is_that_of_both_labels_by_their_shares(spec, share):
    """Zhang et al. 2018: lam * loss(labels) + (1 - lam) * loss(partners'), smoothed and weighted as each of them is."""
    log, second = log_softmax(np.random.default_rng(0).normal(0, 3, (7, 3)).astype(np.float32)), np.roll(LABELS, 1)
    right = (1 - share) * mean_loss(log, LABELS, spec) + share * mean_loss(log, second, spec)
    assert mean_loss(log, LABELS, spec, Partners(second, share)) == pytest.approx(right, rel=1e-12)
    targets, factors = targets_of(spec, LABELS, 3, Partners(second, share))
    assert -(factors * (targets * log).sum(axis=1)).sum() == pytest.approx(right, rel=1e-6)
    assert np.abs(targets.sum(axis=1) - 1).max() < 1e-6
    assert (targets.dtype, factors.dtype) == (np.float32, np.float32)


def test_a_step_sees_mixed_pictures_and_targets_and_a_last_batch_of_one_as_it_is(monkeypatch):
    fixed(monkeypatch, Blend(64))
    step, plain = Step(), Step()
    epochs(step, BOTH, epochs=1)
    epochs(plain, Mix(), epochs=1)
    for batch, own in zip(step.batches[:2], plain.batches[:2], strict=True):
        before = np.roll(own.inputs, 1, axis=0).astype(int)
        assert np.array_equal(batch.inputs, (3 * own.inputs.astype(int) + before + 2) // 4)
        assert np.array_equal(batch.targets, 0.75 * own.targets + 0.25 * np.roll(own.targets, 1, axis=0))
    assert [len(batch.inputs) for batch in step.batches] == [3, 3, 1]
    assert np.array_equal(step.batches[2].inputs, plain.batches[2].inputs)
    assert np.array_equal(step.batches[2].targets, plain.batches[2].targets)


@pytest.mark.parametrize("parts", [64, 192])
def test_figures_of_training_are_of_the_soft_targets_and_of_the_larger_share(monkeypatch, parts):
    fixed(monkeypatch, Blend(parts))
    step = Step()
    (epoch,) = epochs(step, BOTH, epochs=1)
    losses = [-(b.targets * log_softmax(b.targets)).sum() for b in step.batches]
    assert epoch.train_loss == pytest.approx(sum(losses) / 7, rel=1e-6)
    assert epoch.train_accuracy == 1.0


def test_of_equal_shares_a_pictures_own_label_counts():
    assert leading(LABELS, None) is LABELS
    assert leading(LABELS, Partners(np.roll(LABELS, 1), 0.5)) is LABELS


def test_the_digest_covers_what_is_mixed_and_how(monkeypatch):
    digests = {
        epochs(Step(), mix, epochs=1)[0].batches_digest for mix in (Mix(), BOTH, Mix(mixup=0.4), Mix(cutmix=1.0))
    }
    for share, bit in ((0.2, 0), (0.3, 0), (0.3, 1)):
        fixed(monkeypatch, pretended(share, bit))
        digests.add(epochs(Step(), BOTH, epochs=1)[0].batches_digest)
    assert len(digests) == 7


def pretended(share, bit):
    """What changes no more than that bit of the pixels, and says that its share is this."""
    return SimpleNamespace(share=share, apply=lambda image, other: image ^ bit)


def test_a_batch_in_a_later_part_of_an_epoch_is_mixed_as_it_would_have_been():
    whole, rest = Step(), Step()
    first, second = epochs(whole, BOTH)
    *_, tally = islice(train(training(Step(), BOTH), Point(), silent), 2)
    again = epochs(rest, BOTH, start=tally.point())
    assert [batch.inputs.tobytes() for batch in rest.batches] == [b.inputs.tobytes() for b in whole.batches[2:]]
    assert [e.batches_digest for e in again] == [first.batches_digest, second.batches_digest]


# On backends


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_class_folders(
        tmp_path_factory.mktemp("data") / "pictures", ("ants", "bees", "wasps"), (5, 2), (36, 40)
    )


def recipe_of(data, arch, **changes):
    usual = {"data": str(data), "arch": arch, "weights": "random", "size": 32, "batch_size": 4}
    usual |= {} if "phases" in changes else {"epochs": 2}
    mix = {"mix.mixup": 0.4, "mix.cutmix": 1.0, "loss.label_smoothing": 0.1, "loss.class_weights": "balanced"}
    return as_recipe(None, usual | mix | {"optimizer.lr": 0.01, "model.dropout": 0.2} | changes)


FRAMEWORKS = [target for target in targets() if target.backend != "numpy" and target.kind == "cpu"]


def test_every_framework_gets_the_same_mixed_batches(data):
    augmented = [{"op": "RandomResizedCrop", "size": 32}, {"op": "RandAugment"}, {"op": "AugMix"}]
    recipe = recipe_of(data, "convnet", train_from="stem", **{"augment.train": augmented})
    traces, digests = [], []
    for target in FRAMEWORKS:
        recorder = Recorder(require(target.backend)[0])
        *_, last = fit(prepare(recipe, recorder, "cpu"))
        traces.append(recorder.trace)
        digests.append(last.epoch.batches_digest)
    assert [trace for trace in traces if trace != traces[0]] == []
    assert {*digests} == {digests[0]}


@pytest.mark.parametrize("target", FRAMEWORKS, ids=str)
def test_stopped_inside_of_epochs_it_ends_the_same(data, tmp_path, target):
    backend, _ = require(target.backend)
    recipe = recipe_of(data, "convnet", train_from="stem")
    whole = ended(recipe, [backend], [], tmp_path, "cpu")
    assert_same_end(whole, ended(recipe, [backend], [3, 2], tmp_path, "cpu"))


@pytest.mark.parametrize("target", FRAMEWORKS, ids=str)
def test_what_a_native_pipeline_reads_is_mixed_too(data, target):
    backend, _ = require(target.backend)
    recipe = recipe_of(data, "convnet", train_from="stem", epochs=1, **{"data.pipeline": "native"})
    lasts = [list(fit(prepare(as_recipe(recipe, {"mix.p": p}), backend, "cpu")))[-1] for p in (0.0, 1.0)]
    assert lasts[0].epoch.batches_digest != lasts[1].epoch.batches_digest
    assert lasts[0].epoch.train_loss != lasts[1].epoch.train_loss


@pytest.mark.parametrize(("off", "phases"), [(1, [3]), (2, [1, 2]), (3, [3]), (9, [2, 1])])
def test_the_last_epochs_are_not_mixed_and_a_run_repeats_that(data, tmp_path, off, phases):
    changes = {"phases": [{"epochs": count} for count in phases], "train_from": "stem"}
    mixed_to_the_end, plain = (
        ended(recipe_of(data, "tiny", **changes, **{"mix.p": p}), [NumpyBackend()], [], tmp_path) for p in (1.0, 0.0)
    )
    recipe = recipe_of(data, "tiny", **changes, **{"mix.off_epochs": off})
    whole = ended(recipe, [NumpyBackend()], [], tmp_path)
    digests, mixed_ones, plain_ones = (
        [epoch.train_loss for epoch in end[1].state().history] for end in (whole, mixed_to_the_end, plain)
    )
    until = max(3 - off, 0)
    assert digests[:until] == mixed_ones[:until]
    assert all(ours != theirs for ours, theirs in zip(digests[until:], mixed_ones[until:], strict=True))
    assert off < 3 or digests == plain_ones
    # 15 pictures by 4 make 4 steps: stopped in the middle of epochs, and right before one that is not mixed
    assert_same_end(whole, ended(recipe, [NumpyBackend()], [3, 2, 5], tmp_path))
    says = f"mix.off_epochs: {f'the last {off} of' if off < 3 else 'all'} 3 epochs are of pictures as they are"
    assert says in whole[0].notes
    assert not any("off_epochs" in note for note in mixed_to_the_end[0].notes)


def test_a_test_of_rates_mixes_all_its_steps(data):
    recipe = recipe_of(data, "tiny", train_from="stem")
    ramp = Ramp(steps=20)  # of 4 to an epoch, and the recipe has 2
    usual, off, plain = (
        find_range(prepare(as_recipe(recipe, change), NumpyBackend()), ramp).losses.tolist()
        for change in ({}, {"mix.off_epochs": 2}, {"mix.p": 0.0})
    )
    assert usual == off != plain


@pytest.mark.parametrize("views", ["auto", 2])
def test_features_of_mixed_pictures_are_not_kept_and_those_of_validation_are(data, tmp_path, monkeypatch, views):
    monkeypatch.setenv("XFER_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("XFER_CACHE_LIMIT", "10MB")
    recipe = recipe_of(data, "tiny", train_from="head", views=views)
    p = prepare(recipe, NumpyBackend())
    assert open_phase(p, *plan(recipe), silent)[0].views == (None if views == "auto" else 2)
    _, kept, weights = ended(recipe, [NumpyBackend()], [], tmp_path)
    assert [entry.about["split"] for entry in entries(open_store())] == ["val"]
    _, computed, again = ended(as_recipe(recipe, {"features.cache": False}), [NumpyBackend()], [], tmp_path)
    assert kept.epoch.batches_digest == computed.epoch.batches_digest
    assert [name for name in weights if not np.array_equal(weights[name], again[name])] == []
    assert np.allclose(kept.result.logits, computed.result.logits, atol=1e-6)


def test_examples_say_what_is_in_them(monkeypatch):
    fixed(monkeypatch, Blend(64))
    pictures, titles = examples(BOTH, Labelled(PICTURES, LABELS), ("ant", "bee", "wasp"), 0)
    first = ["ant", "75% bee, 25% ant", "75% wasp, 25% bee", "75% ant, 25% wasp"]  # the first's partner is an ant too
    assert titles == [*first, "bee", "75% wasp, 25% bee", "75% bee, 25% wasp"]
    assert np.array_equal(pictures[4], (3 * PICTURES[4].astype(int) + PICTURES[6] + 2) // 4)
    assert examples(Mix(mixup=1.0, p=0.0), Labelled(PICTURES, LABELS), ("ant", "bee", "wasp"), 0)[1][0] == "ant"
    fixed(monkeypatch, Blend(192))
    assert examples(BOTH, Labelled(PICTURES, LABELS), ("ant", "bee", "wasp"), 0)[1][1] == "75% ant, 25% bee"


def test_mixing_needs_two_pictures_in_a_batch():
    with pytest.raises(ConfigError, match=r"^mix: .* Cure: a train.batch_size of 2 or more$"):
        as_recipe(None, {"mix.mixup": 0.2, "batch_size": 1})
    assert as_recipe(None, {"mix.mixup": 0.2, "mix.p": 0.0, "batch_size": 1}).train.batch_size == 1
