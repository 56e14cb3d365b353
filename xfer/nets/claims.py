"""What a file says of its network, held against the tensors in it: before a network of that size is made."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from xfer.archs import EXTRA, Arch
from xfer.arrays import Float32
from xfer.backend import ModelSpec
from xfer.errors import ConfigError, WeightsError
from xfer.nets.weights import merge


def refuse_claims(archs: Mapping[str, Arch], spec: ModelSpec, weights: Mapping[str, Float32], source: str) -> None:
    """Raises WeightsError, naming the source, where classes, blocks or hidden layers are not those of the weights.

    Whether every tensor is there, in the right shape, is for `xfer.nets.weights.merge` to say, once there is a network.
    """
    try:
        arch = spec.adapted(archs)
        for name in weights:
            arch.stage_of(name)
    except ConfigError as error:
        raise WeightsError(f"{source} does not fit the network: {error}") from None
    if spec.graph is not None:
        merge(spec.graph.weights, weights, arch.head_names, {}, source, keep_head=True)
    for what, claimed, held in _claims(arch, spec, weights):
        if claimed != held:
            raise WeightsError(
                f"{source} does not fit the network: its metadata say {what} = {claimed}, its weights say {held}. "
                "Cure: the file as it was written"
            )


def _claims(arch: Arch, spec: ModelSpec, weights: Mapping[str, Float32]) -> Iterator[tuple[str, list[int], list[int]]]:
    """What, by the metadata, by the weights."""

    def rows(layer: str) -> int:
        shape = weights[f"{layer}.weight"].shape
        return shape[0] if shape else 0

    held = [rows(arch.head)] if f"{arch.head}.weight" in weights else []
    yield "the number of classes", [spec.num_classes], held
    if spec.graph is not None:  # hidden layers may be the network's own
        return
    hidden = [f"{EXTRA}.{i}" for i in range(sum(name.startswith(f"{EXTRA}.") for name in weights))]
    yield "extra", list(spec.extra), [rows(layer) for layer in hidden if f"{layer}.weight" in weights]
    if arch.layers is not None:
        stages = [prefix for _, (prefix, *_) in arch.stages[1 : 1 + len(arch.layers)]]
        yield "layers", list(arch.layers), [_blocks(weights, prefix) for prefix in stages]


def _blocks(weights: Mapping[str, Float32], prefix: str) -> int:
    return len({name.removeprefix(prefix).partition(".")[0] for name in weights if name.startswith(prefix)})
