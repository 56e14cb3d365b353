"""A network in a file: its graph is in the metadata of a .safetensors file, beside weights under the graph's names.

`xfer port` writes such files, and checkpoints are such files too.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from xfer.archs import Arch
from xfer.arrays import Float32
from xfer.errors import ConfigError, WeightsError
from xfer.formats.files import write_weights
from xfer.formats.sealed import NETWORK, read_metadata
from xfer.graphs.graph import Graph
from xfer.graphs.read import graph_from_json
from xfer.graphs.stages import arch_of, stages_of
from xfer.pixels.colour import Normalize, read_normalize
from xfer.system.doors import parse_json
from xfer.system.files import expanded, json_text

SUFFIX = ".safetensors"


@dataclass(frozen=True)
class NetworkFile:
    """`normalize` is what its weights were trained with."""

    graph: Graph
    normalize: Normalize

    def arch(self, name: str) -> Arch:
        return replace(arch_of(name, self.graph), mean=self.normalize.mean, std=self.normalize.std)


def is_file(arch: str) -> bool:
    """Whether the name of a network is that of a file."""
    return arch.endswith(SUFFIX)


def place_of(arch: str) -> str | None:
    """The path of the file, from whatever folder it is asked; None for a network of another kind."""
    return str(expanded(arch).resolve()) if is_file(arch) else None


def read_network(arch: str) -> NetworkFile:
    """The network in a file, without its weights. Raises WeightsError, one line that begins with the file."""
    path = expanded(arch)
    if not os.path.exists(path):
        raise WeightsError(f"{path}: no such file. Cure: check the path, or `xfer port` writes one")
    try:
        metadata = read_metadata(path)
        return NetworkFile(usable_graph(metadata["graph"]), read_normalize(metadata["mean"], metadata["std"]))
    except KeyError as error:
        raise WeightsError(f"{path}: holds no network ({error.args[0]} is missing). {_CURE}") from None
    except OSError as error:
        raise WeightsError(f"{path}: cannot be read ({error.strerror or error}). {_CURE}") from None
    except (ValueError, ConfigError) as error:
        cure = "" if "Cure: " in str(error) else f". {_CURE}"
        raise WeightsError(f"{path}: holds no network that can be used: {error}{cure}") from None


def usable_graph(text: str) -> Graph:
    """The network of which that is the JSON, and whose stages are known. Raises ValueError or ConfigError."""
    graph = graph_from_json(parse_json(text))
    stages_of(graph)
    return graph


_CURE = "Cure: a file that `xfer port` wrote, or a checkpoint of such a network"


def write_network(
    path: Path, graph: Graph, weights: Mapping[str, Float32], normalize: Normalize, record: Mapping[str, str]
) -> None:
    """Write a network, its weights, and what people may want to know of them. Raises WeightsError."""
    texts = {"graph": graph.as_json(), "mean": normalize.mean, "std": normalize.std}
    metadata = {key: json_text(value, ascii_only=False) for key, value in texts.items()}
    write_weights(path, weights, {"format": NETWORK, **metadata, **record})
