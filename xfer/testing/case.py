"""What laws train on: labels and one mask, where the seam has targets, factors and a mask for each node."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from xfer.arrays import Float32, Int64
from xfer.backend import Batch, Lazy, TrainStep
from xfer.graphs.graph import Graph
from xfer.losses import LossSpec, targets_of


@dataclass(frozen=True)
class Case:
    """Inputs as `Batch.inputs`, labels (N,), and what the head's inputs are multiplied with: (N, F), or None.

    Of maps that enter the head, `keep` is for whole channels.
    """

    inputs: NDArray[Any]
    labels: Int64
    keep: Float32 | None = None

    def batch(self, graph: Graph, loss: LossSpec | None = None) -> Batch:
        """As the core would make it."""
        masks = {}
        if self.keep is not None:
            axes = len(graph.weights[graph[graph.head].weights["weight"]])
            masks[graph.head] = self.keep.reshape(*self.keep.shape, *[1] * (axes - 2))
        return Batch(self.inputs, *targets_of(loss or LossSpec(), self.labels, graph.classes), masks)


@dataclass(frozen=True)
class CaseStep:
    """A step that takes cases, each as one part."""

    inner: TrainStep
    graph: Graph
    loss: LossSpec

    def __call__(self, case: Case, lrs: Sequence[float]) -> Lazy:
        return self.inner([case.batch(self.graph, self.loss)], lrs)

    def export_state(self) -> dict[str, NDArray[Any]]:
        return self.inner.export_state()

    def import_state(self, state: Mapping[str, NDArray[Any]]) -> None:
        self.inner.import_state(state)
