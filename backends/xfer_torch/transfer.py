"""What goes to a device and comes back from it while it computes.

On CUDA nobody waits for the device here, but for results that are asked for. Elsewhere tensors are moved as they are.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

Send = Callable[[Tensor], Tensor]


def sender(device: torch.device) -> Send:
    """Brings tensors of the host to the device, to be used on the stream that is current then."""
    return _Uploads(device) if device.type == "cuda" else lambda tensor: tensor.to(device, non_blocking=True)


class _Uploads:
    """Copies on a stream of their own: they overlap with what the device still has to compute."""

    def __init__(self, device: torch.device) -> None:
        self.device, self.stream = device, torch.cuda.Stream(device)  # type: ignore[no-untyped-call]

    def __call__(self, tensor: Tensor) -> Tensor:
        # Three memories, and until when each has to stay as it is:
        # - The caller's may be written again once this has returned, while the device may be many steps behind. So its
        #   values are always copied here; `pin_memory()` would give back memory that is pinned already, without a copy.
        # - The pinned copy is let go of while the device may still read it. torch's allocator of pinned memory has
        #   noted the stream of each copy that does not block, and gives the memory to nobody before that stream is
        #   past the copy.
        # - The device's belongs to the copying stream, whose next copy could take it as soon as the last reference is
        #   gone, though the computing stream has not read it yet: `record_stream` keeps it until that stream has.
        pinned = torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=True).copy_(tensor)
        with torch.cuda.stream(self.stream):
            there = pinned.to(self.device, non_blocking=True)
        computing = torch.cuda.current_stream(self.device)
        computing.wait_stream(self.stream)  # the device waits; the host goes on
        there.record_stream(computing)
        return there


def fetched(tensors: Sequence[Tensor]) -> Callable[[], Sequence[Tensor]]:
    """A function that gives tensors of one device where the host can read them. It may be called late, and again.

    On CUDA they are on their way at once, behind what the device has to do now, and the function waits for them alone:
    `Tensor.item()` would wait for every later step as well.
    """
    device = tensors[0].device
    if device.type != "cuda":
        return lambda: tensors
    pinned = [
        torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=True).copy_(tensor, non_blocking=True)
        for tensor in tensors
    ]
    # A blocking one leaves the processor to those who read pictures while it is waited for.
    arrived = torch.cuda.Event(blocking=True)  # type: ignore[no-untyped-call]
    arrived.record(torch.cuda.current_stream(device))

    def wait() -> Sequence[Tensor]:
        arrived.synchronize()
        return pinned

    return wait
