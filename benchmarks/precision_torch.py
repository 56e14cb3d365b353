"""Precision by name, and the same bits each time, as a bare PyTorch loop sets them."""

from __future__ import annotations

import os
from contextlib import AbstractContextManager

import torch


def set_precision(precision: str) -> None:
    """For the process: float32 as it is, or in products and convolutions with TensorFloat-32's 10 bits."""
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = precision == "tf32"


def set_deterministic() -> None:
    """For the process, before it computes anything."""
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(True)
    torch.utils.deterministic.fill_uninitialized_memory = False
    torch.backends.cudnn.deterministic = True


def autocast(device: torch.device, precision: str) -> AbstractContextManager[object]:
    return torch.autocast(device.type, torch.bfloat16, enabled=precision == "bfloat16")
