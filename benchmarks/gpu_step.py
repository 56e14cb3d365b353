"""Training steps and inference of one network on one device, by xfer or by a bare PyTorch loop.

    python -m benchmarks.gpu_step xfer|bare ARCH PRECISION [--device cuda] [--batch 64] [--size 224]

Both take the same uint8 pictures from the host at each step, normalise them on the device, and run channels_last with
SGD and momentum, by kernels that give the same bits each time. The bare loop has its pictures pinned beforehand, and
asks for no loss. Prints pictures per second as JSON: medians of epochs, each waited for at its end.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable
from typing import get_args

import torch

from benchmarks.precision_torch import set_deterministic, set_precision
from benchmarks.step_torch import InMemory, Net, bare, build, by_hand, in_memory, with_xfer
from xfer.backend import Precision
from xfer.backends import load_backend, settle

Pass = Callable[[], object]


def xfer_passes(net: Net, pictures: InMemory) -> tuple[Pass, Pass]:
    """An epoch of training, and one of inference."""
    predict = net.predict_step()
    train = with_xfer(net, pictures)
    steps = len(pictures.labels) // len(pictures.images)
    return train, lambda: [predict(pictures.images) for _ in range(steps)]


def bare_passes(pictures: InMemory, arch: str, device: str, precision: str) -> tuple[Pass, Pass]:
    case = bare(pictures, arch, device, precision)
    train = by_hand(case, pictures.labels)

    @torch.inference_mode()
    def infer() -> None:
        case.net.eval()
        for _ in range(len(pictures.labels) // len(pictures.images)):
            case.logits().float().cpu()  # as a predict step gives what it made

    return train, infer


def rate(run: Pass, count: int, seconds: float, device: str) -> float:
    """Pictures per second of passes over `count`: the median of as many as there is time for, behind a first one."""
    rates: list[float] = []
    deadline = time.perf_counter() + seconds
    for number in range(1000):
        started = time.perf_counter()
        run()
        if device != "cpu":
            torch.cuda.synchronize()
        ended = time.perf_counter()
        if number:
            rates.append(count / (ended - started))
        if rates and ended > deadline:
            break
    return statistics.median(rates)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("side", choices=["xfer", "bare"])
    parser.add_argument("arch")
    parser.add_argument("precision")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--seconds", type=float, default=2.0)
    args = parser.parse_args()
    pictures = in_memory(args.batch, args.steps, args.size)
    if args.side == "xfer":
        if args.precision not in get_args(Precision):
            sys.exit(f"xfer has no {args.precision}")
        passes = xfer_passes(build(args.arch, args.device, args.precision, args.size), pictures)
    else:
        settle(load_backend("torch"), args.device)  # as xfer does
        set_precision(args.precision)
        set_deterministic()
        passes = bare_passes(pictures, args.arch, args.device, args.precision)
    train, infer = (rate(run, len(pictures.labels), args.seconds, args.device) for run in passes)
    print(json.dumps({"training": train, "inference": infer}))


if __name__ == "__main__":
    main()
