"""Records of a run that are no JSON, not what they should be, or changed by hand."""

import json
from collections.abc import Iterator
from pathlib import Path

from hostile.damage import DAMAGES, WRONG, changed, damaged, written
from hostile.ground import PLAIN, Call, Random

RECORDS = ("result.json", "env.json", "metrics.jsonl", "classes.json", "predictions.csv")
READERS: dict[str, list[str]] = {
    "compare": ["compare", "run2", "run"],
    "compare --json": ["compare", "run2", "run", "--json"],
    "evaluate": ["evaluate", "run", "-q", "--json"],
    "predict": ["predict", "run", "set/val", "-q", "--json"],
    "resume": ["train", "--resume", "run", "--epochs", "3", "--output", "out", "-q"],
    "train": [*PLAIN["train"], "--weights", "run"],
    "output": [*PLAIN["train"], "--output", "run", "--overwrite"],
}
TEXTS: dict[str, bytes] = {
    "empty": b"",
    "null": b"null",
    "a list": b"[]",
    "a text": b'"x"',
    "deep": b"[" * 200_000,
    "deep tables": b'{"a":' * 200_000,
    "a number of digits": b'{"epochs": ' + b"9" * 100_000 + b"}",
    "NaN": b'{"val_accuracy": NaN}',
    "no UTF-8": b'{"a": "\xff"}',
    "a byte-order mark": b"\xef\xbb\xbf{}",
    "UTF-16": '{"a": 1}'.encode("utf-16"),
    "zeros": bytes(1000),
    "lines": b"{}\n" * 500_000,
    "empty lines": b"\n" * 2_000_000,
    "one key twice": b'{"a": 1, "a": 2}',
    "surrogates": b'{"a": "\\udcff"}',
    "wide": b'{"a": [' + b"1," * 2_000_000 + b"1]}",
    "commas": b"," * 2_000_000,
    "quotes": b'"' * 2_000_000,
}


def all_calls() -> Iterator[Call]:
    for reader, words in READERS.items():
        plain = reader.partition(" ")[0].replace("output", "train")
        for file in RECORDS:
            path = f"run/{file}"
            for name, content in TEXTS.items():
                yield Call(
                    "records", f"{reader} {file} {name}", plain, written(path, lambda random, c=content: c, words)
                )
            for damage in DAMAGES:
                name = f"{reader} {file} {damage.__name__}"
                yield Call(f"records damaged: {file}", name, plain, damaged(path, path, words, damage))
            for number in range(6) if file.endswith((".json", ".jsonl")) else ():
                yield Call(
                    f"records by hand: {file}", f"{reader} {file} {number}", plain, changed(path, by_hand, words)
                )


def by_hand(path: Path, random: Random) -> None:
    """One value of a record, at any depth, becomes one of WRONG, or is gone, or an unknown key comes in."""
    lines = [json.loads(line) for line in path.read_text().splitlines()] if path.suffix == ".jsonl" else None
    content = json.loads(path.read_text()) if lines is None else lines
    place = content
    while True:
        keys = list(place) if isinstance(place, dict) else list(range(len(place)))
        key = random.choice(keys or [0])
        if not keys or not isinstance(place[key], dict | list) or not place[key] or random.random() < 0.3:
            break
        place = place[key]
    kind = random.choice(["wrong", "wrong", "wrong", "gone", "unknown"])
    if kind == "wrong":
        place[key] = random.choice([*WRONG, "\x1b[31mred\n", "/dev/zero", "../../x", "[bold]x[/]", "x" * 100_000])
    elif kind == "gone":
        del place[key]
    elif isinstance(place, dict):
        place["\x1b[31munknown"] = 1
    if lines is None:
        path.write_text(json.dumps(content))
    else:
        path.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
