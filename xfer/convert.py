"""Weights from one file format into another, with their metadata. Needs no framework.

Only .safetensors has room for metadata. Beside the others stands `<file>.json`, tied to the weights by their digest.
"""

from __future__ import annotations

import json
from pathlib import Path

from xfer.backend import Weights
from xfer.errors import WeightsError
from xfer.files import write_json
from xfer.weights import digest, read_weights, write_weights


def convert(source: Path, target: Path, overwrite: bool = False) -> list[Path]:
    """Write the weights of `source` to `target`, formats by suffix; give the files that were written.

    Names are canonical in .safetensors and .pth, MindSpore's in .ckpt. Raises WeightsError for a target that exists,
    unless `overwrite`.
    """
    if target.exists() and not overwrite:
        raise WeightsError(f"{target} exists already. Cure: another name, or --overwrite")
    weights, metadata = read_with_metadata(source)
    write_weights(target, weights, metadata)
    if not metadata or target.suffix == ".safetensors":
        return [target]
    write_json(beside(target), {"weights_digest": digest(weights), "metadata": metadata})
    return [target, beside(target)]


def read_with_metadata(path: Path) -> tuple[Weights, dict[str, str]]:
    """Weights with the metadata in their file, or else in the one beside it."""
    weights, metadata = read_weights(path)
    return weights, metadata or _metadata_beside(path, weights)


def beside(path: Path) -> Path:
    return path.with_name(f"{path.name}.json")


def _metadata_beside(path: Path, weights: Weights) -> dict[str, str]:
    try:
        said = json.loads(beside(path).read_text(encoding="utf-8"))
        if said["weights_digest"] != digest(weights):  # the weights were replaced, and these words are of others
            return {}
        return {str(key): str(value) for key, value in said["metadata"].items()}
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return {}
