"""The PyTorch backend: torchvision's ResNets themselves, on cpu, cuda or npu."""

from xfer_torch.backend import TorchBackend

__all__ = ["TorchBackend"]
