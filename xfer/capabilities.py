"""What a backend may have besides what every `Backend` has, and what stands for it where it has none."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from xfer.arrays import Float32, Weights
from xfer.backend import Backend, Diagnosis, InputSpec, Labelled, Model, Precision, UpdateRule
from xfer.graphs.graph import Graph


@dataclass(frozen=True)
class Traced:
    """A module as a network.

    way     what of the framework's took it apart
    ending  "softmax" or "log_softmax", with which the module makes something else of its logits; or "". The graph ends
            with the logits
    """

    graph: Graph
    way: str
    ending: str = ""


@dataclass(frozen=True)
class LibraryModule:
    """A module of a library's, and how its published weights see pictures.

    size           (height, width) in pixels
    mean, std      of the normalisation, of values in [0, 1]
    crop           share of a side that evaluation keeps
    interpolation  of the resizing before that
    squash         whether that makes pictures square, whatever their shape
    record         for people: which weights they are, and their licence
    """

    module: Any
    size: tuple[int, int]
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    crop: float
    interpolation: str
    squash: bool
    record: Mapping[str, str]


class OwnModule(Protocol):
    """A classifier that somebody wrote for the framework, at rest, in float32. Weights have the names it gives them."""

    def export_weights(self) -> Weights:
        """Copies of all tensors of its state, as float32, but those of `xfer.archs.NO_WEIGHTS`."""
        ...

    def import_weights(self, weights: Mapping[str, Float32]) -> None:
        """Set them all, by copy. The core has checked names and shapes."""
        ...

    def predict(self, images: Float32) -> Float32:
        """Logits (N, C) of normalised pictures (N, 3, H, W). It may raise whatever its author lets it."""
        ...


class Export(Protocol):
    def __call__(self, model: Model, path: Path, size: tuple[int, int]) -> Callable[[Float32], Float32]:
        """Write the network, for any number of pictures of (height, width) pixels, and read the file back.

        What is read takes and gives what `Capabilities.native_model` does, as arrays.
        """
        ...


class Capabilities(Protocol):
    """What a backend may have besides, all of it optional. `capability` knows what stands for a member that is absent.

    shares_features   whether features that it computed serve other runs (True). A backend that listens in, say, must
                      see all that is computed
    numerics          a setting of its own that may change the last bits (none): features are kept for each apart
    networks          name -> graph of networks that it brings itself (none)
    update_rules      the kinds of `OptimizerSpec` that it has (sgd, adam, adamw)
    exports           name of a format -> what writes networks in it (none): `xfer export --format NAME`
    """

    shares_features: bool
    numerics: str
    networks: Mapping[str, Graph]
    update_rules: Sequence[UpdateRule]
    exports: Mapping[str, Export]

    def precisions(self, device: str) -> tuple[Precision, ...]:
        """All that it can build a network with on a device of its own, `float32` first."""
        ...

    def blend(self, target: Model, source: Model, names: Sequence[str], share: float) -> None:
        """Move weights of `target` by a share in [0, 1] of the way to those of `source`, a model of the same network.

        In float32, t + share * (s - t), or s + (1 - share) * (t - s) where `share` is above a half: of 1 it is s to
        the bit. All other weights stay. Forces no wait for the device.
        """
        ...

    def native_batches(self, spec: InputSpec) -> Iterator[Labelled]:
        """The framework's own input pipeline: pictures for each of the chunks, in order, uint8 `(N, H, W, 3)`.

        Raises DataError, with the file, for a picture that cannot be used, and BackendError for a transform that the
        framework has no counterpart of.
        """
        ...

    def native_model(self, model: Model) -> Any:
        """The network as the framework's own module, in inference mode, on the model's device.

        It takes images (N, 3, H, W) float32, normalised already, and gives logits (N, C): what a predict step gives for
        the same pictures, but for rounding. Weights and their names are the model's own.
        """
        ...

    def own_module(self, value: Any) -> OwnModule | None:
        """A module of the framework's as the core sees it, in inference mode from now on; None for any other value."""
        ...

    def trace(self, module: Any, size: tuple[int, int]) -> Traced:
        """The network of a module of the framework's, for pictures of (height, width) pixels.

        Weights have the names of `OwnModule`. Raises BackendError for what no node of a graph can say.
        """
        ...

    def library_module(self, name: str, pretrained: bool) -> LibraryModule:
        """A network of the framework's own library of them, with its published weights or fresh ones.

        Raises AbsentError where the library is not installed, ConfigError for a name that it does not have, and
        WeightsError for weights that cannot be had.
        """
        ...

    def diagnose(self) -> tuple[Diagnosis, ...]:
        """What slows or breaks the framework here, for `xfer doctor`."""
        ...

    def tune_process(self, device: str) -> None:
        """Settings of the whole process that make the framework faster. Called in processes of xfer's own alone:

        a command, and those that it starts. A program that imports xfer is left as it is.
        """
        ...


_ABSENT: Mapping[str, Any] = {
    "shares_features": True,
    "numerics": "",
    "networks": {},
    "update_rules": ("sgd", "adam", "adamw"),
    "exports": {},
    "precisions": lambda device: ("float32",),
    "blend": None,
    "native_batches": None,
    "native_model": None,
    "own_module": None,
    "trace": None,
    "library_module": None,
    "diagnose": tuple,
    "tune_process": lambda device: None,
}


def capability(backend: Backend, name: str) -> Any:
    """A member of `Capabilities`, or what stands for it where the backend has none: of a native one, None."""
    return getattr(backend, name, _ABSENT[name])
