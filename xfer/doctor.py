"""What works here, how fast, and the cure for what does not.

Each backend is examined in a process of its own: frameworks read the same settings when they are imported, and what
one needs slows another.
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

from xfer.backend import ModelSpec
from xfer.backends import declared, load_backend
from xfer.errors import XferError

SPEED_SECONDS = 2.5  # of measuring, for each backend
TIMEOUT = 180.0  # a first import from a cold disk can take a minute


@dataclass(frozen=True)
class Finding:
    level: Literal["ok", "problem"]
    text: str
    cure: str = ""

    def line(self) -> str:
        return f"{self.level:8s}{self.text}" + (f". Cure: {self.cure}" if self.cure else "")


def survey(speed: bool = False) -> list[dict[str, Any]]:
    """A record for each declared backend: name, works, devices, versions, diagnoses, speed, problem."""
    return [_in_own_process(name, speed) for name in declared()]


def examine() -> list[Finding]:
    """Everything `xfer doctor` says, in the order it should be read."""
    versions = f"Python {platform.python_version()}, {platform.platform()}, {os.cpu_count()} processors"
    findings = [Finding("ok", versions)]
    for record in survey(speed=True):
        findings.extend(_findings(record))
    return findings


def _findings(record: dict[str, Any]) -> Iterator[Finding]:
    name = record["name"]
    if not record["works"]:
        text, _, cure = record["problem"].partition(". Cure: ")
        yield Finding("problem", f"{name}: {text}", cure)
        return
    versions = ", ".join(f"{k} {v}" for k, v in record["versions"].items())
    yield Finding("ok", f"{name}: {versions}; devices {', '.join(record['devices'])}")
    for text, cure in record["diagnoses"]:
        yield Finding("problem" if cure else "ok", f"{name}: {text}", cure)
    if record.get("speed"):
        arch, device, rate = record["speed"]
        yield Finding("ok", f"{name}: {arch} predicts {rate:.1f} images/s at 224 pixels on {device}")


def _in_own_process(name: str, speed: bool) -> dict[str, Any]:
    command = [sys.executable, "-m", "xfer.doctor", name, "speed" if speed else ""]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT, check=False)
        return dict(json.loads(done.stdout.splitlines()[-1]))
    except subprocess.TimeoutExpired:
        return {"name": name, "works": False, "problem": f"gave no answer in {TIMEOUT:.0f} s"}
    except (IndexError, ValueError):
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        return {"name": name, "works": False, "problem": f"died with exit code {done.returncode}: {last}"}


def probe(name: str, speed: bool) -> dict[str, Any]:
    """One backend, examined in this process."""
    try:
        backend = load_backend(name)
    except XferError as error:
        return {"name": name, "works": False, "problem": str(error)}
    diagnose = getattr(backend, "diagnose", tuple)
    return {
        "name": name,
        "works": True,
        "devices": backend.devices(),
        "versions": backend.versions(),
        "archs": list(backend.archs),
        "diagnoses": [(d.text, d.cure) for d in diagnose()],
        "speed": _speed(backend) if speed else None,
    }


def _speed(backend: Any) -> tuple[str, str, float]:
    """Images per second of inference, batches of 8, on the best device, with the first network the backend builds."""
    import numpy as np

    arch, device = next(iter(backend.archs.values())), backend.devices()[0]
    model = backend.build(ModelSpec(arch.name, 10, (224, 224), arch.mean, arch.std), device)
    predict = backend.make_predict_step(model, arch.stage_names[0], "logits")
    images = np.random.default_rng(0).integers(0, 256, (8, 224, 224, 3), np.uint8)
    predict(images)  # compiles, and warms up
    started, count = time.perf_counter(), 0
    while (passed := time.perf_counter() - started) < SPEED_SECONDS:
        predict(images)
        count += len(images)
    return arch.name, device, count / passed


if __name__ == "__main__":
    print(json.dumps(probe(sys.argv[1], sys.argv[2:] == ["speed"])))
