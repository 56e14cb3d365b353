"""A checkpoint: canonical weights, with all that predicting needs in the same safetensors file. Never a pickle."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from html import escape
from pathlib import Path

from pydantic import TypeAdapter

from xfer.archs import Padding
from xfer.arrays import Weights
from xfer.backend import Backend
from xfer.errors import CheckpointError, ConfigError, WeightsError
from xfer.formats.files import read_with_metadata, write_weights
from xfer.formats.sealed import BEST, FORMAT
from xfer.graphs.graph import Graph
from xfer.nets.claims import refuse_claims
from xfer.nets.net import Net, build_net
from xfer.nets.network_file import usable_graph
from xfer.nets.specs import ModelSpec, known_arch, with_graph
from xfer.nets.weights import merge, refuse_unusable
from xfer.pixels.augment import Transform, output_size
from xfer.pixels.channels import COLOURS, channels_of
from xfer.pixels.colour import read_normalize
from xfer.results import notebook
from xfer.results.figures import NONE
from xfer.system.files import json_text

_FIRST = 5  # names of classes that are shown of many
_CLASSES: TypeAdapter[tuple[str, ...]] = TypeAdapter(tuple[str, ...])
_TRANSFORMS: TypeAdapter[tuple[Transform, ...]] = TypeAdapter(tuple[Transform, ...])
_Changes = tuple[tuple[int, ...] | None, tuple[int, ...] | None, Padding | None]
_CHANGES: TypeAdapter[_Changes] = TypeAdapter(_Changes)
"""`layers`, `extra` and `padding` of the network; files of before these keys have none."""

_THRESHOLDS: TypeAdapter[tuple[float, ...]] = TypeAdapter(tuple[float, ...])

_OWN = frozenset(
    (
        *("format", "arch", "classes", "image_size", "mean", "std", "transforms"),
        *("layers", "extra", "padding", "graph", "thresholds"),
    )
)


@dataclass(frozen=True)
class Checkpoint:
    """Weights with the network, the classes and the preprocessing they were trained for.

    `transforms` make a picture into the (height, width) of `spec.image_size`. `thresholds` (C,): from which probability
    on a picture has a label, of a network for any number of labels; None: it tells classes apart. `record` is for
    people: backend, versions, epoch, metrics, digest of the source weights.
    """

    weights: Weights
    spec: ModelSpec
    classes: tuple[str, ...]
    transforms: tuple[Transform, ...]
    record: Mapping[str, str]
    name: str = "checkpoint"  # in errors: its file
    thresholds: tuple[float, ...] | None = None

    def __repr__(self) -> str:
        (height, width), values = self.spec.image_size, sum(array.size for array in self.weights.values())
        sizes = f"{height} x {width} pixels, {values:,} values in {len(self.weights)} tensors"
        written = f", written by {self.record['backend']}" if "backend" in self.record else ""
        return f"<Checkpoint {self.name!r}: {self.spec.arch}, {sizes}; {shortened(self.classes)}{written}>"

    def _repr_html_(self) -> str | None:
        def make() -> str:
            (height, width), values = self.spec.image_size, sum(array.size for array in self.weights.values())
            rows = {
                "Classes": shortened(self.classes),
                "Pictures": f"{height} x {width} pixels, mean {_listed(self.spec.mean)}, std {_listed(self.spec.std)}",
                "Weights": f"{values:,} values in {len(self.weights)} tensors",
                "Written by": self.record.get("backend", NONE),
                "Epoch": self.record.get("epoch", NONE),
            }
            title = f"{self.spec.arch}: {self.name}"
            return notebook.table(title, [(label, escape(words)) for label, words in rows.items()])

        return notebook.form(make)

    @property
    def backend(self) -> str:
        """The name of the backend that wrote it. Raises CheckpointError when the record does not say."""
        if "backend" not in self.record:
            raise CheckpointError("the checkpoint does not say which backend wrote it. Cure: --backend NAME")
        return self.record["backend"]

    def save(self, path: Path) -> None:
        write_weights(path, self.weights, self.metadata())

    def metadata(self) -> dict[str, str]:
        parts = {
            "classes": list(self.classes),
            "image_size": self.spec.image_size,
            "mean": self.spec.mean,
            "std": self.spec.std,
            "transforms": _TRANSFORMS.dump_python(self.transforms, mode="json"),
            "layers": self.spec.layers,
            "extra": self.spec.extra,
            "padding": self.spec.padding,
        }
        if self.spec.graph is not None:  # whoever reads it needs no catalogue that has the network
            parts["graph"] = self.spec.graph.as_json()
        if self.thresholds is not None:
            parts["thresholds"] = self.thresholds
        texts = {key: json_text(value, ascii_only=False) for key, value in parts.items()}
        return {"format": FORMAT, "arch": self.spec.arch, **texts, **self.record}

    def net(self, backend: Backend, device: str) -> Net:
        """The network on `device`, with these weights. Raises WeightsError when they do not fit the architecture."""
        if self.spec.graph is None:  # of before they were in every checkpoint
            known_arch(backend, self.spec.arch)
        spec = with_graph(self.spec, backend)
        refuse_claims(spec, self.weights, self.name)
        net = build_net(backend, device, spec)
        net.load(merge(net.shapes, self.weights, net.arch.head_names, {}, self.name, keep_head=True))
        return net


def shortened(classes: Sequence[str]) -> str:
    """`2 classes: ants, bees`, with the first names alone where there are many."""
    more = f" and {len(classes) - _FIRST} more" if len(classes) > _FIRST else ""
    return f"{len(classes)} classes: {', '.join(classes[:_FIRST])}{more}"


def _listed(values: Sequence[float]) -> str:
    return ", ".join(f"{value:g}" for value in values)


def load_checkpoint(path: Path | str) -> Checkpoint:
    """Read a checkpoint file, or the best one of a run folder.

    Raises CheckpointError when there is none, or when a file carries weights but not what predicting needs.
    """
    path = Path(path)
    file = path / BEST if path.is_dir() else path
    if not file.exists():
        raise CheckpointError(f"{path}: no checkpoint here, expected a run folder with {BEST}, or a weights file")
    try:
        weights, meta = read_with_metadata(file)
    except WeightsError as error:
        raise CheckpointError(str(error)) from error
    if meta.get("format") != FORMAT:
        raise CheckpointError(
            f"{file}: holds weights, but not the classes and preprocessing that predicting needs. "
            f"Cure: use a checkpoint of xfer, or one that `xfer convert` made from it"
        )
    return _parse(weights, meta, file)


def thresholds_in(metadata: Mapping[str, str], classes: int) -> tuple[float, ...] | None:
    """Of a network for any number of labels; None of one for classes. Raises ValueError for what are not its own."""
    if "thresholds" not in metadata:
        return None
    found = _THRESHOLDS.validate_json(metadata["thresholds"])
    if len(found) != classes or not all(0 < threshold < 1 for threshold in found):
        raise ValueError(f"thresholds: expected {classes} numbers between 0 and 1")
    return found


def _graph(meta: Mapping[str, str], file: Path) -> Graph | None:
    """The network, of which checkpoints had the name alone before each carried its own."""
    try:
        return usable_graph(meta["graph"]) if "graph" in meta else None
    except ConfigError as error:
        raise CheckpointError(f"{file}: its network cannot be used: {error}") from None


def _parse(weights: Weights, meta: dict[str, str], file: Path) -> Checkpoint:
    try:
        classes, normalize = _CLASSES.validate_json(meta["classes"]), read_normalize(meta["mean"], meta["std"])
        transforms = _TRANSFORMS.validate_json(meta["transforms"])
        size, stated = output_size(transforms), json.loads(meta["image_size"])
        if stated != list(size):
            raise ValueError(f"image_size = {stated}, its transforms make pictures of {list(size)}")
        changes = [json.loads(meta.get(key, "null")) for key in ("layers", "extra", "padding")]
        layers, extra, padding = _CHANGES.validate_python(changes)
        spec = ModelSpec(meta["arch"], len(classes), size, normalize.mean, normalize.std, layers, extra or ())
        spec = replace(spec, padding=padding or "symmetric", graph=_graph(meta, file))
        thresholds = thresholds_in(meta, len(classes))
        seen, taken = channels_of(transforms), spec.graph.channels if spec.graph else COLOURS
        if seen != taken:
            raise ValueError(f"its transforms make pictures of {seen} channels, its network takes {taken}")
    except (KeyError, TypeError, ValueError, ConfigError, RecursionError) as error:
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
        raise CheckpointError(f"{file}: its metadata is damaged ({reason})") from None
    refuse_unusable(weights, str(file))
    record = {key: value for key, value in meta.items() if key not in _OWN}
    return Checkpoint(weights, spec, classes, transforms, record, str(file), thresholds)
