"""Precision by name, as a bare PyTorch loop sets it."""

from __future__ import annotations

from contextlib import AbstractContextManager

import torch


def set_precision(precision: str) -> None:
    """For the process: float32 as it is, or in products and convolutions with TensorFloat-32's 10 bits."""
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = precision == "tf32"


def autocast(device: torch.device, precision: str) -> AbstractContextManager[object]:
    return torch.autocast(device.type, torch.bfloat16, enabled=precision == "bfloat16")
