"""xfer's MindSpore backend."""

import os

# Both are read when MindSpore's libraries load, hence before the first import of it, and never against the user's will.
# On CPUs with AVX-512 the oneDNN inside MindSpore 2.9 and 2.10 finds no kernel of its own for a convolution and takes
# its reference implementation, about 70 times slower; below AVX-512 it takes the fast one.
os.environ.setdefault("ONEDNN_MAX_CPU_ISA", "AVX2")
# Errors only: merely asking whether a GPU or an NPU is there logs a screenful of warnings about their libraries.
os.environ.setdefault("GLOG_v", "3")

from xfer_mindspore.backend import MindSporeBackend

__all__ = ["MindSporeBackend"]
