"""One run, from a recipe to its best weights. Start reading here.

recipe -> data -> network -> phases -> epochs -> best weights

A phase's closures are made in `phases`, and called in `loop`; `record` writes down what happens here.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from xfer.arrays import Pixels, Weights
from xfer.backend import Backend
from xfer.backends import load_backend, pick_device
from xfer.data.dataset import Dataset
from xfer.data.loader import read_now
from xfer.data.order import balance
from xfer.features.store import open_store
from xfer.formats.files import digest
from xfer.metrics import Epoch, Evaluation
from xfer.nets.first import first_weights
from xfer.nets.net import Net, build_net
from xfer.nets.network_file import place_of
from xfer.nets.padding import PICTURES, fit_padding
from xfer.nets.pretrained import resolve_source, settled
from xfer.nets.specs import with_graph
from xfer.progress import Progress, silent
from xfer.recipe import meaning
from xfer.recipe.endings import phases_of
from xfer.recipe.loss import loss_spec
from xfer.recipe.phases import PlannedPhase, epochs, plan
from xfer.recipe.recipe import Recipe
from xfer.results.read import AS_GIVEN, Places
from xfer.training import loop
from xfer.training.average import begin
from xfer.training.diverged import refuse_broken
from xfer.training.phases import open_phase
from xfer.training.prepared import Prepared
from xfer.training.rehearsal import refuse_lone_picture
from xfer.training.state import BEGINNING, Standing, State, capture, moved_until, restore


def prepare(
    recipe: Recipe,
    backend: str | Backend,
    device: str = "auto",
    progress: Progress = silent,
    places: Places = AS_GIVEN,
) -> Prepared:
    """Open the data, build the network and give it its first weights. Writes nothing into a run folder.

    `places`: where the data and the weights lie that the recipe names, if not where it says.
    Raises XferError for whatever a user can put right.
    """
    backend = load_backend(backend) if isinstance(backend, str) else backend
    device, store = pick_device(backend, device), open_store()
    precision = meaning.precision(recipe, backend, device)
    meaning.refuse_rule(recipe, backend)
    arch, size, asked = meaning.network(recipe, backend, places.network), meaning.image_size(recipe), recipe.weights
    source = places.weights or settled(asked.source, places.network or arch.name)
    weights, metadata = resolve_source(source, arch.name, progress=progress) or (None, {})

    data = meaning.open_data(recipe, progress, places.data)
    loss = loss_spec(recipe, data)
    meaning.refuse_large_batches(recipe, data, device)

    spec = meaning.model_spec(recipe, arch, len(data.classes), size, metadata, precision)
    net = build_net(backend, device, with_graph(spec, backend, places.network), meaning.starts(recipe))
    first = first_weights(
        net, source, weights, metadata, data.classes, seed=recipe.seed, head=asked.head, partial=asked.partial
    )
    net.load(first.weights)
    padded = ""
    if recipe.model.padding == "auto":
        net, padded = fit_padding(net, metadata, source, partial(_some_pictures, recipe, data))
    notes = (*first.notes, padded) if padded else first.notes
    if recipe.train.sampler == "balanced":
        notes = (*notes, f"train.sampler = 'balanced': {balance(data.train.labels, data.classes)}")
    if recipe.mix.on and recipe.mix.off_epochs:
        notes = (*notes, f"mix.off_epochs: {_unmixed(recipe)} of pictures as they are")
    groups = tuple(meaning.groups(recipe, phase, arch, net.graph) for phase in plan(recipe))
    prepared = Prepared(
        recipe, net, data, groups, loss, store, digest(first.weights), first.loaded, notes, first.parent,
        network=place_of(places.network or arch.name),
        average=None if recipe.train.ema is None else build_net(backend, device, net.spec, meaning.starts(recipe)),
    )  # fmt: skip
    refuse_lone_picture(prepared)
    return prepared


def _unmixed(recipe: Recipe) -> str:
    count, off = epochs(recipe), recipe.mix.off_epochs
    return f"the last {off} of {count} epochs are" if off < count else f"all {count} epochs are"


def _some_pictures(recipe: Recipe, data: Dataset) -> Pixels:
    """Of all classes, as they are evaluated."""
    indices = np.linspace(0, len(data.train.labels) - 1, PICTURES).astype(np.int64)
    return read_now(data.train, data.seen(recipe.augment.eval_transforms), np.unique(indices))


@dataclass(frozen=True)
class StepEnd:
    """A step was done inside an epoch. `state` waits for the device and copies what a resumed run needs."""

    state: Callable[[], State]


@dataclass(frozen=True)
class EpochEnd:
    """An epoch and the evaluation after it, with the best epoch so far, its evaluation and its weights.

    weights   copies of those that were evaluated, until the next step: with `train.ema`, their averages
    note   a line on a phase that ends here, before its epochs are over; or ""
    """

    epoch: Epoch
    result: Evaluation
    best_epoch: Epoch
    best: Evaluation
    best_weights: Weights
    seconds_features: float  # spent on the boundary cache so far
    weights: Callable[[], Weights]
    state: Callable[[], State]  # as of StepEnd, until the next step
    note: str = ""


def train(
    p: Prepared, start: State = BEGINNING, progress: Progress = silent
) -> Generator[StepEnd | EpochEnd, None, None]:
    """Go through all phases, with a halt after each step and each epoch.

    From a `start` that an earlier part of the run left, what follows is what would have followed then. One that is at
    the end gives its last epoch again.
    """
    standing, point = restore(p.net, start, p.data.val.labels), start.point
    shown = p.average or p.net
    if point.epoch == phases_of(p.recipe, standing.figures)[-1].end:
        if p.average is not None:
            begin(p.average, p.net, start.optimizer)
        yield _epoch_end(standing, shown.export, lambda: start)
    for number in range(len(p.groups)):
        phase = phases_of(p.recipe, standing.figures)[number]
        if point.epoch >= phase.end:
            continue
        training, seconds = open_phase(p, phase, progress, standing.history)
        standing = replace(standing, seconds_features=standing.seconds_features + seconds)
        if (point.epoch, point.step) > (phase.first_epoch, 0):  # it was left inside of this phase
            training.step.import_state(start.optimizer)
        moved = moved_until(p, number)
        for event in loop.train(training, point, progress):
            if isinstance(event, loop.Tally):
                yield StepEnd(partial(capture, p.net, training.step, moved, standing, event))
            else:
                epoch, result, point = event
                standing = standing.after(epoch, result, partial(_sound_weights, shown, moved, epoch))
                ended = phases_of(p.recipe, standing.figures)[number].end == point.epoch
                note = _note(p.recipe, phase, point.epoch) if ended and point.epoch < phase.end else ""
                state = partial(capture, p.net, training.step, moved, standing, point)
                yield _epoch_end(standing, shown.export, state, note)
                if ended:
                    break


def fit(p: Prepared, progress: Progress = silent) -> Iterator[EpochEnd]:
    """Train through all phases, giving each epoch as it ends."""
    return (event for event in train(p, progress=progress) if isinstance(event, EpochEnd))


def _sound_weights(net: Net, moved: Sequence[str], epoch: Epoch) -> Weights:
    """All weights of the network. Raises XferError where training has broken them."""
    weights = net.export()
    refuse_broken(weights, moved, epoch, net.spec.precision)
    return weights


def _note(recipe: Recipe, phase: PlannedPhase, epoch: int) -> str:
    """On a phase that ends after an epoch, counted from 1 over the run, before its own are over."""
    which = f"phase {phase.number + 1}" if len(plan(recipe)) > 1 else "training"
    done, waited = epoch - phase.first_epoch, recipe.train.patience
    return f"{which} ends after {done} of {phase.epochs} epochs: {waited} without a gain (train.patience)"


def _epoch_end(
    standing: Standing, weights: Callable[[], Weights], state: Callable[[], State], note: str = ""
) -> EpochEnd:
    assert standing.last is not None, "an epoch has ended"
    assert standing.best is not None, "the first epoch is the best so far"
    best_epoch = [epoch for epoch in standing.history if epoch.best][-1]
    best = best_epoch, standing.best, dict(standing.best_weights)
    return EpochEnd(standing.history[-1], standing.last, *best, standing.seconds_features, weights, state, note)
