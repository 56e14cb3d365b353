import tracemalloc
from dataclasses import replace
from itertools import islice

import numpy as np
import pytest

from xfer.backend import Batch, Labelled, NetworkSpec, OptimizerSpec
from xfer.errors import XferError
from xfer.losses import LossSpec, mean_loss, targets_of
from xfer.metrics import better, evaluate, evaluation, log_softmax
from xfer.nets.freeze import FreezePolicy, resolve
from xfer.nets.weights import init_weights
from xfer.progress import silent
from xfer.recipe.schedule import Schedule
from xfer.testing.kit import random_batch
from xfer.testing.numpy_backend import NETWORK, TINY, NumpyBackend
from xfer.training.loop import Point, Training, train
from xfer.training.masks import Dropped, Masks

LABELS = np.array([0, 1, 2, 0, 1, 2, 1], np.int64)


class Numbers:
    """A source whose `inputs` are the indices themselves, and which notes the views it was asked for."""

    def __init__(self):
        self.views = []

    def batches(self, chunks, view):
        self.views.append(view)
        for indices in chunks:
            yield (
                Labelled(indices[:, None].astype(np.float32), LABELS[indices]),
                np.tile(indices[:, None].astype(np.uint8), 16),
            )


class Step:
    """Notes its calls; knows the right answer for every sample below 5."""

    def __init__(self, loss=lambda n: float(n)):
        self.calls, self.read, self.loss = [], [], loss

    def __call__(self, parts, lrs):
        (batch,) = parts
        number = len(self.calls)
        self.calls.append((batch, lrs))

        def lazy():
            self.read.append((number, len(self.calls)))
            return self.loss(number), answers(batch.inputs)

        return lazy


def answers(inputs):
    guess = np.where(inputs[:, 0] < 5, LABELS[inputs[:, 0].astype(int)], 0)
    return np.eye(3, dtype=np.float32)[guess]


def training(step, **changes):
    source = Numbers()
    standard = Training(
        step=step,
        predict=answers,
        train=source,
        val=source,
        train_labels=LABELS,
        val_labels=LABELS,
        lr_mults=(1.0, 10.0),
        schedule=Schedule(kind="step", step_epochs=1, gamma=0.1),
        lr=0.5,
        phase=0,
        first_epoch=0,
        epochs=2,
        batch_size=3,
        val_batch=4,
        views=None,
        masks=Masks(),
        seed=0,
        classes=3,
    )
    return replace(standard, **changes)


def run(t):
    halts = train(t, Point(epoch=t.first_epoch), silent)
    return [(halt[0], halt[1]) for halt in halts if isinstance(halt, tuple)]


def test_every_sample_is_seen_once_an_epoch_in_another_order():
    step = Step()
    run(training(step))
    seen = [int(i) for batch, _ in step.calls for i in batch.inputs[:, 0]]
    assert sorted(seen[:7]) == sorted(seen[7:]) == list(range(7))
    assert seen[:7] != seen[7:]
    assert [len(batch.targets) for batch, _ in step.calls] == [3, 3, 1] * 2


def test_each_group_gets_its_own_rate_on_schedule():
    step = Step()
    run(training(step))
    assert np.allclose([lrs for _, lrs in step.calls], [[0.5, 5.0]] * 3 + [[0.05, 0.5]] * 3)


def test_the_mean_loss_of_many_classes_takes_no_square_of_them():
    classes = 20_000
    logits, labels = np.zeros((2, classes), np.float32), np.array([0, classes - 1])
    tracemalloc.start()
    try:
        assert mean_loss(log_softmax(logits), labels, LossSpec(0.1)) == pytest.approx(np.log(classes))
        assert tracemalloc.get_traced_memory()[1] < 10_000_000
    finally:
        tracemalloc.stop()


def test_the_mean_loss_is_over_samples_not_batches():
    (first, _), _ = run(training(Step()))
    assert first.train_loss == pytest.approx((0 * 3 + 1 * 3 + 2 * 1) / 7)
    assert first.train_accuracy == pytest.approx(5 / 7)
    assert first.val_accuracy == pytest.approx(5 / 7)


def test_a_step_is_not_waited_for_while_others_run():
    step = Step()
    run(training(step, batch_size=1, epochs=1))
    assert len(step.read) == 7
    assert step.read[0] == (0, 7)  # with seven steps, fewer than the lag, the first is read after the last


@pytest.mark.parametrize(("views", "wanted"), [(None, [3, 4, 5, 6]), (2, [1, 0, 1, 0]), (1, [0, 0, 0, 0])])
def test_epochs_take_their_views_in_turn(views, wanted):
    t = training(Step(), views=views, first_epoch=3, epochs=4, val=Numbers())
    epochs = run(t)
    assert t.train.views == wanted
    assert t.val.views == [0] * 4
    assert [e.epoch for e, _ in epochs] == [4, 5, 6, 7]


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_loss_that_is_not_finite_ends_it_with_the_step_and_a_cure(value):
    step = Step(loss=lambda n: value if n == 4 else 1.0)
    with pytest.raises(XferError, match=r"step 2 of epoch 2.*Cure") as caught:
        run(training(step))
    assert "0.05" in str(caught.value)


def test_the_digest_covers_pictures_labels_and_masks():
    plain, again = run(training(Step())), run(training(Step()))
    dropped = run(training(Step(), masks=Masks(Dropped("head", (4,), 0.5))))
    reseeded = run(training(Step(), seed=1))
    digests = [[e.batches_digest for e, _ in r] for r in (plain, again, dropped, reseeded)]
    assert digests[0] == digests[1]
    assert digests[0][0] != digests[0][1]
    assert len({digests[0][0], digests[2][0], digests[3][0]}) == 3


def test_dropout_is_the_same_for_a_sample_in_any_batch():
    def keep(epoch, indices, width=50):
        return Masks(Dropped("head", (width,), 0.4)).draw(3, epoch, np.asarray(indices))["head"]

    whole = keep(1, range(6))
    assert np.array_equal(keep(1, [4, 2]), whole[[4, 2]])
    assert not np.array_equal(keep(2, range(6)), whole)
    assert set(np.unique(whole)) == {np.float32(0), np.float32(1 / 0.6)}
    assert keep(1, range(2000), 5).mean() == pytest.approx(1, abs=0.05)
    assert Masks().draw(3, 1, np.arange(6)) == {}


def test_evaluate_gives_losses_of_plain_cross_entropy():
    logits = np.array([[2.0, 0.0, 0.0], [0.0, 1.0, 0.0], [500.0, 0.0, -500.0]], np.float32)
    result = evaluation(logits, np.array([0, 2, 0]))
    expected = [np.log(1 + 2 * np.exp(-2)), np.log(2 + np.e), 0.0]
    assert result.losses == pytest.approx(expected, abs=1e-6)
    assert result.loss == pytest.approx(np.mean(expected))
    assert result.accuracy == pytest.approx(2 / 3)
    assert result.probabilities.sum(axis=1) == pytest.approx(1)
    assert result.predictions.tolist() == [0, 1, 0]


def test_evaluate_goes_in_order_and_reports():
    told = []
    result = evaluate(answers, Numbers(), LABELS, 3, lambda *step: told.append(step))
    assert result.labels is LABELS
    assert len(result.logits) == 7
    assert [done for _, done, _ in told] == [3, 6, 7]


def test_better_is_more_accurate_then_surer_then_earlier():
    def of(right, loss):
        return replace(evaluation(np.eye(3, dtype=np.float32), np.arange(3)), accuracy=right, loss=loss)

    assert better(of(0.5, 9), None)
    assert better(of(0.6, 9), of(0.5, 1))
    assert better(of(0.5, 1), of(0.5, 2))
    assert not better(of(0.5, 1), of(0.5, 1))
    assert not better(of(0.4, 0), of(0.5, 1))


@pytest.mark.parametrize("spec", [LossSpec(), LossSpec(0.1), LossSpec(0.2, (0.5, 1.0, 3.0))])
def test_the_training_loss_is_what_a_step_minimises(spec):
    backend = NumpyBackend()
    model = backend.build(NetworkSpec(NETWORK.with_classes(3), TINY.mean, TINY.std), "cpu")
    weights = init_weights({name: w.shape for name, w in backend.export_weights(model).items()}, 1)
    backend.import_weights(model, weights)
    groups = resolve(FreezePolicy("stem"), TINY, list(weights))
    batch = random_batch(7, 3, (32, 32))
    step = backend.make_train_step(model, OptimizerSpec(), "softmax", groups, "stem", "stem")
    loss, logits = step([Batch(batch.inputs, *targets_of(spec, batch.labels, 3))], [0.1])()
    assert mean_loss(log_softmax(logits), batch.labels, spec) == pytest.approx(loss, abs=1e-7)


def test_stopped_after_any_step_the_sums_and_the_digest_go_on():
    whole, _ = run(training(Step(loss=lambda n: 1.0)))
    for stop in range(1, 4):
        halts = train(training(Step(loss=lambda n: 1.0)), Point(), silent)
        *_, tally = islice(halts, stop)
        point = tally.point()
        assert (point.epoch, point.step) == (0, stop)
        rest = [halt[0] for halt in train(training(Step(loss=lambda n: 1.0)), point, silent) if type(halt) is tuple]
        for key in ("epoch", "train_loss", "train_accuracy", "batches_digest", "lr"):
            assert getattr(rest[0], key) == getattr(whole[0], key)


def test_a_step_has_been_given_when_progress_hears_of_it():
    given, heard = [], []
    t = training(Step())
    for halt in train(t, Point(), lambda what, done, total: heard.append((what, len(given)))):
        given.append(halt)
    assert heard[:4] == [("epoch 1", 1), ("epoch 1", 2), ("epoch 1", 3), ("validation", 3)]
