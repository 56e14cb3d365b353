"""How pictures are seen by a network that says so itself, where a recipe leaves it open."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from xfer.nets.library import Seen, is_of_library, seen_by
from xfer.recipe.recipe import Recipe

_KNOWN = ("nearest", "bilinear", "bicubic")


def as_published(recipe: Recipe) -> Mapping[str, Any] | None:
    """The section `augment` with all that the recipe leaves open; None where the network has nothing to say.

    That is the size, the share of a picture that evaluation keeps, and the interpolation. Raises XferError for a
    network that cannot be had.
    """
    asked = recipe.augment
    if not is_of_library(recipe.model.arch) or (asked.train is not None and asked.eval is not None):
        return None
    seen = seen_by(recipe.model.arch)
    height, width = (asked.size,) * 2 if "size" in asked.model_fields_set else seen.size
    interpolation = seen.interpolation if seen.interpolation in _KNOWN else "bicubic"
    content = asked.model_dump(mode="json", exclude_none=True) | {"size": min(height, width)}
    shape: Any = height if height == width else [height, width]
    resize = {"op": "Resize", "size": _resized(height, width, seen), "interpolation": interpolation}
    usual = {
        "train": [
            {"op": "RandomResizedCrop", "size": shape, "interpolation": interpolation}, {"op": "HorizontalFlip"},
        ],
        "eval": [resize, {"op": "CenterCrop", "size": shape}],
    }  # fmt: skip
    return usual | content


def _resized(height: int, width: int, seen: Seen) -> int | list[int]:
    """As timm rounds: down."""
    sides = [math.floor(side / seen.crop) for side in (height, width)]
    return sides if seen.squash or height != width else sides[0]
