"""One phase of a run as the loop sees it: a fresh step, and batches that enter the network at the freeze boundary."""

from __future__ import annotations

from dataclasses import replace

from xfer.archs import LOGITS
from xfer.data.sources import Source, open_source
from xfer.features.cache import FeatureCache
from xfer.features.key import origin, prefix_digest, shareable
from xfer.nets import freeze
from xfer.pixels.augment import is_random
from xfer.progress import Progress
from xfer.recipe.meaning import _rule, _views
from xfer.recipe.recipe import PlannedPhase
from xfer.training import loop
from xfer.training.prepare import Prepared


def open_phase(
    p: Prepared, number: int, phase: PlannedPhase, first_epoch: int, progress: Progress
) -> tuple[list[FeatureCache], loop.Training]:
    """The closures of one phase: a fresh step, and batches that enter the network at the freeze boundary."""
    recipe, backend, groups = p.recipe, p.backend, p.groups[number]
    first, cut = p.arch.stage_names[0], freeze.boundary(groups, p.arch)
    views = _views(recipe, frozen_prefix=cut != first) if is_random(recipe.augment.train_transforms) else 1
    train, val = _pictures(p)
    train_start = val_start = first
    caches = []
    if recipe.features.cache and cut != first:
        kept_train, kept_val = _caches(p, cut, train, val, progress)
        val, val_start = kept_val.fill([0]), cut
        caches.append(val)
        if views is not None:
            seen = {epoch % views for epoch in range(first_epoch, first_epoch + phase.epochs)}
            train, train_start = kept_train.fill(sorted(seen)), cut
            caches.append(train)
    return caches, loop.Training(
        step=backend.make_train_step(p.model, _rule(recipe), p.loss, groups, train_start),
        predict=backend.make_predict_step(p.model, val_start, LOGITS),
        train=train,
        val=val,
        train_labels=p.data.train.labels,
        val_labels=p.data.val.labels,
        lr_mults=tuple(group.lr_mult for group in groups.trainable),
        schedule=recipe.schedule,
        lr=phase.lr,
        epochs=phase.epochs,
        batch_size=recipe.train.batch_size,
        views=views,
        dropout=p.arch.dropout if recipe.model.dropout is None else recipe.model.dropout,
        head_width=p.arch.features,
        seed=recipe.seed,
    )


def _caches(p: Prepared, cut: str, train: Source, val: Source, progress: Progress) -> tuple[FeatureCache, FeatureCache]:
    """What the frozen prefix makes of both splits at the boundary `cut`; nothing is computed yet."""
    prefix = p.backend.make_predict_step(p.model, p.arch.stage_names[0], cut)
    sides, dtype = ((train, p.data.train), (val, p.data.val)), p.recipe.features.dtype
    caches = [FeatureCache(*side, prefix, progress, dtype) for side in sides]
    if p.store.limit and all(shareable(source, p.backend) for source in (train, val)):
        digest = prefix_digest(p.backend.export_weights(p.model), p.arch, cut)
        for name, cache in zip(("train", "val"), caches, strict=True):
            came = origin(cache.pictures, p.backend, p.device, p.arch, p.spec, cut, digest, dtype)
            cache.store, cache.origin = p.store, replace(came, about={"data": p.data.name, "split": name} | came.about)
    return caches[0], caches[1]


def _pictures(p: Prepared) -> tuple[Source, Source]:
    said, augment = p.recipe.data, p.recipe.augment
    sides = ((p.data.train, augment.train_transforms), (p.data.val, augment.eval_transforms))
    seed, draft = p.recipe.seed, said.decode == "draft"
    train, val = (open_source(p.backend, said.pipeline, *side, seed, said.workers, draft) for side in sides)
    return train, val
