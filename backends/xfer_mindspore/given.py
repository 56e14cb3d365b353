"""What functions of nodes are made of."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import mindspore as ms
import numpy as np
from mindspore import Parameter, Tensor

Function = Callable[..., Tensor]
"""Of a node's inputs."""


@dataclass(frozen=True)
class Given:
    """What a node's function is made of.

    weights  by the slots of the kind
    follows  of a batch norm: whether it normalises with the statistics of the batch, and updates the running ones
    """

    attributes: Mapping[str, Any]
    weights: Mapping[str, Parameter]
    follows: bool

    def __getitem__(self, attribute: str) -> Any:
        value = self.attributes[attribute]
        return tuple(value) if isinstance(value, list) else value  # MindSpore takes no lists


Maker = Callable[[Given], Function]


def on_cpu() -> bool:
    return ms.get_current_device().device_target == "CPU"


@ms.constexpr(check=False)  # in a graph, a constant of its own
@lru_cache(maxsize=256)
def filled(count: int, value: float) -> Tensor:
    return Tensor(np.full(count, value, np.float32))
