"""A run or a checkpoint as a file for other programs: written, read back, checked on pictures, and put in its place."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xfer.arrays import Float32
from xfer.backend import Backend, PredictStep
from xfer.backends import load_backend, pick_device
from xfer.capabilities import capability
from xfer.errors import BackendError, CheckpointError, ConfigError, XferError, expected, refuse_outside
from xfer.export.check import MOST, Check, compare, pictures_for, transformed
from xfer.export.described import metadata_of
from xfer.export.network import LEAST_OPSET, MOST_OPSET, OPSET, Input, Network, onnx_model
from xfer.export.packages import package
from xfer.export.runtime import normalised, open_onnx
from xfer.formats.files import read_weights, write_weights
from xfer.nets.net import Net
from xfer.nets.specs import with_graph
from xfer.pixels.images import SUFFIXES
from xfer.progress import Progress, silent
from xfer.results.checkpoint import Checkpoint, load_checkpoint
from xfer.results.read import is_run, read_located
from xfer.system.files import replacing

MOST_PICTURES = 1_000_000


@dataclass(frozen=True)
class Wanted:
    """What is to be written of a checkpoint. `enters` and `opset` are ONNX's alone."""

    checkpoint: Checkpoint
    suffixes: tuple[str, ...]
    enters: Input
    opset: int


@dataclass(frozen=True)
class Exported:
    path: Path
    format: str
    bytes: int
    check: Check


class RejectedError(XferError):
    """What was written does something else than the network. Nothing of it is left, and what was there before stays."""


def export(
    source: str | Path,
    output: str | Path,
    *,
    format: str | None = None,
    enters: Input = "normalised",
    opset: int = OPSET,
    backend: str | Backend | None = None,
    device: str = "auto",
    data: str | None = None,
    pictures: int = MOST,
    overwrite: bool = False,
    progress: Progress = silent,
) -> Exported:
    """Write the best checkpoint of a run folder, or one in a file, as `format` (by default what `output` ends as).

    The file is read back and predicts `pictures` pictures, see `pictures_for`, as the backend does, by default the one
    that wrote the checkpoint. Raises RejectedError where it does not, and XferError for what cannot be meant, before
    anything is written.
    """
    source, output = Path(source), Path(output)
    name = format_of(format, output)
    refuse_outside("opset", opset, LEAST_OPSET, MOST_OPSET)
    refuse_outside("pictures", pictures, 1, MOST_PICTURES)
    if output.exists() and not overwrite:
        raise CheckpointError(f"{output} exists already. Cure: another name, or --overwrite")
    for needed in FORMATS[name].needs:
        package(needed)
    checkpoint = load_checkpoint(source)
    folder = source if source.is_dir() else source.parent
    recipe = read_located(folder) if is_run(folder) else None
    used = backend or checkpoint.backend
    used = load_backend(used) if isinstance(used, str) else used
    net = checkpoint.net(used, pick_device(used, device))
    wanted = Wanted(checkpoint, tuple(recipe.data.suffixes if recipe else SUFFIXES), enters, opset)
    whole = name == "onnx" and enters == "pictures"
    with replacing(output) as part:
        step = FORMATS[name].write(wanted, net, part)  # before pictures are looked for, which may take minutes
        seen = pictures_for(checkpoint, recipe, data, pictures, whole, progress)
        check = compare(seen, step, _expected(net, checkpoint, whole), progress, checkpoint.thresholds)
        if not check.passed:
            raise RejectedError(f"{output} is not written: against {used.name}, {check}")
    return Exported(output, name, output.stat().st_size, check)


def _expected(net: Net, checkpoint: Checkpoint, whole: bool) -> PredictStep:
    """What a model is held against. `whole`: it takes pictures before the transforms."""
    step = net.predict_step()
    return (lambda images: step(transformed(images, checkpoint.transforms))) if whole else step


def format_of(name: str | None, output: Path) -> str:
    """The format that is named, or that the file's name ends as. Raises ConfigError where they are not the same."""
    suffixes = {known: of.suffix for known, of in FORMATS.items()}
    if name is not None and name not in FORMATS:
        raise ConfigError(expected("format", name, FORMATS))
    by_suffix = next((known for known, suffix in suffixes.items() if output.name.endswith(suffix)), None)
    if by_suffix is None or name not in (None, by_suffix):
        ends = suffixes[name] if name else ", ".join(suffixes.values())
        raise ConfigError(f"--output {output}: expected a name that ends in {ends}")
    return by_suffix


def write_onnx(wanted: Wanted, net: Net, path: Path) -> PredictStep:
    checkpoint = wanted.checkpoint
    spec = with_graph(checkpoint.spec, net.backend)
    mean, std = spec.network.mean, spec.network.std
    network = Network(net.graph, net.export(), spec.image_size, mean, std, checkpoint.transforms)
    model = onnx_model(network, wanted.enters, wanted.opset, metadata_of(checkpoint, wanted.enters, wanted.suffixes))
    package("onnx").checker.check_model(model)
    path.write_bytes(model.SerializeToString())
    del model
    return open_onnx(path).step


def write_safetensors(wanted: Wanted, net: Net, path: Path) -> PredictStep:
    """The weights alone, under the names of the network: torchvision's where it is torchvision's."""
    write_weights(path, wanted.checkpoint.weights, {})
    read, _ = read_weights(path)
    second = wanted.checkpoint.net(net.backend, net.device)
    second.load({name: read[name] for name in second.shapes})
    return second.predict_step()


def own_format(name: str) -> Callable[[Wanted, Net, Path], PredictStep]:
    """A format that a framework writes its own module in, by the capability `exports` of its backend."""

    def write(wanted: Wanted, net: Net, path: Path) -> PredictStep:
        known = capability(net.backend, "exports")
        if name not in known:
            raise BackendError(f"backend '{net.backend.name}' writes no {name}. Cure: another --backend or --format")
        spec = net.spec
        try:
            read_back = known[name](net.model, path, spec.image_size)
        except XferError:
            raise
        except Exception as error:  # a compiler raises whatever it likes
            raise BackendError(f"{net.backend.name} cannot write {name}: {_first_line(error)}. {_CURE}") from error

        def step(inputs: NDArray[Any]) -> Float32:
            try:
                return np.asarray(read_back(normalised(inputs, spec.mean, spec.std)))
            except Exception as error:
                words = f"{name} of {net.backend.name} takes no batch of {len(inputs)} pictures: {_first_line(error)}"
                raise BackendError(f"{words}. {_CURE}") from error

        return step

    return write


_CURE = "Cure: --format onnx"


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


@dataclass(frozen=True)
class Format:
    """`write` writes a file, and gives what the file says of pictures (N, H, W, 3) uint8; `needs` names packages."""

    suffix: str
    write: Callable[[Wanted, Net, Path], PredictStep]
    needs: tuple[str, ...] = ()


FORMATS: Mapping[str, Format] = {
    "onnx": Format(".onnx", write_onnx, ("onnx", "onnxruntime")),
    "torchscript": Format(".pt", own_format("torchscript")),
    "torch-export": Format(".pt2", own_format("torch-export")),
    "mindir": Format(".mindir", own_format("mindir")),
    "safetensors": Format(".safetensors", write_safetensors),
}
