"""An average of the weights beside those that train: what is evaluated, compared and kept of a run with `train.ema`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from xfer.arrays import Float32
from xfer.backend import Batch, Lazy, TrainStep
from xfer.nets.net import Net

SLOT = "average:"
"""Before the name of a weight, in the state of a step: its average."""


def share(decay: float, step: int) -> float:
    """How far the average goes towards the weights after a step, which counts from 1 in its phase: in (0, 1].

    1 - min(decay, (1 + step) / (10 + step)), as TensorFlow's ExponentialMovingAverage with `num_updates`. Of a decay
    alone, a run of a few hundred steps would end with an average that is mostly the weights it began with.
    """
    return 1 - min(decay, (1 + step) / (10 + step))


@dataclass
class AveragedStep:
    """A train step that an average follows. Its state is that of the inner step, and the average.

    names   what is averaged: all that moves, running statistics included. The rest is the same in both networks
    """

    inner: TrainStep
    net: Net
    average: Net
    names: Sequence[str]
    decay: float
    steps: int = 0

    def __call__(self, parts: Sequence[Batch], lrs: Sequence[float]) -> Lazy:
        lazy = self.inner(parts, lrs)
        self.steps += 1
        self.average.blend(self.net, self.names, share(self.decay, self.steps))
        return lazy

    def export_state(self) -> dict[str, NDArray[Any]]:
        state = self.inner.export_state()
        if self.steps:
            weights = self.average.export()
            state |= {SLOT + name: weights[name] for name in self.names}
        return state

    def import_state(self, state: Mapping[str, NDArray[Any]]) -> None:
        self.inner.import_state({key: array for key, array in state.items() if not key.startswith(SLOT)})
        self.steps = int(state["step"])
        begin(self.average, self.net, state)


def begin(average: Net, net: Net, state: Mapping[str, NDArray[Any]]) -> None:
    """Give the average the weights of `net`, and those of the average that are in the state of a step."""
    averages: dict[str, Float32] = {
        key.removeprefix(SLOT): array for key, array in state.items() if key.startswith(SLOT)
    }
    average.load({**net.export(), **averages})
