"""One phase of a run as the loop sees it: a fresh step, and batches that enter the network at the freeze boundary."""

from __future__ import annotations

from collections.abc import Sequence

from xfer.data.order import Source
from xfer.data.sources import Taken, open_source
from xfer.features.cache import FeatureCache
from xfer.features.key import Prefix, origin, shareable
from xfer.metrics import Epoch
from xfer.progress import Progress, part
from xfer.recipe import meaning
from xfer.recipe.phases import PlannedPhase, epochs
from xfer.training.average import AveragedStep, begin
from xfer.training.loop import Training
from xfer.training.masks import masks_of
from xfer.training.prepared import Prepared


def open_phase(
    p: Prepared, phase: PlannedPhase, progress: Progress, history: Sequence[Epoch] = ()
) -> tuple[Training, float]:
    """The closures of a phase, and the seconds that it took to obtain the features it trains on.

    `history`: of the epochs so far, also of those of this phase.

    Batches enter at the last boundary with nothing but frozen names before it, if their features are kept.
    """
    recipe, net, groups = p.recipe, p.net, p.groups[phase.number]
    cut = net.arch.first_stage(groups.moving)
    views = meaning.views(recipe, frozen_prefix=cut != net.first and not recipe.mix.on)
    train, val = _pictures(p)
    train_start = val_start = net.first
    kept: list[FeatureCache] = []
    if recipe.features.cache and cut != net.first:
        keeps = views is not None and not recipe.mix.on  # of a picture that is mixed, all depends on its partner
        seen = _seen(phase, views) if views is not None and keeps else []
        kept_train, kept_val = _caches(p, cut, train, val, len(seen), progress)
        val, val_start = _as_taken(kept_val.fill([0]), val), cut
        kept.append(kept_val)
        if keeps:
            train, train_start = _as_taken(kept_train.fill(seen), train), cut
            kept.append(kept_train)
    step, shown = net.train_step(meaning.optimizer_spec(recipe), groups, train_start, p.loss.kind), p.average or net
    if p.average is not None:
        begin(p.average, net, {})
        step = AveragedStep(step, net, p.average, groups.moving, recipe.train.ema or 0.0)
    dropout = net.arch.dropout if recipe.model.dropout is None else recipe.model.dropout
    training = Training(
        step=step,
        predict=shown.predict_step(val_start),
        train=train,
        val=val,
        train_labels=p.data.train.labels,
        val_labels=p.data.val.labels,
        lr_mults=tuple(group.lr_mult for group in groups.trainable),
        schedule=recipe.schedule,
        lr=phase.lr,
        phase=phase.number,
        first_epoch=phase.first_epoch,
        epochs=phase.epochs,
        batch_size=recipe.train.batch_size,
        val_batch=net.predict_batch(on_cpu=recipe.train.batch_size),
        accumulate=recipe.train.accumulate,
        views=views,
        masks=masks_of(net.graph, net.spec.image_size, cut, dropout),
        seed=recipe.seed,
        classes=net.spec.num_classes,
        losses=tuple(epoch.val_loss for epoch in history[phase.first_epoch :]),
        loss=p.loss,
        precision=net.spec.precision,
        mix=recipe.mix,
        mixed_until=epochs(recipe) - recipe.mix.off_epochs,
        sampler=recipe.train.sampler,
        weights=p.data.train.weights,
    )
    return training, sum(cache.seconds for cache in kept)


def _seen(phase: PlannedPhase, views: int) -> list[int]:
    """Which of a number of views the epochs of a phase see."""
    epochs = range(phase.first_epoch, min(phase.end, phase.first_epoch + views))  # after that they come again
    return sorted({epoch % views for epoch in epochs})


def _caches(
    p: Prepared, cut: str, train: Source, val: Source, views: int, progress: Progress
) -> tuple[FeatureCache, FeatureCache]:
    """What the frozen prefix makes of both splits at the boundary `cut`; nothing is computed yet.

    Their progress is one, over the validation pictures and then over `views` views of those for training.
    Of a fold, it is what is made of all pictures, where that can be kept: the other folds then find it.
    """
    prefix, step, dtype = Prefix(p.net, cut), p.net.predict_step(stop=cut), p.recipe.features.dtype
    shared = bool(p.store.limit) and all(shareable(_whole(source), p.net.backend) for source in (train, val))
    splits, every = [p.data.train, p.data.val], ""
    if shared and p.data.folded:
        (train, val), splits, every = (_whole(train), _whole(val)), [p.data.folded.whole] * 2, " of all folds"
    n_train, n_val = (len(split.labels) for split in splits)
    total = n_val + views * n_train
    sides = (
        (train, splits[0], part(progress, n_val, total), "features of train"),
        (val, splits[1], part(progress, 0, total), "features of val"),
    )
    batch = p.net.predict_batch()
    caches = [FeatureCache(source, split, step, told, dtype, what=w, batch=batch) for source, split, told, w in sides]
    if shared:
        for name, cache in zip(("train", "val"), caches, strict=True):
            about = {"data": p.data.name, "split": f"{name}{every}"}
            cache.store, cache.origin = p.store, origin(cache.pictures, prefix, dtype, about)
    return caches[0], caches[1]


def _whole(source: Source) -> Source:
    """What a fold's pictures are taken from; any other source itself."""
    return source.source if isinstance(source, Taken) else source


def _as_taken(cache: FeatureCache, pictures: Source) -> Source:
    """The features of the same pictures: those of all may have been kept, where these are of a fold."""
    if isinstance(pictures, Taken) and cache.pictures is pictures.source:
        return Taken(cache, pictures.places)
    return cache


def _pictures(p: Prepared) -> tuple[Source, Source]:
    """Where pictures come from, for training and for validation."""
    data, augment, folded = p.recipe.data, p.recipe.augment, p.data.folded
    splits = (p.data.train, p.data.val) if folded is None else (folded.whole, folded.whole)
    transforms = (p.data.seen(augment.train_transforms), p.data.seen(augment.eval_transforms))
    seed, draft = p.recipe.seed, data.decode == "draft"
    train, val = (
        open_source(p.net.backend, data.pipeline, split, each, seed, data.workers, draft, data.readers)
        for split, each in zip(splits, transforms, strict=True)
    )
    return (train, val) if folded is None else (Taken(train, folded.train), Taken(val, folded.val))
