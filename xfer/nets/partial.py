"""Partial loading: what fits is taken, layer by layer; the rest keeps its first values. Nothing is interpolated."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

from xfer.archs import Arch, is_statistic
from xfer.arrays import Float32, Weights
from xfer.backend import ParamGroups
from xfer.errors import ConfigError, WeightsError
from xfer.nets.guess import Shapes, guess_arch

Shape = tuple[int, ...]
Fate = Literal["loaded", "resized", "incomplete", "random", "head", "unused"]
FATES: tuple[Fate, ...] = get_args(Fate)
"""What may become of a tensor. All but `loaded` and `unused` ones have the first values of a fresh network.

loaded      from the file, bit for bit
resized     the file has the name with another shape
incomplete  name and shape fit, but the rest of its layer does not
random      the file has no such name
head        of the head, where it is made anew: its classes are other ones
unused      in the file only
"""


@dataclass(frozen=True)
class Tensor:
    """A name of the network, of the file or of both, with its shape in each."""

    name: str
    fate: Fate
    network: Shape | None
    file: Shape | None

    @property
    def values(self) -> int:
        """The count of its numbers: in the network, or in the file where it is unused."""
        return math.prod((self.file if self.network is None else self.network) or ())


@dataclass(frozen=True)
class Loaded:
    """Every tensor of a network, in its order, then the unused ones of the file."""

    tensors: tuple[Tensor, ...]

    def names(self, *fates: Fate) -> tuple[str, ...]:
        return tuple(t.name for t in self.tensors if t.fate in fates)


def partial_merge(
    shapes: Shapes, loaded: Mapping[str, Float32], head: Sequence[str], init: Mapping[str, Float32]
) -> tuple[Weights, Loaded]:
    """The weights a model starts from, every name of `shapes`: from `loaded` where its layer fits, else from `init`.

    A layer (a convolution, a linear or a norm layer: all names but for their last part) is taken whole or not at all:
    it fits when both have the same names in it, of the same shapes. A norm layer with the scale of one network and
    the statistics of another would train without a word of complaint, and so would a weight without its bias.
    Raises WeightsError when nothing fits.
    """
    files = {name: array.shape for name, array in loaded.items()}
    misfits = {_layer(n) for n in {*shapes, *files} if n not in shapes or n not in files or files[n] != shapes[n]}
    tensors = [Tensor(n, _fate(n, shapes[n], files, head, misfits), shapes[n], files.get(n)) for n in shapes]
    tensors += [Tensor(name, "unused", None, shape) for name, shape in files.items() if name not in shapes]
    report = Loaded(tuple(tensors))
    taken = set(report.names("loaded"))
    if not taken:
        raise WeightsError(f"no layer of the file fits the network. {_cause(shapes, files, head)}")
    return {name: loaded[name] if name in taken else init[name] for name in shapes}, report


def _layer(name: str) -> str:
    return name.rpartition(".")[0]


def _fate(name: str, shape: Shape, files: Shapes, head: Sequence[str], misfits: set[str]) -> Fate:
    if name in head:
        return "head"
    if name not in files:
        return "random"
    if files[name] != shape:
        return "resized"
    return "incomplete" if _layer(name) in misfits else "loaded"


def _cause(shapes: Shapes, files: Shapes, head: Sequence[str]) -> str:
    """Why nothing fits, most likely, and the cure."""
    body = {name for name in shapes if name not in head}
    prefixes = [prefix for name in files for prefix in _prefixes(name) if name.removeprefix(prefix) in body]
    arch = guess_arch(files)
    if arch and arch != guess_arch(shapes):
        return f"It looks like {arch}. Cure: use that architecture, or weights of this one"
    if shared := body & files.keys():
        return f"It has {len(shared)} of the {len(body)} names, in other shapes. Cure: use weights of this architecture"
    if prefixes:
        return f"Its names begin with {prefixes[0]!r}. Cure: a file without that prefix"
    if files.keys() & set(head):
        return "It holds a head, which is made anew. Cure: use weights of the whole network"
    like = [repr(min(names, default="")) for names in (files, body)]
    return f"Its names are like {like[0]}, the network's like {like[1]}. Cure: use weights of this architecture"


def _prefixes(name: str) -> Iterator[str]:
    """`a.` and `a.b.` of `a.b.c`."""
    yield from (name[: place + 1] for place, letter in enumerate(name) if letter == ".")


def stage_of(name: str, arch: Arch) -> str:
    """The stage of a name; of one that the network lacks, possibly only the module that holds it in the file."""
    try:
        return arch.stage_of(name)
    except ConfigError:
        return name.partition(".")[0]


@dataclass(frozen=True)
class Count:
    tensors: int
    values: int


def counts(loaded: Loaded, arch: Arch) -> dict[str, dict[Fate, Count]]:
    """Stage -> fate -> how many; the stages in the order of the computation, those of the file alone behind them."""
    stages = {t.name: stage_of(t.name, arch) for t in loaded.tensors}
    order = dict.fromkeys((*arch.stage_names, *stages.values()))
    of_stage = {stage: _count(t for t in loaded.tensors if stages[t.name] == stage) for stage in order}
    return {stage: fates for stage, fates in of_stage.items() if fates}


def total(loaded: Loaded) -> dict[Fate, Count]:
    return _count(loaded.tensors)


def _count(tensors: Iterable[Tensor]) -> dict[Fate, Count]:
    listed = list(tensors)
    members = {fate: [t.values for t in listed if t.fate == fate] for fate in FATES}
    return {fate: Count(len(values), sum(values)) for fate, values in members.items() if values}


def frozen_fresh(loaded: Loaded, phases: Sequence[ParamGroups]) -> tuple[str, ...]:
    """Names that were not loaded and that no phase of the run ever moves."""
    never = frozenset.intersection(*(groups.frozen for groups in phases))
    return tuple(name for name in loaded.names("resized", "incomplete", "random", "head") if name in never)


def warning(loaded: Loaded, phases: Sequence[ParamGroups], arch: Arch) -> str:
    """A line on weights that are frozen at random values, with the cure; empty where there are none."""
    names = frozen_fresh(loaded, phases)
    if not names:
        return ""
    weights = [name for name in names if not is_statistic(name)]
    first = min((arch.stage_of(name) for name in weights), key=arch.stage_names.index, default="")
    cure = f"train_from = '{first}'" if weights else "norm_stats = 'follow'"  # statistics under trained weights
    rest = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return f"frozen at random values: {', '.join(names[:3])}{rest}. Cure: {cure}"


def as_record(loaded: Loaded, phases: Sequence[ParamGroups], arch: Arch, source: str) -> dict[str, Any]:
    """Everything by name, and the sums, as plain data for JSON."""

    def plain(fates: Mapping[Fate, Count]) -> dict[str, dict[str, int]]:
        return {fate: {"tensors": count.tensors, "values": count.values} for fate, count in fates.items()}

    rows = [{"name": t.name, "fate": t.fate, "network": t.network, "file": t.file} for t in loaded.tensors]
    return {
        "source": source,
        "total": plain(total(loaded)),
        "stages": {stage: plain(fates) for stage, fates in counts(loaded, arch).items()},
        "frozen_at_random_values": list(frozen_fresh(loaded, phases)),
        "tensors": rows,
    }
