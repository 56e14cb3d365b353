"""States to go on from that are damaged, of another version, or written by hand with a seal that fits."""

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from hostile.damage import DAMAGES, WRONG, Change, changed, damaged
from hostile.ground import PLAIN, Call, Random
from xfer.formats.sealed import read_sealed, write_sealed


def state_with(edit: Callable[[dict[str, Any], dict[str, Any], dict[str, Any], Random], None]) -> Change:
    """The stopped run's state with other arrays, another record or another identity in it, sealed."""

    def make(target: Path, random: Random) -> None:
        arrays, metadata = read_sealed(target)
        state, identity = json.loads(metadata["state"]), json.loads(metadata["identity"])
        edit(arrays, state, identity, random)
        write_sealed(target, arrays, metadata | {"state": json.dumps(state), "identity": json.dumps(identity)})

    return make


def set_in(part: str, *keys: Any, to: Any) -> Change:
    def edit(arrays: dict[str, Any], state: dict[str, Any], identity: dict[str, Any], random: Random) -> None:
        place = {"state": state, "identity": identity}[part]
        for key in keys[:-1]:
            place = place[key]
        place[keys[-1]] = to

    return state_with(edit)


def gone_from(part: str, *keys: Any) -> Change:
    def edit(arrays: dict[str, Any], state: dict[str, Any], identity: dict[str, Any], random: Random) -> None:
        place = {"state": state, "identity": identity}[part]
        for key in keys[:-1]:
            place = place[key]
        del place[keys[-1]]

    return state_with(edit)


def array_of_state(change: Callable[[Any], Any]) -> Change:
    def edit(arrays: dict[str, Any], state: dict[str, Any], identity: dict[str, Any], random: Random) -> None:
        name = random.choice(sorted(arrays))
        arrays[name] = change(arrays[name])

    return state_with(edit)


def without_array(arrays: dict[str, Any], state: dict[str, Any], identity: dict[str, Any], random: Random) -> None:
    del arrays[random.choice(sorted(arrays))]


def with_array(arrays: dict[str, Any], state: dict[str, Any], identity: dict[str, Any], random: Random) -> None:
    arrays[random.choice(["weights/new", "other/new", "new", "optimizer/\x1b[31m", "best_weights/fc.weight.x"])] = (
        np.ones(3)
    )


def record_of_text(text: str) -> Change:
    def make(target: Path, random: Random) -> None:
        arrays, metadata = read_sealed(target)
        key = random.choice(["state", "identity"])
        write_sealed(target, arrays, metadata | {key: text})

    return make


POINT = ("epoch", "step", "loss_sum", "right", "digest", "seconds", "unknown")
STATE = ("seconds", "seconds_features", "resumed", "history", "point", "unknown")
EPOCH = ("epoch", "train_loss", "val_accuracy", "best", "batches_digest", "unknown")
IDENTITY = ("recipe", "source_digest", "data_digest", "pictures", "backend", "network", "unknown")
STATES: dict[str, Change] = {
    **{f"point.{key} = {value!r}": set_in("state", "point", key, to=value) for key in POINT for value in WRONG},
    **{f"{key} = {value!r}": set_in("state", key, to=value) for key in STATE for value in WRONG},
    **{
        f"history.0.{key} = {value!r}": set_in("state", "history", 0, key, to=value) for key in EPOCH for value in WRONG
    },
    **{f"identity.{key} = {value!r}": set_in("identity", key, to=value) for key in IDENTITY for value in WRONG},
    **{f"without {key}": gone_from("state", key) for key in STATE[:-1]},
    **{f"without point.{key}": gone_from("state", "point", key) for key in ("epoch", "digest")},
    **{f"without history.0.{key}": gone_from("state", "history", 0, key) for key in ("best", "lr")},
    **{f"without identity.{key}": gone_from("identity", key) for key in ("recipe", "data_digest", "backend")},
    "without an array": state_with(without_array),
    "with another array": state_with(with_array),
    "an array of NaN": array_of_state(lambda a: np.full(a.shape, np.nan, np.float32)),
    "an array of another shape": array_of_state(lambda a: np.ones((*a.shape, 2), np.float32)),
    "an array of another type": array_of_state(lambda a: np.ones(a.shape, np.int64)),
    "an empty array": array_of_state(lambda a: np.ones(0, np.float32)),
    "no JSON": record_of_text("{"),
    "deep JSON": record_of_text("[" * 100_000),
    "JSON of a list": record_of_text("[]"),
}


def all_calls() -> Iterator[Call]:
    file, words = "stopped/state.safetensors", PLAIN["resume"]
    for name, change in STATES.items():
        part = re.split("[. ]", name)[0] if " = " in name else "content"
        yield Call(f"states by hand: {part}", f"resume {name}", "resume", changed(file, change, words))
    for number in range(8):
        for damage in DAMAGES:
            name = f"resume {damage.__name__} {number}"
            yield Call("states damaged", name, "resume", damaged(file, file, words, damage))
