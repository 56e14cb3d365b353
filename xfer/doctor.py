"""What works here, how fast, and the cure for what does not.

Each backend is examined in a process of its own: frameworks read the same settings when they are imported, and what
one needs slows another.
"""

from __future__ import annotations

import os
import platform
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

import numpy as np

from xfer.archs import IMAGENET_MEAN, IMAGENET_STD
from xfer.backend import Backend
from xfer.backends import declared, load_backend, settle
from xfer.capabilities import capability
from xfer.errors import Finding, XferError
from xfer.nets import catalogue
from xfer.nets.net import build_net
from xfer.nets.specs import ModelSpec, own_networks
from xfer.system import own_process, processes
from xfer.system.files import json_text

SPEED_SECONDS = 2.5  # of measuring, for each backend
_USUAL = catalogue.names()[0]
TIMEOUT = 180.0  # a first import from a cold disk can take a minute


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
    try:
        answer = processes.ask("xfer.doctor", name, "speed" if speed else "", timeout=TIMEOUT)
    except subprocess.TimeoutExpired:
        return {"name": name, "works": False, "problem": f"gave no answer in {TIMEOUT:.0f} s"}
    if isinstance(answer.content, dict):
        return answer.content
    return {"name": name, "works": False, "problem": answer.ending}


def probe(name: str, speed: bool) -> dict[str, Any]:
    """One backend, examined in this process."""
    try:
        backend = load_backend(name)
    except XferError as error:
        return {"name": name, "works": False, "problem": str(error)}
    return {
        "name": name,
        "works": True,
        "devices": backend.devices(),
        "versions": backend.versions(),
        "kinds": sorted(backend.kinds),
        "diagnoses": [(d.text, d.cure) for d in capability(backend, "diagnose")()],
        "speed": _speed(backend) if speed else None,
    }


def _speed(backend: Backend) -> tuple[str, str, float]:
    """Images per second of inference, batches of 8, on the best device, of its own first network or the catalogue's."""
    name, device = next(iter((*own_networks(backend), _USUAL))), backend.devices()[0]
    settle(backend, device)
    predict = build_net(backend, device, ModelSpec(name, 10, (224, 224), IMAGENET_MEAN, IMAGENET_STD)).predict_step()
    images = np.random.default_rng(0).integers(0, 256, (8, 224, 224, 3), np.uint8)
    predict(images)  # compiles, and warms up
    started, count = time.perf_counter(), 0
    while (passed := time.perf_counter() - started) < SPEED_SECONDS:
        predict(images)
        count += len(images)
    return name, device, count / passed


if __name__ == "__main__":
    processes.end_with_parent()
    own_process.begin()
    print(json_text(probe(sys.argv[1], sys.argv[2:] == ["speed"])))
