"""How many pictures a second are read on 1, 2, ... cores, and what bounds each number of them.

    python -m benchmarks.scaling [--images FOLDER] [--cores 1 2 4 8 16] [--device cuda --precision bfloat16]

Without a folder, of class folders of JPEG files, it makes pictures of 500x375. Processor microseconds a picture do not
depend on what else the machine does; pictures a second do. docs/scaling.md says what the figures mean.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.common import Figures, Options, Row, child, in_turns, table
from benchmarks.made_pictures import class_folders
from benchmarks.scaling_case import ARCH, MICRO
from xfer.system.parallel import processors

COUNT = 512
READERS = ("threads", "processes")


def measure(options: Options) -> Figures:
    return scale(options.images / "train", powers(processors()), options.rounds)


def scale(images: Path, cores: Sequence[int], rounds: int, flags: Sequence[object] = ()) -> Figures:
    """Rows by what reads and the number of cores, `picture` and `step`, as `scaling_case` gives them."""
    flags = ("--rounds", rounds, *flags)
    reading = {
        f"{readers} {n}": ["benchmarks.scaling_case", "read", images, n, "--readers", readers, *flags]
        for readers in READERS
        for n in cores
    }
    alone = {case: child("benchmarks.scaling_case", case, images, 1, *flags) for case in ("picture", "step")}
    return in_turns(reading, 1) | alone


def powers(most: int) -> list[int]:
    """1, 2, 4, ... and `most`."""
    return sorted({2**i for i in range(most.bit_length())} | {most})


def report(figures: Figures) -> list[str]:
    lines = [_reading(name, figures) for name in figures if name.split()[0] in READERS]
    columns = ("", "cores", "pictures/s", "of so many times one core's", "this process", "its workers", "bound by")
    costs = [["decode, as far as needed", _cost(figures["picture"], "decode")]]
    costs += [["resize, crop, flip", _cost(figures["picture"], "resize")], ["the rest of reading", _rest(figures)]]
    costs += [["copy to the device", _cost(figures["step"], "copy")]]
    costs += [[f"a training step of {ARCH}, processor", _cost(figures["step"], "step")]]
    costs += [[f"a training step of {ARCH}, clock", _cost(figures["step"], "clock")]]
    return [table("Reading; processor microseconds a picture", columns, lines), table("A picture", ("", "us"), costs)]


def _reading(name: str, figures: Figures) -> list[object]:
    readers, cores = name.split()
    row, one = figures[name], figures.get(f"{readers} 1", {})
    if "missing" in row:
        return [readers, cores, row["missing"]]
    share = f"{row['rate'] / (int(cores) * one['rate']):.2f}" if "rate" in one else None
    return [readers, cores, float(row["rate"]), share, row["own"], row["others"], bound(row, figures["step"])]


def bound(reading: Row, step: Row) -> str | None:
    """Which of the two takes longer for a picture."""
    if "clock" not in step:
        return None
    return "reading" if MICRO / reading["rate"] > step["clock"] else "the step"


def _cost(row: Row, key: str) -> object:
    return row[key] if key in row else f"not run: {row['missing']}"


def _rest(figures: Figures) -> object:
    """What reading on one core takes besides what is done to a single picture: files, digests, batches, threads."""
    one, alone = figures.get("threads 1", {}), figures["picture"]
    if "own" not in one or "decode" not in alone:
        return None
    return one["own"] + one["others"] - alone["decode"] - alone["resize"]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scaling", description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=Path, help="class folders of JPEG files; default: it makes some")
    parser.add_argument("--count", type=int, default=COUNT, help="how many it makes")
    parser.add_argument("--cores", type=int, nargs="+", default=powers(processors()))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--precision", default="float32")
    parser.add_argument("--json", type=Path, default=Path("scaling.json"))
    args = parser.parse_args()
    flags = [f"--{name}={getattr(args, name)}" for name in ("size", "batch", "device", "precision")]
    with TemporaryDirectory() as folder:
        images = args.images or class_folders(Path(folder), args.count, 0) / "train"
        figures = scale(images, args.cores, args.rounds, flags)
    print("\n".join(report(figures)), flush=True)
    args.json.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
