"""A network as a MindIR file, for one picture at a time: the fast kernels for the CPU are of maps of known sizes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import mindspore as ms
import numpy as np
from mindspore import Tensor, nn

from xfer.archs import LOGITS
from xfer.arrays import Float32
from xfer.backend import Model
from xfer.capabilities import Export
from xfer.errors import BackendError
from xfer.graphs.parts import boundaries, part_of
from xfer_mindspore.kinds import NEVER_COMPILED
from xfer_mindspore.network import network_of


def mindir(model: Model, path: Path, size: tuple[int, int]) -> Callable[[Float32], Float32]:
    """Raises BackendError for a network that MindSpore does not compile, and for one that is more than one file."""
    graph = model.graph
    if uncompiled := sorted({node.kind for node in graph.nodes} & NEVER_COMPILED):
        raise BackendError(f"mindir: MindSpore does not compile {', '.join(uncompiled)}. Cure: --format onnx")
    whole = part_of(graph, next(iter(boundaries(graph))), LOGITS)
    cell = network_of(model, whole, model.parameters, normalised=True).set_train(False)
    ms.export(cell, Tensor(np.zeros((1, graph.channels, *size), np.float32)), file_name=str(path), file_format="MINDIR")
    if not path.is_file() or not path.stat().st_size:
        raise BackendError("mindir: MindSpore makes a folder of more than 1 GB. Cure: --format onnx or safetensors")
    read = nn.GraphCell(ms.load(str(path)))
    return lambda images: np.concatenate([read(Tensor(image[None])).asnumpy() for image in images])


EXPORTS: Mapping[str, Export] = {"mindir": mindir}
