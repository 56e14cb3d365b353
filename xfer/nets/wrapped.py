"""A network that is a part of what a file holds: a LightningModule's beside its loss, a backbone beside its neck."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from xfer.arrays import Float32, Weights
from xfer.nets.weights import Shapes


def unwrapped(loaded: Mapping[str, Float32], shapes: Shapes, head: Sequence[str]) -> tuple[Weights, str]:
    """The weights under the one prefix that leads to the whole network, and a line that says so.

    All names but the head's must be there, which no guess could bring about; with two such prefixes, as of a teacher
    and its student, the file is given as it is, for strict loading to refuse, and so it is where it fits already.
    """
    body = [name for name in shapes if name not in head]
    if not body or set(body) <= loaded.keys():
        return dict(loaded), ""
    candidates = [name.removesuffix(body[0]) for name in loaded if name.endswith(f".{body[0]}")]
    prefixes = [prefix for prefix in candidates if all(f"{prefix}{name}" in loaded for name in body)]
    if len(prefixes) != 1:
        return dict(loaded), ""
    inside = {n.removeprefix(prefixes[0]): array for n, array in loaded.items() if n.startswith(prefixes[0])}
    beside = [name for name in loaded if not name.startswith(prefixes[0])]
    passed = f"; passed over: {len(beside)} tensors, such as {beside[0]}" if beside else ""
    return inside, f"weights taken from under {prefixes[0]!r}{passed}"
