"""What an exported model says of itself: all that predicting needs, as texts under names, in its metadata."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pydantic import TypeAdapter

from xfer.errors import CheckpointError, ConfigError
from xfer.export.network import Input
from xfer.formats.files import digest
from xfer.pixels.augment import Transform, output_size
from xfer.pixels.colour import read_normalize
from xfer.pixels.images import SUFFIXES
from xfer.results.checkpoint import Checkpoint, thresholds_in
from xfer.system.doors import parse_json
from xfer.system.files import json_text

FORMAT = "xfer-onnx-1"
LEFT_OUT = frozenset({"graph", "layers", "extra", "padding"})
"""Of a checkpoint's metadata: how its network is built, which the model is itself."""

_NAMES: TypeAdapter[tuple[str, ...]] = TypeAdapter(tuple[str, ...])
_INPUT: TypeAdapter[Input] = TypeAdapter(Input)
_TRANSFORMS: TypeAdapter[tuple[Transform, ...]] = TypeAdapter(tuple[Transform, ...])


@dataclass(frozen=True)
class Description:
    """`transforms` make a picture into (height, width) `size`; `enters` is what the model takes of it.

    suffixes    of files that count as pictures, in folders that are to be predicted
    record      for people, as a checkpoint's
    thresholds  as a checkpoint's: the model gives logits, whose sigmoids these are held against
    """

    classes: tuple[str, ...]
    transforms: tuple[Transform, ...]
    size: tuple[int, int]
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    enters: Input
    suffixes: tuple[str, ...]
    record: Mapping[str, str]
    thresholds: tuple[float, ...] | None = None


def metadata_of(checkpoint: Checkpoint, enters: Input, suffixes: Sequence[str] = SUFFIXES) -> dict[str, str]:
    kept = {key: text for key, text in checkpoint.metadata().items() if key not in LEFT_OUT}
    own = {"format": FORMAT, "input": enters, "weights_digest": digest(checkpoint.weights)}
    return kept | own | {"suffixes": json_text(list(suffixes), ascii_only=False)}


def described(metadata: Mapping[str, str], name: str) -> Description:
    """Raises CheckpointError, one line that begins with the name of the file, for any other metadata."""
    if metadata.get("format") != FORMAT:
        raise CheckpointError(
            f"{name}: does not say which classes it tells apart and how pictures come to it. "
            "Cure: a model that `xfer export` wrote"
        )
    try:
        classes = _NAMES.validate_python(parse_json(metadata["classes"]))
        transforms = _TRANSFORMS.validate_python(parse_json(metadata["transforms"]))
        normalize, size = read_normalize(metadata["mean"], metadata["std"]), output_size(transforms)
        if parse_json(metadata["image_size"]) != list(size):
            raise ValueError(f"image_size is not the {list(size)} that its transforms make")
        enters = _INPUT.validate_python(metadata["input"])
        suffixes = _NAMES.validate_python(parse_json(metadata["suffixes"]))
        if not classes:
            raise ValueError("no classes")
        cuts = thresholds_in(metadata, len(classes))
    except (KeyError, TypeError, ValueError, ConfigError) as error:
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
        raise CheckpointError(f"{name}: its metadata is damaged ({reason})") from None
    record = {key: text for key, text in metadata.items() if key not in _OWN}
    return Description(classes, transforms, size, normalize.mean, normalize.std, enters, suffixes, record, cuts)


_OWN = frozenset({"format", "classes", "image_size", "mean", "std", "transforms", "input", "suffixes", "thresholds"})
