"""The arrays that are passed around, by name."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]


Int64 = NDArray[np.int64]


Weights = dict[str, Float32]
"""Canonical name -> float32 array: convolutions OIHW, linear layers (out, in)."""


Pixels = NDArray[np.uint8]


Digests = NDArray[np.uint8]
