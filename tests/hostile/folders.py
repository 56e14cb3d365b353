"""Folders without end, or with odd things in them: as a data set, as pictures to predict, as a place to write."""

import os
import shutil
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from hostile.ground import PLAIN, Call, Ground, Random, Slot, slots, where
from hostile.paths import Maker, bound, endless, fifo
from xfer.testing.pictures import write_class_folders


def mutual_links(root: Path) -> None:
    """Each class holds a link to the other."""
    for split in ("train", "val"):
        (root / split / "ants/other").symlink_to("../bees")
        (root / split / "bees/other").symlink_to("../ants")


def links_to_the_root(root: Path) -> None:
    (root / "train/ants/root").symlink_to("/")


def links_to_itself(root: Path) -> None:
    for i in range(30):
        (root / f"train/ants/{i}l").symlink_to("..")


def links_to_processes(root: Path) -> None:
    (root / "train/ants/proc").symlink_to("/proc/self")


def a_pipe(root: Path) -> None:
    fifo(root / "train/ants/x.png")


def a_socket(root: Path) -> None:
    bound(root / "train/ants/x.png")


def a_device(root: Path) -> None:
    endless(root / "train/ants/x.png")


def a_hole(root: Path) -> None:
    with (root / "train/ants/x.png").open("wb") as file:
        file.truncate(100 << 30)


def many_holes(root: Path) -> None:
    for i in range(20):
        with (root / f"train/ants/x{i}.png").open("wb") as file:
            file.truncate(500 << 20)


def deep(root: Path) -> None:
    """A thousand folders, one in another: their path is shorter than the longest, their depth above Python's stack."""
    place = root / "train/ants"
    for _ in range(1000):
        place = place / "d"
        place.mkdir()


def deeper_than_a_path(root: Path) -> None:
    before = os.open(".", os.O_RDONLY)
    os.chdir(root / "train/ants")
    for _ in range(300):
        os.mkdir("d" * 100)
        os.chdir("d" * 100)
    os.fchdir(before)
    os.close(before)


ODD = ["new\nline", "\x1b[2J\x1b[31m", "[bold]", "\udcff", "x" * 250, "=1+1", "\u202e", " ", "-rf"]


def odd_pictures(root: Path) -> None:
    for i, name in enumerate(ODD):
        shutil.copy(root / "train/ants/0.png", root / f"train/ants/{name}.png")
        (root / f"train/bees/{name}.png").write_bytes(b"no picture" * i)


def odd_classes(root: Path) -> None:
    for name in ("new\nline", "\x1b[2J\x1b[31m", "[bold]x[/]", "=1+1", "\u202e", " ", "<script>"):
        for split in ("train", "val"):
            shutil.copytree(root / split / "ants", root / split / name)


def a_class_without_text(root: Path) -> None:
    for split in ("train", "val"):
        (root / split / "ants").rename(root / split / "\udcff")


def many_classes(root: Path) -> None:
    for split in ("train", "val"):
        for i in range(300):
            (root / split / f"c{i}").mkdir()
            (root / split / f"c{i}/0.png").symlink_to("../ants/0.png")


def many_empty_classes(root: Path) -> None:
    for i in range(20_000):
        (root / "train" / f"c{i}").mkdir()


def pictures_that_are_folders(root: Path) -> None:
    for i in range(500):
        (root / f"train/ants/x{i}.png").mkdir()


def no_pictures(root: Path) -> None:
    shutil.rmtree(root / "val")
    (root / "val").mkdir()


def one_copy(root: Path) -> None:
    for i in range(200):
        shutil.copy(root / "train/ants/0.png", root / f"val/bees/c{i}.png")


FOLDERS: list[Maker] = [
    mutual_links, links_to_the_root, links_to_itself, links_to_processes, a_pipe, a_socket, a_device, a_hole,
    many_holes, deep, deeper_than_a_path, odd_pictures, odd_classes, a_class_without_text, many_classes,
    many_empty_classes, pictures_that_are_folders, no_pictures, one_copy,
]  # fmt: skip


def all_calls(ground: Ground) -> Iterator[Call]:
    for slot in [*slots("data"), *slots("picture")]:
        words = slot.words("set" if slot.content == "data" else "set/train")
        for spoil in FOLDERS:
            name = f"{where(slot)} {spoil.__name__}"
            yield Call(f"folders: {spoil.__name__}", name, slot.plain, partial(_made, spoil, "set", words))
        name = f"{where(slot)} 100,000 empty files"
        yield Call("folders: 100,000 empty files", name, slot.plain, partial(_many, ground, slot))
    for maker in (fifo, bound, endless):
        for words in (PLAIN["train"], PLAIN["study"], ["compare", "run", "run2", "-o", "out"]):
            name = f"{words[0]}, in out: {maker.__name__}"
            yield Call("odd things in a place to write", name, words[0], partial(_in_output, maker, words))


def _made(spoil: Maker, path: str, words: list[str], here: Path, random: Random) -> list[str]:
    spoil(Path(path))
    return words


def _in_output(maker: Maker, words: list[str], here: Path, random: Random) -> list[str]:
    Path("out").mkdir()
    return _made(maker, "out/result.json", words, here, random)


def _many(ground: Ground, slot: Slot, here: Path, random: Random) -> list[str]:
    """A data set of 100,000 empty files, made once for all calls."""
    root = ground.root / "many"
    if not root.exists():
        part = ground.root / f"many.{os.getpid()}"
        write_class_folders(part, counts=(2, 2))
        for i in range(100_000):
            os.close(os.open(part / f"train/ants/e{i}.png", os.O_CREAT | os.O_WRONLY))
        try:
            part.rename(root)
        except OSError:  # another call was faster
            shutil.rmtree(part)
    return slot.words(str(root))
