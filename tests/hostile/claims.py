"""Well-formed weights and checkpoints that claim what is not so."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from hostile.damage import Change, changed
from hostile.ground import PLAIN, Call, Random
from xfer.formats.safetensors import read_safetensors, write_safetensors
from xfer.formats.sealed import read_sealed, write_sealed

ODD = [
    "nan", "NaN", "[NaN, 1, 1]", "[0, 0, 0]", "[-1, 1, 1]", "[1e400, 1, 1]", "[]", "[1, 1]", "[[1], [1], [1]]",
    '["a", "b", "c"]', "null", "{}", "true", '"text"', "[" * 100_000, "x" * 1_000_000, "[1e-320, 1, 1]", "9" * 5000,
    "\x1b[31m", "[1, 1, 1, 1]",
]  # fmt: skip
SIZES = [
    "[1000000000, 1000000000]",
    "[0, 0]",
    "[-1, 32]",
    "[32.5, 32]",
    "[NaN, 32]",
    "[1, 1]",
    "32",
    "[100000, 100000]",
]
LAYERS = ["[1000000000]", "[0]", "[-1]", "[1, 1, 1, 1, 1]", "[1.5]", "[100000, 1, 1, 1]", "{}"]
EXTRA = ["[1000000000]", "[0]", "[-1]", "[1" + ",1" * 100_000 + "]", "[1.5]", '["a"]']
TRANSFORMS = [
    '[{"op": "Resize", "size": 1000000000}]',
    '[{"op": "Pad", "padding": 1000000000}]',
    '[{"op": "Nothing"}]',
    "[{}]",
    '[{"op": "CenterCrop", "size": -1}]',
    "[" + ",".join(['{"op": "Resize", "size": 3000}'] * 5000) + "]",
    '[{"op": "CenterCrop", "size": [1000000, 1000000]}]',
    '[{"op": "Normalize", "mean": [NaN, 0, 0], "std": [1, 1, 1]}]',
]
CLASSES = [
    '["a"]', "[]", '["a", "a"]', "[" + ",".join(f'"c{i}"' for i in range(200_000)) + "]", "[null, 1]",
    '["\\u001b[31m", "b\\n"]', '{"a": 0, "b": 1}', '"ab"', "3", '["' + "x" * 1_000_000 + '", "b"]', '["../../x", "b"]',
    '["=1+1", "[bold]"]',
]  # fmt: skip
ARCHS = ["resnet152", "tinny", "", "\x1b[31m", "x" * 100_000, "../tiny", "resnet50"]
CLAIMS: dict[str, list[str]] = {
    "mean": ODD,
    "std": ODD,
    "image_size": [*SIZES, *ODD[:4]],
    "layers": LAYERS,
    "extra": EXTRA,
    "padding": ['"x"', "1"],
    "transforms": TRANSFORMS,
    "classes": CLASSES,
    "arch": ARCHS,
    "format": ["xfer-2", "", "\x1b[31m"],
    "backend": ["", "x", "../x", "\x1b[31m", "torch"],
    "epoch": ["nan", "\x1b[31m\n"],
}


def rewritten(edit: Callable[[dict[str, Any], dict[str, str], Random], None]) -> Change:
    """The run's checkpoint with other arrays or words in it, and a seal that fits them."""

    def make(target: Path, random: Random) -> None:
        arrays, metadata = read_sealed(Path("run/best.safetensors"))
        edit(arrays, metadata, random)
        if metadata.get("format") == "xfer-1":
            write_sealed(target, arrays, metadata)
        else:
            write_safetensors(target, arrays, metadata)

    return make


def metadata_is(key: str, value: str | None) -> Change:
    def edit(arrays: dict[str, Any], metadata: dict[str, str], random: Random) -> None:
        if value is None:
            del metadata[key]
        else:
            metadata[key] = value

    return rewritten(edit)


def all_arrays(change: Callable[[Any], Any]) -> Change:
    def edit(arrays: dict[str, Any], metadata: dict[str, str], random: Random) -> None:
        arrays.update({name: change(array) for name, array in arrays.items()})

    return rewritten(edit)


def one_array(change: Callable[[Any], Any]) -> Change:
    def edit(arrays: dict[str, Any], metadata: dict[str, str], random: Random) -> None:
        name = random.choice(sorted(arrays))
        arrays[name] = change(arrays[name])

    return rewritten(edit)


def foreign(edit: Change) -> Change:
    """As plain weights, of no checkpoint."""

    def make(target: Path, random: Random) -> None:
        edit(target, random)
        arrays, metadata = read_safetensors(target)
        kept = {key: metadata[key] for key in ("mean", "std") if key in metadata}
        write_safetensors(target, arrays, kept)

    return make


def drop_one(arrays: dict[str, Any], metadata: dict[str, str], random: Random) -> None:
    del arrays[random.choice(sorted(arrays))]


def add_one(arrays: dict[str, Any], metadata: dict[str, str], random: Random) -> None:
    arrays["layer9.\x1b[31m\n.weight"] = np.ones(3, np.float32)


def negative_variance(arrays: dict[str, Any], metadata: dict[str, str], random: Random) -> None:
    arrays["norm1.running_var"] = -np.ones_like(arrays["norm1.running_var"])


def huge_head(arrays: dict[str, Any], metadata: dict[str, str], random: Random) -> None:
    arrays["fc.weight"] = np.zeros((1_000_000, arrays["fc.weight"].shape[1]), np.float32)
    arrays["fc.bias"] = np.zeros(1_000_000, np.float32)


CONTENTS: dict[str, Change] = {
    "all NaN": all_arrays(lambda a: np.full_like(a, np.nan)),
    "one NaN": one_array(lambda a: np.full_like(a, np.nan)),
    "one infinite": one_array(lambda a: np.full_like(a, np.inf)),
    "huge values": all_arrays(lambda a: np.full_like(a, 3e38)),
    "beyond float32": one_array(lambda a: np.full(a.shape, 1e300)),
    "whole numbers": all_arrays(lambda a: a.astype(np.int64)),
    "booleans": one_array(lambda a: a.astype(bool)),
    "transposed": one_array(lambda a: np.ascontiguousarray(a.T)),
    "one dimension more": one_array(lambda a: a[None]),
    "empty": one_array(lambda a: a[:0]),
    "one dropped": rewritten(drop_one),
    "one more": rewritten(add_one),
    "a negative variance": rewritten(negative_variance),
    "a huge head": rewritten(huge_head),
}
METADATA: dict[str, Change] = {
    f"{key} = {value[:30]!r}": metadata_is(key, value) for key, values in CLAIMS.items() for value in values
} | {f"without {key}": metadata_is(key, None) for key in CLAIMS if key != "format"}
WEIGHTS_CLAIMS: dict[str, Change] = {name: foreign(change) for name, change in CONTENTS.items()} | {
    f"{key} = {value[:30]!r}": foreign(metadata_is(key, value)) for key in ("mean", "std") for value in ODD
}


def all_calls() -> Iterator[Call]:
    file = "c.safetensors"
    places = [
        ("predict", ["predict", file, "set/val", "-q"]),
        ("evaluate", ["evaluate", file, "--data", "set", "-q"]),
        ("train", [*PLAIN["train"], "--weights", file]),
        ("convert", ["convert", file, "out.pth"]),
        ("parity", [*PLAIN["parity"], "--weights", file]),
    ]
    for plain, words in places:
        for name, change in (CONTENTS | METADATA).items():
            about = name.partition(" = ")[0] if " = " in name else "content"
            yield Call(f"checkpoints that claim: {about}", f"{plain} {name}", plain, changed(file, change, words))
        for name, change in WEIGHTS_CLAIMS.items():
            yield Call("weights that claim", f"{plain}, plain weights, {name}", plain, changed(file, change, words))
