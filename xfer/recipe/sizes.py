"""A size that was asked for, against lists of transforms that say their own."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from xfer.errors import ConfigError
from xfer.pixels.augment import Pad, Transform, output_size, split_normalize
from xfer.recipe.recipe import Augment


def refuse_other_size(augment: Augment, name: str) -> None:
    """Raises ConfigError where `augment.size`, asked for by an override, does not reach a list that the recipe gives.

    The cure is an override for every size in such a list, in proportion to the one that was asked for.
    """
    made, cures, padded = [], [], False
    for key, transforms in (("augment.train", augment.train), ("augment.eval", augment.eval)):
        if transforms is not None:
            height, width = output_size(split_normalize(transforms)[0])
            if (height, width) != (augment.size, augment.size):
                made.append(f"{key}, which makes pictures of {height}x{width}")
                cures += _overrides(key, transforms, augment.size / min(height, width))
                padded = padded or any(isinstance(transform, Pad) for transform in transforms)
    if made:
        cure = "change the sizes in that list, to which a Pad adds" if padded else f"add {' '.join(cures)}"
        raise ConfigError(
            f"{name}: size {augment.size} changes nothing in {' and '.join(made)}; expected the same size. "
            f"Cure: leave it out, or {cure}"
        )


def _overrides(key: str, transforms: Sequence[Transform], factor: float) -> list[str]:
    """The flags that scale every size in a list: `--set augment.eval.0.size=128`."""
    sizes = {f"{key}.{i}.size": size for i, t in enumerate(transforms) if (size := getattr(t, "size", None))}
    return [f"--set {shlex.quote(f'{place}={_scaled(size, factor)}')}" for place, size in sizes.items()]


def _scaled(size: int | tuple[int, int], factor: float) -> int | list[int]:
    return round(size * factor) if isinstance(size, int) else [round(side * factor) for side in size]
