"""Listing and checking a million pictures: seconds, and the peak of memory above that of 400.

    python -m benchmarks.million [--pictures 1000000] [--checked 100000] [--folder FOLDER]

It draws its pictures itself, of 3 x 3 pixels and no two alike, in 1000 class folders: a million take 4 GB, as a file
system gives each 4 kB, and some minutes. They go at the end, but for those in a FOLDER, which are used again.
`--checked` are read whole, from the beginning and once more when they are known; more take longer in proportion.
"""

from __future__ import annotations

import argparse
import json
import struct
import sys
import tempfile
import time
import zlib
from pathlib import Path

from benchmarks.common import Row, child, table

FEW, CLASSES = 400, 1000
CASES = {
    "listed": "every name, class by class",
    "first start": "listed, and every file read and decoded",
    "second start": "listed, and looked at by size and times; a hundredth read",
}


def png(i: int) -> bytes:
    """Of 3 x 3 pixels that stand for the number."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    pixels = b"".join(b"\0" + struct.pack(">3I", i, i * 2654435761 % 2**32, 0)[:9] for _ in range(3))
    header = struct.pack(">2I5B", 3, 3, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(pixels)) + chunk(b"IEND", b"")


def draw(root: Path, n: int) -> Path:
    """n of them below a folder, unless it is there."""
    classes = min(CLASSES, n // 100)
    for name in range(0 if root.exists() else classes):
        (folder := root / f"class_{name:04d}").mkdir(parents=True)
        for i in range(name, n, classes):
            (folder / f"picture_{i:08d}.png").write_bytes(png(i))
    return root


def measure(case: str, root: Path) -> Row:
    """In this process, which has done nothing else."""
    from xfer.data.dataset import open_dataset
    from xfer.data.parts import classes_of, find_parts
    from xfer.data.scan import scan
    from xfer.pixels.images import SUFFIXES
    from xfer.system.memory import peak_memory

    started, busy = time.perf_counter(), time.process_time()
    if case == "listed":
        found = find_parts(root)
        n = len(scan(found.train.place, classes_of(found), SUFFIXES)[0].files)
    else:
        data = open_dataset(str(root))
        n = len(data.train.files) + len(data.val.files)
    seconds, processor = time.perf_counter() - started, time.process_time() - busy
    return {"n": n, "seconds": seconds, "processor": processor, "peak_memory": peak_memory()}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.million", description=__doc__)
    parser.add_argument("--pictures", type=int, default=1_000_000)
    parser.add_argument("--checked", type=int, default=100_000)
    parser.add_argument("--folder", type=Path)
    args = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as temporary:
        folder = args.folder or Path(temporary)
        env = {"XFER_LIMIT_CHECKED": str(10**9), "XFER_CACHE": f"{temporary}/cache"}
        roots = {n: draw(folder / str(n), n) for n in (FEW, args.pictures, args.checked)}
        time.sleep(3)  # until the last drawn are settled, see xfer.data.recheck
        for case, what in CASES.items():
            n = args.pictures if case == "listed" else args.checked
            few, many = (child("benchmarks.million", case, roots[count], env=env) for count in (FEW, n))
            above = (many["peak_memory"] - few["peak_memory"]) / 1e6
            rows.append([case, f"{many['n']:,}", many["seconds"], many["processor"], above, what])
            print(f"  {case}: {many}", file=sys.stderr, flush=True)
    columns = ["", "pictures", "seconds", "of processor time", f"MB above {FEW}", "what"]
    print(table("Many pictures", columns, rows))


if __name__ == "__main__":
    if sys.argv[1:2] and sys.argv[1] in CASES:
        print(json.dumps(measure(sys.argv[1], Path(sys.argv[2]))))
    else:
        main()
