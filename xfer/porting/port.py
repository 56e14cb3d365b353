"""A person's own classifier as a network of xfer's: traced, written into a file, and proved against the original."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from xfer import __version__
from xfer.archs import IMAGENET_MEAN, IMAGENET_STD, LOGITS, Arch
from xfer.arrays import Float32, Weights
from xfer.backend import Backend
from xfer.backends import load_backend
from xfer.capabilities import OwnModule, Traced, capability
from xfer.data.order import chunks
from xfer.errors import AbsentError, BackendError, ConfigError, WeightsError, XferError, refuse_outside
from xfer.formats.files import canonical_names, read_weights, read_with_metadata
from xfer.graphs.graph import Graph
from xfer.graphs.shapes import shapes_of
from xfer.graphs.stages import arch_of
from xfer.nets.network_file import SUFFIX, is_file, read_network, write_network
from xfer.nets.traced import Triple, own_logits, with_canonical_names
from xfer.nets.weights import merge, refuse_unusable
from xfer.nets.wrapped import unwrapped
from xfer.pixels.colour import Normalize
from xfer.porting.differences import compare_arrays
from xfer.porting.endings import ENDINGS
from xfer.porting.gaps import Array
from xfer.porting.own_code import blamed, importable, made, named
from xfer.porting.parity import NOISE_BATCHES, TOLERANCE, measure_in_own_process, noise, pictures_of, target_of
from xfer.porting.source import class_name, refuse_source, write_source
from xfer.porting.task import LOGITS_OF_ALL, Task
from xfer.progress import Progress, silent
from xfer.recipe.recipe import MOST_SIZE
from xfer.system.files import json_text

SOURCE = "torch"
"""The backend whose modules are ported."""
BATCH = 8


@dataclass(frozen=True)
class Proof:
    """The graph on one backend, held against the person's own module.

    relative   the largest difference of logits over the largest absolute value of the module's; None: not measured
    top1_agree of `images` pictures have their largest logit at the same class
    note       why it was not measured
    """

    backend: str
    images: int
    passes: bool
    relative: float | None = None
    top1_agree: int = 0
    absent: bool = False
    note: str = ""


@dataclass(frozen=True)
class Ported:
    """`file`: the output; where the proof failed, that beside it that is called `unproved`.

    unused   weights of the module that have no part in its logits, and are not in the file
    way      what took the module apart, `torch.fx` or `torch.export`
    ending   the module's last function, `softmax` or `log_softmax`, that is left out: the loss has it; or ""
    """

    file: Path
    graph: Graph
    arch: Arch
    unused: tuple[str, ...]
    proofs: tuple[Proof, ...]
    way: str
    ending: str = ""

    @property
    def passes(self) -> bool:
        """Whether every backend that is installed gives the module's logits."""
        return all(proof.passes or proof.absent for proof in self.proofs)

    def as_json(self) -> dict[str, Any]:
        shapes = self.graph.weights.values()
        return {
            "output": str(self.file),
            "traced_by": self.way,
            "ending": self.ending,
            "passes": self.passes,
            "tensors": len(shapes),
            "values": sum(int(np.prod(shape)) for shape in shapes),
            "size": list(self.graph.size),
            "fixed": self.graph.fixed,
            "stages": list(self.arch.stage_names),
            "unused": list(self.unused),
            "proofs": [asdict(proof) for proof in self.proofs],
        }


def port(
    target: str | Any,
    output: str | Path,
    *,
    weights: str | Path | None = None,
    images: Sequence[str] = (),
    size: int = 224,
    mean: Triple = IMAGENET_MEAN,
    std: Triple = IMAGENET_STD,
    backends: Sequence[str] = (SOURCE, "mindspore"),
    source: str | Path | None = None,
    overwrite: bool = False,
    progress: Progress = silent,
) -> Ported:
    """Write a classifier of torch's as a network of xfer's, and hold the two against each other.

    The output appears once every backend that is installed gives the module's logits, and what it replaces stays until
    then. A network that does not pass is left in NAME.unproved.safetensors, to be looked into, without its source.

    target     the module, which is left in inference mode; or `package.module:factory`, a function or class without
               arguments that makes it. That is imported and called in this process: whoever names it wants it run. The
               current folder is importable meanwhile
    weights    a file for the module's own names, in place of the weights that it has
    images     that the proof looks at, as for `parity`; none: smooth noise
    size       side of the pictures that it is traced for, in pixels
    mean, std  of the normalisation that it was trained with, of values in [0, 1]
    source     a Python file to write, the network as MindSpore source: it needs neither torch nor xfer

    Raises XferError, one line, for whatever the person can put right.
    """
    file, normalize = Path(output), _normalize(mean, std)
    _refuse_output(file, overwrite)
    if source is not None:
        refuse_source(Path(source), overwrite)
    refuse_outside("size", size, 1, MOST_SIZE)
    pixels = pictures_of(images, size) if images else noise(NOISE_BATCHES * BATCH, size, seed=0)
    name = target if isinstance(target, str) else type(target).__name__
    progress(f"tracing {name}", 1, None)
    with importable(os.getcwd()):
        backend = load_backend(SOURCE)
        value, module = _module(target, name, backend)
        if weights is not None:
            _load(module, name, Path(weights))
        traced = _traced(backend, value, (size, size), name)
        own = _own(module, name)
        graph, taken = _taken(traced.graph, own, name)
        arch = arch_of(name, graph)
        shapes_of(graph)
        refuse_unusable(taken, name)
        with blamed(f"running {name}"):
            logits = _logits(module, pixels, normalize)
    ends = ENDINGS[traced.ending]
    record = {"ported_from": name, "versions": json_text({"xfer": __version__, **backend.versions()})}
    unproved = unproved_of(file)
    write_network(unproved, graph, taken, normalize, record)
    try:
        proofs = tuple(_proof(name, unproved, pixels, logits, normalize, ends, progress) for name in backends)
        unused = tuple(name for name in own if name not in traced.graph.weights)
        ported = Ported(unproved, graph, arch, unused, proofs, traced.way, traced.ending)
        if not ported.passes:
            return ported
        if source is not None:
            write_source(Path(source), graph, class_name(name), overwrite)
        _put(unproved, file)
    except BaseException:  # also Ctrl-C: what nobody is told of does not stay
        unproved.unlink(missing_ok=True)
        raise
    return replace(ported, file=file)


def unproved_of(file: Path) -> Path:
    """Where an output lies until it is proved."""
    return file.with_name(f"{file.name.removesuffix(SUFFIX)}.unproved{SUFFIX}")


def _put(unproved: Path, file: Path) -> None:
    try:
        unproved.replace(file)
    except OSError as error:
        raise WeightsError(f"{file}: cannot be written ({error.strerror or error}). Cure: another --output") from error


def _normalize(mean: Triple, std: Triple) -> Normalize:
    try:
        return Normalize(mean=mean, std=std)
    except ValueError:
        raise ConfigError(f"mean {mean}, std {std}: expected three finite numbers each, of std above 0") from None


def _refuse_output(file: Path, overwrite: bool) -> None:
    """Before anything of the person's is run."""
    if not is_file(file.name):
        raise ConfigError(f"--output {file}: expected a file ending in {SUFFIX}. Cure: --output {file.stem}{SUFFIX}")
    if os.path.lexists(file) and not overwrite:
        raise WeightsError(f"{file} exists already. Cure: another name, or --overwrite")
    unproved = unproved_of(file)
    if os.path.lexists(unproved) and not (overwrite or _is_network(unproved)):
        raise WeightsError(f"{unproved} is in the way, and holds no network. Cure: another --output, or --overwrite")


def _is_network(file: Path) -> bool:
    try:
        read_network(str(file))
    except WeightsError:
        return False
    return True


def _module(target: str | Any, name: str, backend: Backend) -> tuple[Any, OwnModule]:
    """What was given or named, or what that makes: as it is, and as the core sees it."""
    wrap = capability(backend, "own_module")
    if wrap is None or capability(backend, "trace") is None:
        raise BackendError(f"backend '{backend.name}' cannot trace modules. Cure: pip install --upgrade xfer")
    value = named(target) if isinstance(target, str) else target
    with blamed(f"putting {name} at rest"):
        module = wrap(value)
        if module is None and isinstance(target, str):
            value = made(target, value)
            module = wrap(value)
    if module is None:
        raise ConfigError(f"{name}: gave a value of type {type(value).__name__}, expected a torch.nn.Module")
    return value, module


def _traced(backend: Backend, module: Any, size: tuple[int, int], target: str) -> Traced:
    try:
        with blamed(f"tracing {target}"):
            traced: Traced = capability(backend, "trace")(module, size)
            return traced
    except BackendError as error:
        raise BackendError(f"{target}: {error}") from error


def _own(module: OwnModule, name: str) -> Weights:
    with blamed(f"reading the weights of {name}"):
        return module.export_weights()


def _load(module: OwnModule, name: str, file: Path) -> None:
    """Weights of a file into the module, strictly: all of them, by canonical names."""
    own = _own(module, name)
    names = canonical_names(own)
    shapes = {names[key]: array.shape for key, array in own.items()}
    loaded, _ = read_weights(file)
    loaded, _ = unwrapped(loaded, shapes, ())
    refuse_unusable(loaded, str(file))
    merged = merge(shapes, loaded, (), {}, str(file), keep_head=True)
    with blamed(f"setting the weights of {name}"):
        module.import_weights({key: merged[canonical] for key, canonical in names.items()})


def _taken(graph: Graph, own: Mapping[str, Float32], target: str) -> tuple[Graph, Weights]:
    try:
        return with_canonical_names(graph, own)
    except WeightsError as error:
        raise ConfigError(f"{target}: {error}") from None


def _logits(module: OwnModule, pixels: Array, normalize: Normalize) -> Float32:
    """(N, C) of pictures (N, H, W, 3) uint8."""
    parts = chunks(np.arange(len(pixels)), BATCH)
    return np.concatenate([own_logits(module, pixels[part], normalize.mean, normalize.std) for part in parts])


def _proof(
    name: str, file: Path, pixels: Array, given: Float32, normalize: Normalize, ends: Callable[[Array], Array],
    progress: Progress,
) -> Proof:  # fmt: skip
    """What one backend makes of the file that was written, read anew by its own process.

    `given`: what the module gives for the pictures, which is what `ends` makes of its logits.
    """
    backend, device = target_of(name)
    progress(f"measuring {backend}", 1, None)
    weights, _ = read_with_metadata(file)
    task = Task(str(file), pixels, weights, str(file), None, normalize.mean, normalize.std, BATCH, steps=0)
    try:
        arrays = measure_in_own_process(backend, device, task).arrays
    except XferError as error:
        return Proof(backend, len(pixels), False, absent=isinstance(error, AbsentError), note=str(error))
    theirs = {LOGITS: ends(arrays[LOGITS_OF_ALL][LOGITS])}
    (row,) = compare_arrays(LOGITS_OF_ALL, {LOGITS: given}, theirs, {LOGITS: LOGITS}, TOLERANCE)
    agree = int((given.argmax(axis=1) == theirs[LOGITS].argmax(axis=1)).sum())
    return Proof(backend, len(pixels), row.passes, row.relative, agree, note=row.note)
