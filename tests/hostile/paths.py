"""Paths that lead to no file, or to one that is none: in every place of every command that takes a path."""

import os
import socket
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path

from hostile.ground import PLAIN, SLOTS, Call, Make, Random, Slot, where

Maker = Callable[[Path], None]
"""Puts something there that is no file of the kind which is asked for."""


def fifo(path: Path) -> None:
    os.mkfifo(path)


def bound(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(os.path.relpath(path))  # a socket's path has 107 bytes at most


def endless(path: Path) -> None:
    path.symlink_to("/dev/zero")


def full(path: Path) -> None:
    path.symlink_to("/dev/full")


def terminal(path: Path) -> None:
    path.symlink_to("/dev/tty")


def memory(path: Path) -> None:
    path.symlink_to("/proc/self/mem")


def folder(path: Path) -> None:
    path.mkdir()


def folder_of_itself(path: Path) -> None:
    path.mkdir()
    (path / "again").symlink_to("..")


def loop(path: Path) -> None:
    path.symlink_to(path.name)


def dangling(path: Path) -> None:
    path.symlink_to("nowhere/at/all")


def sparse(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(20 << 30)  # a hole: it takes no room on the disk


def nothing(path: Path) -> None:
    path.touch()


def text(path: Path) -> None:
    path.write_text("neither a picture, nor weights, nor a recipe\n" * 20)


def missing(path: Path) -> None:
    pass


MAKERS = [
    fifo, bound, endless, full, terminal, memory, folder, folder_of_itself, loop, dangling, sparse, nothing, text,
    missing,
]  # fmt: skip
NAMES = {
    "a component too long": "x" * 300,
    "a path too long": "y/" * 3000 + "x",
    "no UTF-8": "\udcff\udcfe",
    "a newline": "new\nline",
    "colours": "\x1b[2J\x1b[31mred",
    "markup": "[bold]x[/bold][/]",
    "turned round": "\u202egnp.x",
    "a formula": "=1+1",
    "a dash": "-x",
    "a pattern": "*[!",
    "below a file": "recipe.toml/x",
    "no such user": "~nosuchuser/x",
    "an address": "http://127.0.0.1:9/x",
}
WHOLE = {
    "another process": "/proc/self/root/proc/1",
    "an empty path": "",
    "the folder": ".",
    "above": "..",
    "a dash alone": "-",
    "zero": "/dev/zero",
    "standard input": "/dev/stdin",
    "the kernel's log": "/proc/kmsg",
}


def all_calls() -> Iterator[Call]:
    for slot in SLOTS:
        for maker in MAKERS:
            for suffix in slot.suffixes:
                kind, name = f"{maker.__name__} in the place of a path", f"{where(slot)} {maker.__name__}{suffix}"
                yield Call(kind, name, slot.plain, made(slot, maker, f"bad{suffix}"))
        for what, odd in NAMES.items():
            for maker in (missing, text, folder):
                name = f"{where(slot)} {what} {maker.__name__}"
                yield Call("odd names", name, slot.plain, made(slot, maker, odd + slot.suffixes[0]))
        for what, path in WHOLE.items():
            yield Call("odd names", f"{where(slot)} {what}", slot.plain, made(slot, missing, path))
        for file, content in INSIDE.items():
            if content == slot.content and "" in slot.suffixes:
                yield from replacing(file, slot.plain, where(slot), slot.words(file.partition("/")[0]))
    for name in ("state.safetensors", "config.toml", "env.json", "metrics.jsonl", "run.lock", "log.txt"):
        yield from replacing(f"stopped/{name}", "resume", "resume", PLAIN["resume"])
    yield from replacing("recipe.toml", "study", "study", PLAIN["study"])


INSIDE = {"set/train/ants/0.png": "data"} | {
    f"run/{name}": "run"
    for name in ("result.json", "best.safetensors", "config.toml", "env.json", "metrics.jsonl", "predictions.csv")
}
"""File of the ground -> the content of the slots that its folder fits."""


def replacing(file: str, plain: str, what: str, words: list[str]) -> Iterator[Call]:
    for maker in (fifo, endless, sparse, folder, loop, full):
        kind, name = f"{maker.__name__} in a folder", f"{what}, {file}: {maker.__name__}"
        yield Call(kind, name, plain, partial(_in_place, maker, file, words))


def made(slot: Slot, maker: Maker, name: str) -> Make:
    def make(here: Path, random: Random) -> list[str]:
        if "/" not in name:
            with suppress(OSError):  # no such name on this disk
                maker(Path(name))
        return slot.words(name)

    return make


def _in_place(maker: Maker, file: str, words: list[str], here: Path, random: Random) -> list[str]:
    Path(file).unlink(missing_ok=True)
    maker(Path(file))
    return words
