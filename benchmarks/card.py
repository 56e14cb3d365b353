"""The device that torch sees, and what runs on it, as JSON. A process that finds none ends with a line that says so."""

from __future__ import annotations

import json
import platform
import sys
from importlib.metadata import PackageNotFoundError, version

import torch

from xfer.system.parallel import processors

PACKAGES = ("torch", "torchvision", "timm", "numpy", "pillow")


def main() -> None:
    device = sys.argv[1]
    if device != "cpu" and not torch.cuda.is_available():
        sys.exit("torch sees no GPU")
    row = {"card": platform.machine() if device == "cpu" else torch.cuda.get_device_name(device)}
    row |= {"cores": f"{processors()}", "CUDA": torch.version.cuda or "none", "python": platform.python_version()}
    print(json.dumps(row | {name: _version(name) for name in PACKAGES}))


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "missing"


if __name__ == "__main__":
    main()
