"""Weights from one file format into another, with their metadata. Needs no framework.

Only .safetensors has room for metadata. Beside the others stands `<file>.json`, tied to the weights by their digest.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from xfer.errors import WeightsError
from xfer.formats.files import TAKEN_FROM, beside, digest, read_with_metadata, write_weights
from xfer.nets.weights import refuse_unusable
from xfer.system.files import write_json
from xfer.system.outputs import read_record


@dataclass(frozen=True)
class Converted:
    """The files that were written, and which set of weights is in them where the source had more than one."""

    files: tuple[Path, ...]
    taken_from: str = ""


def convert(source: Path, target: Path, overwrite: bool = False) -> Converted:
    """Write the weights of `source` to `target`, formats by suffix.

    Names are canonical in .safetensors and .pth, MindSpore's in .ckpt. Raises WeightsError for a target that exists,
    unless `overwrite`, and always for a file of something else where the metadata belong, and for weights that no
    network can go on from.
    """
    if target.exists() and not overwrite:
        raise WeightsError(f"{target} exists already. Cure: another name, or --overwrite")
    weights, metadata = read_with_metadata(source)
    refuse_unusable(weights, str(source))
    sidecar = beside(target) if metadata and target.suffix != ".safetensors" else None
    if sidecar and sidecar.exists() and not {"weights_digest", "metadata"} <= read_record(sidecar).keys():
        raise WeightsError(f"{sidecar}: holds no metadata of weights, and would be replaced. Cure: another name")
    write_weights(target, weights, metadata)
    taken_from = metadata.get(TAKEN_FROM, "")
    if sidecar is None:
        return Converted((target,), taken_from)
    write_json(sidecar, {"weights_digest": digest(weights), "metadata": metadata})
    return Converted((target, sidecar), taken_from)
