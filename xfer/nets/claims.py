"""What a file says of its network, held against the tensors in it: before a network of that size is made."""

from __future__ import annotations

from collections.abc import Mapping

from xfer.arrays import Float32
from xfer.errors import WeightsError
from xfer.nets.specs import ModelSpec
from xfer.nets.weights import merge


def refuse_claims(spec: ModelSpec, weights: Mapping[str, Float32], source: str) -> None:
    """Raises WeightsError, naming the source, where the weights are not those of the network, one by one."""
    graph, arch = spec.network.graph, spec.described
    merge(graph.weights, weights, arch.head_names, {}, source, keep_head=True)
    if (claimed := spec.num_classes) != graph.classes:
        raise WeightsError(
            f"{source} does not fit the network: its metadata say the number of classes = {claimed}, its weights say "
            f"{graph.classes}. Cure: the file as it was written"
        )
