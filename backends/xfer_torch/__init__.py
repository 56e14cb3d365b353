"""The PyTorch backend: networks of torch's own operators, on cpu, cuda or npu."""

from xfer_torch.backend import TorchBackend

__all__ = ["TorchBackend"]
