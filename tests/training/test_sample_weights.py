"""Weights of single pictures: what a step then makes smaller, on every backend; and they are a part of the data."""

from dataclasses import replace

import numpy as np
import pytest

from xfer.backend import Labelled
from xfer.data.dataset import open_dataset
from xfer.data.loader import read_now
from xfer.data.split import Fold
from xfer.errors import CheckpointError, DataError
from xfer.inspection.check import check_data
from xfer.inspection.text import lines
from xfer.losses import LossSpec, Partners, mean_loss, targets_of
from xfer.metrics import log_softmax
from xfer.progress import silent
from xfer.recipe.load import as_recipe, make_recipe
from xfer.recipe.recipe import Mix
from xfer.recipe.schedule import Schedule
from xfer.testing.fixtures import require
from xfer.testing.pictures import write_class_folders
from xfer.testing.resuming import assert_same_end, ended
from xfer.training import mixing
from xfer.training.loop import Point, Training, train
from xfer.training.masks import Masks
from xfer.training.resume import identity, refuse_changes
from xfer.training.run import EpochEnd, fit, prepare

LABELS = np.array([0, 1, 2, 0, 1, 2, 1], np.int64)
WEIGHTS = np.array([1.0, 0.0, 2.5, 0.5, 3.0, 1.0, 0.0])


def losses_of(log, labels, spec):
    """Of each picture alone, times the weight of its class, as torch documents CrossEntropyLoss."""
    weights = np.asarray(spec.class_weights or (1.0, 1.0, 1.0))
    own = -weights[labels] * log[np.arange(len(labels)), labels]
    return (1 - spec.label_smoothing) * own - spec.label_smoothing / 3 * (weights * log).sum(axis=1)


@pytest.mark.parametrize("share", [None, 0.0, 0.3, 1.0])
@pytest.mark.parametrize("spec", [LossSpec(), LossSpec(0.3), LossSpec(0.3, (1.0, 2.0, 0.5))])
def test_the_loss_of_each_picture_is_multiplied_and_of_a_mixed_one_each_part_by_its_own(spec, share):
    log = log_softmax(np.random.default_rng(0).normal(0, 3, (7, 3)).astype(np.float32))
    total = np.asarray(spec.class_weights or (1.0, 1.0, 1.0))[LABELS].sum()
    right, partners = (WEIGHTS * losses_of(log, LABELS, spec)).sum() / total, None
    if share is not None:
        second, of_second = np.roll(LABELS, 1), np.roll(WEIGHTS, 1)
        partners = Partners(second, share, of_second)
        right = (1 - share) * right + share * (of_second * losses_of(log, second, spec)).sum() / total
    assert mean_loss(log, LABELS, spec, partners, WEIGHTS) == pytest.approx(right, rel=1e-12)
    targets, factors = targets_of(spec, LABELS, 3, partners, WEIGHTS)
    assert -(factors * (targets * log).sum(axis=1)).sum() == pytest.approx(right, rel=1e-6)
    counting = factors > 0
    assert np.abs(targets[counting].sum(axis=1) - 1).max() < 1e-6
    assert not targets[~counting].any()
    assert (targets.dtype, factors.dtype) == (np.float32, np.float32)


def test_weights_of_1_change_no_bit():
    for spec in (LossSpec(), LossSpec(0.3, (1.0, 2.0, 0.5))):
        for ours, theirs in zip(
            targets_of(spec, LABELS, 3, None, np.ones(7)), targets_of(spec, LABELS, 3), strict=True
        ):
            assert np.array_equal(ours, theirs)


class Seven:
    """A source of seven pictures."""

    def batches(self, chunks, view):
        for indices in chunks:
            places = indices % 7
            pictures = np.full((len(indices), 8, 8, 3), 10, np.uint8) * places[:, None, None, None].astype(np.uint8)
            yield Labelled(pictures, LABELS[places]), np.tile(places[:, None].astype(np.uint8), 16)


class Step:
    """Notes its batches, and answers with fixed logits."""

    def __init__(self):
        self.batches = []

    def __call__(self, parts, lrs):
        self.batches += parts
        return lambda: (1.0, np.tile(np.array([[1.0, 0.0, -1.0]], np.float32), (len(parts[0].inputs), 1)))


@pytest.mark.parametrize("sampler", ["shuffle", "balanced"])
@pytest.mark.parametrize("mixes", [False, True])
def test_each_picture_of_a_batch_has_its_own_weight_and_its_partners(monkeypatch, sampler, mixes):
    monkeypatch.setattr(mixing, "draw", lambda mix, size, rng: mixing.Blend(64) if mixes else None)

    def epoch(**changes):
        step, source = Step(), Seven()
        t = Training(
            step, lambda inputs: np.zeros((len(inputs), 3), np.float32), source, source, LABELS, LABELS, (1.0,),
            Schedule(), lr=0.1, phase=0, first_epoch=0, epochs=1, batch_size=3, val_batch=3, views=None, masks=Masks(),
            seed=0, classes=3, mix=Mix(mixup=1.0), loss=LossSpec(), sampler=sampler, weights=WEIGHTS,
        )  # fmt: skip
        (row,) = (halt[0] for halt in train(replace(t, **changes), Point(), silent) if isinstance(halt, tuple))
        return step.batches, row

    plain, row_of_plain = epoch(weights=None, mix=Mix())
    batches, row = epoch()
    losses = []
    for batch, own in zip(batches, plain, strict=True):
        weights, before = WEIGHTS[own.inputs[:, 0, 0, 0] // 10], 0.25 if mixes and len(own.inputs) > 1 else 0.0
        each = weights[:, None] * own.targets
        wanted = (1 - before) * each + before * np.roll(each, 1, axis=0)
        assert np.allclose(batch.factors[:, None] * batch.targets, wanted / len(weights), atol=1e-7)
        log = log_softmax(np.tile(np.array([[1.0, 0.0, -1.0]], np.float32), (len(weights), 1)))
        losses.append(-(wanted * log).sum())
    assert row.train_loss == pytest.approx(sum(losses) / 7, rel=1e-9)
    assert row.val_loss == row_of_plain.val_loss, "validation knows no weights"
    assert row.batches_digest != row_of_plain.batches_digest
    assert epoch(weights=2 * WEIGHTS)[1].batches_digest != row.batches_digest


# In tables


@pytest.fixture
def root(tmp_path):
    return write_class_folders(tmp_path / "set", counts=(5, 2), size=(32, 32))


def written(root, weight, columns="path,label,split,weight", name="labels.csv"):
    """A table of the folders' pictures; `weight` gives the last cell of the i-th of them."""
    files = sorted(root.rglob("*.png"), key=lambda file: file.name + file.parent.name)
    rows = [f"{f.relative_to(root)},{f.parent.name},{f.parts[-3]},{weight(i)}" for i, f in enumerate(files)]
    (root / name).write_text(columns + "\n" + "\n".join(rows) + "\n")
    return root / name, {str(file): i for i, file in enumerate(files)}


@pytest.mark.parametrize("name", ["weight", "Sample Weight", "own"])
def test_weights_go_with_their_pictures_through_splits_and_folds(root, tmp_path, name):
    table, number = written(root, lambda i: i / 4, f"path,label,ignored,{name}")
    recipe = make_recipe({"data": {"columns": {"weight": "own"}, "source": "t.csv"}} if name == "own" else {}, {})
    chosen = {"columns": recipe.data.columns} if name == "own" else {}
    options = {"workers": 1, "cache": tmp_path / "cache", **chosen}
    for more in ({}, {"fold": Fold(2, 3)}, {"on_leak": "drop"}):
        data = open_dataset(str(table), **options, **more)
        for split in (data.train, data.val):
            assert split.weights.tolist() == [number[str(file)] / 4 for file in split.files]
            assert split.weights.dtype == np.float64
    check = check_data(str(table), as_recipe(recipe, {"augment.size": 8, "data.workers": 1}))
    assert [line for line in lines(check, []) if line.startswith("weights   0")]
    folders = open_dataset(str(root), workers=1, cache=tmp_path / "cache")
    assert folders.train.weights is None


@pytest.mark.parametrize(
    ("suffix", "content"),
    [
        (".jsonl", '{{"path": "x.png", "label": "a", "weight": 1}}\n{{"path": "y.png", "label": "b", "weight": {}}}'),
        (".csv", "path,label,weight\nx.png,a,1\ny.png,b,{}\n"),
    ],
)
@pytest.mark.parametrize("cell", ["-1", '""', "nan", "NaN", "-1e-3", "Infinity", "1e7", "true", '"heavy"', "[1]"])
def test_what_is_no_weight_is_refused_in_one_line(tmp_path, suffix, content, cell):
    table = tmp_path / f"t{suffix}"
    table.write_text(content.format(cell))
    with pytest.raises(DataError) as caught:
        open_dataset(str(table), workers=1, cache=tmp_path / "cache")
    if suffix == ".csv" or cell != "nan":  # which is no JSON
        assert "is no weight: expected a number of 0 to 1,000,000. Cure: " in str(caught.value)
    assert "\n" not in str(caught.value)


def test_two_weights_of_a_picture_and_weights_that_are_all_0(root, tmp_path):
    options = {"workers": 1, "cache": tmp_path / "cache"}
    table, _ = written(root, lambda i: 0 if i < 10 else 2)  # the last four: half of them train
    assert open_dataset(str(table), **options).train.weights.any()
    table.write_text(table.read_text().replace("train,2", "train,0.0"))
    with pytest.raises(DataError, match=r"all training pictures have the weight 0\. Cure: "):
        open_dataset(str(table), **options)
    table, _ = written(root, lambda i: 1)
    text = table.read_text()
    table.write_text(text + "train/ants/0.png,ants,train,1\n")
    assert [skipped.reason for skipped in open_dataset(str(table), **options).skipped] == [
        "in more than one row of the table"
    ]
    table.write_text(text + "train/ants/0.png,ants,train,2\n")
    with pytest.raises(
        DataError, match=r"line 16 gives 'train/ants/0\.png' the weight 2, and a row before it 1\. Cure"
    ):
        open_dataset(str(table), **options)


# On backends


def recipe_of(table, backend, **changes):
    plain = [{"op": "CenterCrop", "size": 32}]
    usual = {"data": str(table), "arch": "tiny" if backend == "numpy" else "convnet", "weights": "random"}
    usual |= {"epochs": 1, "batch_size": 16, "optimizer.lr": 0.5, "optimizer.momentum": 0.0, "model.dropout": 0.0}
    return as_recipe(
        None, usual | {"augment.train": plain, "augment.eval": plain, "schedule.kind": "constant"} | changes
    )


@pytest.mark.parametrize("name", ["numpy", "torch", "mindspore"])
@pytest.mark.parametrize("class_weights", [None, (1.0, 3.0)])
def test_a_step_is_that_of_the_formula(root, name, class_weights):
    """One step of plain descent on the head: w -= lr * sum(w_i * c_i * (softmax - t) x features) / sum(c_i)."""
    backend, device = require(name)
    table, number = written(root, lambda i: [0, 0.5, 2, 7][i % 4])
    p = prepare(recipe_of(table, name, **{"loss.class_weights": class_weights}), backend, device)
    train_split, classes = p.data.train, np.asarray(class_weights or (1.0, 1.0))
    images = read_now(train_split, p.recipe.augment.train_transforms, np.arange(len(train_split.labels)))
    before, weight, bias = p.net.export(), *p.net.arch.head_names
    features = p.net.predict_step(stop="head")(images).astype(np.float64)
    labels, logits = train_split.labels, p.net.predict_step()(images)
    of_logits = np.exp(log_softmax(logits)) - np.eye(2)[labels]
    given = np.array([[0, 0.5, 2, 7][number[str(file)] % 4] for file in train_split.files])
    of_logits *= (given * classes[labels] / classes[labels].sum())[:, None]
    (end,) = (event for event in fit(p) if isinstance(event, EpochEnd))
    after = p.net.export()
    moved = 0.5 * of_logits.T @ features
    assert np.abs(moved).max() > 1e-3
    assert np.allclose(before[weight] - after[weight], moved, rtol=1e-4, atol=2e-6)
    assert np.allclose(before[bias] - after[bias], 0.5 * of_logits.sum(axis=0), rtol=1e-4, atol=2e-6)
    own = -log_softmax(logits)[np.arange(10), labels] * classes[labels]
    assert end.epoch.train_loss == pytest.approx((given * own).sum() / classes[labels].sum(), rel=1e-5)
    assert end.epoch.train_accuracy == (logits.argmax(axis=1) == labels).mean()


@pytest.mark.parametrize("name", ["numpy", "torch", "mindspore"])
def test_a_picture_of_weight_0_gives_no_gradient_whatever_its_label(root, tmp_path, name):
    backend, device = require(name)
    weights = []
    for row in (",bees,train,0", ",ants,train,0", ",bees,train,1"):
        table, _ = written(root, lambda i: int(i != 2))
        assert table.read_text().count(",bees,train,0") == 1
        table.write_text(table.read_text().replace(",bees,train,0", row))
        _, _, last = ended(recipe_of(table, name), [backend], [], tmp_path, device)
        weights.append(last)
    first, other_label, counted = weights
    assert all(np.allclose(first[key], other_label[key], atol=1e-7) for key in first)
    assert not all(np.allclose(first[key], counted[key], atol=1e-4) for key in first)


def test_a_run_goes_on_with_its_weights_and_with_no_others(root, tmp_path):
    backend, _ = require("numpy")
    table, _ = written(root, lambda i: 1 + i % 3)
    recipe = recipe_of(table, "numpy", epochs=2, batch_size=4, **{"mix.mixup": 0.4})
    whole = ended(recipe, [backend], [], tmp_path)
    assert_same_end(whole, ended(recipe, [backend], [2, 2], tmp_path))
    stored = identity(prepare(recipe, backend))
    table.write_text(table.read_text().replace("val,2", "val,5"))
    refuse_changes(prepare(recipe, backend), stored, tmp_path)  # of validation they change nothing
    table.write_text(table.read_text().replace("train,2", "train,5", 1))
    with pytest.raises(CheckpointError, match=r"changed since .* stopped"):
        refuse_changes(prepare(recipe, backend), stored, tmp_path)
