"""Pictures of a batch mixed with each other, by the seed, the epoch and the place of the batch in it alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from xfer.arrays import Float64, Pixels
from xfer.backend import Labelled
from xfer.losses import Partners
from xfer.multilabel import as_words
from xfer.pixels.mixing import Blend, Patch, draw_blend, draw_patch
from xfer.recipe.recipe import Mix

_MIX = 5  # sets this generator apart from those of masks (2 to 4)
UNMIXED = Mix()
EXAMPLES = 4


@dataclass(frozen=True)
class Mixed:
    """Inputs of a batch, and the labels that come in beside its own; None: it is as it was."""

    inputs: NDArray[Any]
    partners: Partners | None = None

    @property
    def changed(self) -> Iterator[NDArray[Any]]:
        """What the digest of a batch covers besides, if it was mixed: pixels, the partners' labels, their share."""
        if self.partners is not None:
            yield from (self.inputs, self.partners.labels, np.array(self.partners.share))


def mixed(mix: Mix, batch: Labelled, seed: int, epoch: int, place: int, weights: Float64 | None = None) -> Mixed:
    """The batch, each picture mixed with the one before it, the first with the last; `place`: samples before it.

    One draw for a batch and a neighbour for each picture, as in torchvision's MixUp and CutMix: the order is random, so
    that a neighbour is any picture, and never the picture itself but in a batch of one, which is left as it is.
    `weights` (N,): of the pictures, where they have any.
    """
    if not mix.on or len(batch.labels) < 2:
        return Mixed(batch.inputs)
    _, *size, _ = batch.inputs.shape
    drawn = draw(mix, (size[0], size[1]), np.random.default_rng((seed, epoch, place, _MIX)))
    if drawn is None:
        return Mixed(batch.inputs)
    pictures = np.empty_like(batch.inputs)  # the reader's own are the partners too
    for i, image in enumerate(batch.inputs):
        pictures[i] = drawn.apply(image, batch.inputs[i - 1])
    seconds = None if weights is None else np.roll(weights, 1)
    return Mixed(pictures, Partners(np.roll(batch.labels, 1), drawn.share, seconds))


def examples(mix: Mix, batch: Labelled, classes: Sequence[str], seed: int) -> tuple[Pixels, list[str]]:
    """The pictures mixed as in batches of EXAMPLES, and what is in each, most first: `70% cat, 30% dog`."""
    pictures, titles = [], list[str]()
    for place in range(0, len(batch.labels), EXAMPLES):
        part = Labelled(batch.inputs[place : place + EXAMPLES], batch.labels[place : place + EXAMPLES])
        result = mixed(mix, part, seed, 0, place)
        partners = result.partners or Partners(part.labels, 0.0)
        (own, theirs), words = as_words([part.labels, partners.labels], classes)
        pictures.append(result.inputs)
        titles += [
            _title({words[label]: 1 - partners.share}, words[second], partners.share)
            for label, second in zip(own, theirs, strict=True)
        ]
    return np.concatenate(pictures), titles


def _title(shares: dict[str, float], second: str, share: float) -> str:
    shares = shares | {second: shares.get(second, 0.0) + share}
    named = sorted(((share, name) for name, share in shares.items() if share > 0), reverse=True)
    return named[0][1] if len(named) == 1 else ", ".join(f"{share:.0%} {name}" for share, name in named)


def draw(mix: Mix, size: tuple[int, int], rng: Generator) -> Blend | Patch | None:
    """How pictures of (height, width) `size` are mixed; None where the draw is to leave them alone."""
    if rng.random() >= mix.p:
        return None
    chance = mix.switch_p if mix.mixup and mix.cutmix else float(mix.cutmix > 0)
    return draw_patch(mix.cutmix, size, rng) if rng.random() < chance else draw_blend(mix.mixup, rng)
