"""What a network of xfer's asks of a GPU: settings of torch's, each of which holds for the whole process.

They hold while it computes, and are then what they were. On other devices none is touched.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch

from xfer.backend import NetworkSpec, Precision
from xfer.errors import BackendError

WORKSPACE = "CUBLAS_WORKSPACE_CONFIG"
TF32_SINCE = (8, 0)  # compute capability: Ampere


@dataclass(frozen=True)
class Rounding:
    """Where torch is told how products and convolutions of float32 are rounded.

    Whoever asks by its older names after it was told by the newer ones gets an error: only one kind is used here.
    """

    places: tuple[Any, Any]
    name: str
    exact: Any
    tf32: Any


_CUBLAS, _CUDNN = torch.backends.cuda.matmul, torch.backends.cudnn
ROUNDING = (
    Rounding((_CUBLAS, _CUDNN.conv), "fp32_precision", "ieee", "tf32")
    if hasattr(_CUDNN, "conv")  # since torch 2.9
    else Rounding((_CUBLAS, _CUDNN), "allow_tf32", False, True)
)


def precisions(device: str) -> tuple[Precision, ...]:
    if torch.device(device).type != "cuda":
        return "float32", "bfloat16"
    has_tf32 = torch.version.hip is None and torch.cuda.get_device_capability(device) >= TF32_SINCE
    return ("float32", "tf32", "bfloat16", "float16") if has_tf32 else ("float32", "bfloat16", "float16")


def before_cublas() -> None:
    """To be called before the first product: cuBLAS reads it then, and torch looks whether it was there."""
    os.environ.setdefault(WORKSPACE, ":4096:8")


@contextmanager
def on_gpu(spec: NetworkSpec, training: bool) -> Iterator[None]:
    """While a network computes on a GPU. Setting all and taking it back takes some 20 microseconds.

    training   backwards too: only there do the kinds have kernels that add in an order of chance

    Raises BackendError where torch refuses to compute the same bits each time.
    """
    cudnn, rounding = torch.backends.cudnn, ROUNDING
    # Of a convolution, torch says what holds and not where it is from: "tf32" that was a default is then a setting.
    before = [getattr(place, rounding.name) for place in rounding.places]
    choice = cudnn.deterministic, cudnn.benchmark
    try:
        for place in rounding.places:
            setattr(place, rounding.name, rounding.tf32 if spec.precision == "tf32" else rounding.exact)
        cudnn.deterministic, cudnn.benchmark = not spec.fast, spec.fast
        if training and not spec.fast:
            with _same_bits():
                yield
        else:
            yield
    finally:
        for place, value in zip(rounding.places, before, strict=True):
            setattr(place, rounding.name, value)
        cudnn.deterministic, cudnn.benchmark = choice


@contextmanager
def _same_bits() -> Iterator[None]:
    mode = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    filled = torch._C._get_deterministic_fill_uninitialized_memory()
    try:
        # Not torch.use_deterministic_algorithms: that imports its compiler first, for 6 s. And no warning in place of
        # the error: it leaves the gradient of attention to chance.
        torch._C._set_deterministic_algorithms(True, warn_only=False)
        torch._C._set_deterministic_fill_uninitialized_memory(False)  # nothing here reads what it did not write
        yield
    except RuntimeError as error:
        if "use_deterministic_algorithms" in str(error):
            raise BackendError(_refusal(str(error))) from error
        raise
    finally:
        torch._C._set_deterministic_algorithms(mode[0], warn_only=mode[1])
        torch._C._set_deterministic_fill_uninitialized_memory(filled)


def _refusal(text: str) -> str:
    if WORKSPACE in text:
        return (
            f"this process used cuBLAS before xfer and without {WORKSPACE}, so that two runs may end with other bits. "
            f"Cure: {WORKSPACE}=:4096:8 in the environment of Python, or train.fast = true"
        )
    name = text.partition(" does not ")[0].splitlines()[0]
    return f"torch cannot compute {name} with the same bits each time on a GPU. Cure: train.fast = true"
