"""What one picture costs on its way, each case in a process of its own. Prints JSON.

read     the input pipeline, kept to so many cores
picture  decoding alone, and all that is done to a picture
step     copying batches to the device, and training on them
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.common import Row
from benchmarks.reading_common import jpeg_files, seconds_in_turns
from benchmarks.reading_xfer import EXACT, MADE, NEEDED, decoding_passes, xfer_passes

ARCH, STEPS = "resnet18", 8
MICRO = 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("case", choices=["read", "picture", "step"])
    parser.add_argument("images", type=Path)
    parser.add_argument("cores", type=int)
    parser.add_argument("--readers", choices=["threads", "processes"], default="threads")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--precision", default="float32")
    args = parser.parse_args()
    print(json.dumps({"read": read, "picture": picture, "step": step}[args.case](args)))


def read(args: Any) -> Row:
    """Pictures per second; processor microseconds of each picture in this process, and in those that it has started."""
    keep_to(args.cores)
    count = len(jpeg_files(args.images))
    passed = xfer_passes(args.images, args.size, args.cores, args.readers)[EXACT]
    rates, own, others = list[float](), list[float](), list[float]()
    for view in range(args.rounds + 1):
        started, before = time.perf_counter(), (time.process_time(), seconds_of_children())
        passed(view)
        seconds, after = time.perf_counter() - started, (time.process_time(), seconds_of_children())
        if view:  # the first brings the files into memory, and starts the processes
            rates.append(count / seconds)
            own.append(MICRO * (after[0] - before[0]) / count)
            others.append(MICRO * (after[1] - before[1]) / count)
    return {"rate": statistics.median(rates), "own": statistics.median(own), "others": statistics.median(others)}


def seconds_of_children() -> float:
    """Of the processor, by those that run, where the system lists them."""
    ticks = 0
    for listed in Path("/proc/self/task").glob("*/children"):
        for pid in listed.read_text(encoding="ascii").split():
            _, _, numbers = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")
            ticks += sum(map(int, numbers.split()[11:13]))
    return ticks / os.sysconf("SC_CLK_TCK")


def keep_to(cores: int) -> None:
    """This process and all that it starts; where a system cannot, the number of workers is all that is limited."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:cores])


def picture(args: Any) -> Row:
    """Processor microseconds of a picture: `decode`, and `resize`, all that is done to it besides."""
    count = len(jpeg_files(args.images))
    seconds = seconds_in_turns(decoding_passes(args.images, args.size), args.rounds)
    decode, made = (MICRO * statistics.median(seconds[name]) / count for name in (NEEDED, MADE))
    return {"decode": decode, "resize": made - decode}


def step(args: Any) -> Row:
    """Microseconds of a picture: of the processor to `copy` it and to `step`, and of the `clock` to step."""
    import torch

    from benchmarks.step_torch import build, in_memory, with_xfer

    pictures = in_memory(args.batch, STEPS, args.size)
    net = build(ARCH, args.device, args.precision, args.size)
    images, a_picture = torch.from_numpy(pictures.images), MICRO / len(pictures.labels)

    def timed(run: Callable[[], object]) -> tuple[float, float]:
        """Processor and clock; the first of the rounds is not counted."""
        rows = []
        for _ in range(args.rounds + 1):
            started, before = time.perf_counter(), time.process_time()
            run()
            if args.device != "cpu":
                torch.cuda.synchronize()
            rows.append((time.process_time() - before, time.perf_counter() - started))
        used, passed = zip(*rows[1:], strict=True)
        return statistics.median(used) * a_picture, statistics.median(passed) * a_picture

    copy, _ = timed(lambda: [net.model.put(images) for _ in range(STEPS)])
    processor, clock = timed(with_xfer(net, pictures))
    return {"copy": copy, "step": processor, "clock": clock}


if __name__ == "__main__":
    main()
