"""What a checkpoint says of itself: its words as JSON, in a file with a seal that fits them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from fuzz.harness import Door
from xfer.formats.sealed import KEY, write_sealed
from xfer.nets.net import build_net
from xfer.nets.specs import ModelSpec
from xfer.nets.weights import init_weights
from xfer.pixels.augment import default_eval
from xfer.results.checkpoint import Checkpoint, load_checkpoint
from xfer.testing.numpy_backend import NumpyBackend

SPEC = ModelSpec("tiny", 2, (32, 32), (0.1, 0.2, 0.3), (0.4, 0.5, 0.6))
BACKEND = NumpyBackend()
WEIGHTS = build_net(BACKEND, "cpu", SPEC).export()


def seeds() -> Mapping[str, bytes]:
    weights = init_weights({name: value.shape for name, value in WEIGHTS.items()}, 0)
    own = Checkpoint(weights, SPEC, ("ants", "bees"), default_eval(32), {"backend": "numpy", "epoch": "3"}).metadata()
    changed = own | {"layers": "[1, 2]", "extra": "[8]", "padding": '"same"'}
    return {"plain": json.dumps(own).encode(), "changed": json.dumps(changed).encode()}


def read(path: Path) -> None:
    words = _texts(path.read_bytes())
    file = path.with_name("c.safetensors")
    write_sealed(file, WEIGHTS, words)
    checkpoint = load_checkpoint(file)
    repr(checkpoint), checkpoint._repr_html_()
    checkpoint.net(BACKEND, "cpu")


def _texts(content: bytes) -> dict[str, str]:
    """What the format can carry of it."""
    try:
        words = json.loads(content)
        json.dumps(words, ensure_ascii=False).encode()
    except (ValueError, RecursionError):
        return {}
    if not isinstance(words, dict):
        return {}
    return {key: value if isinstance(value, str) else json.dumps(value) for key, value in words.items() if key != KEY}


WORDS = (b"NaN", b"Infinity", b"1e999", b"[]", b"null", b'\\"op\\":', b"Resize", b"Pad", b"Normalize", b"CenterCrop")
DOORS = {"checkpoint": Door(seeds, read, ".json", WORDS, 1 << 13)}
