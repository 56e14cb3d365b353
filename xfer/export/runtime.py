"""An ONNX model that `xfer export` wrote, as onnxruntime runs it on the CPU."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xfer.archs import LOGITS
from xfer.arrays import Float32
from xfer.backend import PredictStep
from xfer.errors import CheckpointError
from xfer.export.described import Description, described
from xfer.export.network import IMAGES
from xfer.export.packages import package
from xfer.graphs.channels import mean_of
from xfer.pixels.channels import channels_of
from xfer.results.predict import Predictor
from xfer.system.doors import open_regular
from xfer.system.memory import refuse_memory

SUFFIX = ".onnx"
_COPIES = 2  # of the weights, while they are read
_SEVERE = 3  # of onnxruntime's levels: it warns of processors it cannot bind threads to, and of much else


@dataclass(frozen=True)
class OnnxFile:
    """`step` takes pictures (N, H, W, 3) uint8 that the transforms made, also where they enter the model normalised.

    Of a model that does what the transforms do, it takes whole ones of any one size.
    """

    path: Path
    about: Description
    step: PredictStep

    @property
    def predictor(self) -> Predictor:
        about = self.about
        whole, cuts = about.enters == "pictures", about.thresholds
        return Predictor(self.step, about.classes, about.transforms, str(self.path), whole, thresholds=cuts)


def open_onnx(path: Path) -> OnnxFile:
    """Raises OSError for what is no regular file, CheckpointError for a model of others or a damaged one, AbsentError
    without onnxruntime, and ConfigError for a model that there is no memory for.
    """
    with open_regular(path) as file:
        size = file.seek(0, 2)
    refuse_memory(str(path), _COPIES * size, "more memory")
    session = _session(path)
    about = described(session.get_modelmeta().custom_metadata_map, str(path))
    _refuse_others(session, about, path)

    def step(inputs: NDArray[Any]) -> Float32:
        (logits,) = session.run([LOGITS], {IMAGES: entering(inputs, about)})
        if logits.shape != (len(inputs), len(about.classes)):
            raise CheckpointError(f"{path}: gives {logits.shape} of {len(inputs)} pictures")
        return np.asarray(logits, np.float32)

    return OnnxFile(path, about, step)


def entering(inputs: NDArray[Any], about: Description) -> NDArray[Any]:
    """What the model takes of pictures (N, H, W, 3) uint8."""
    return normalised(inputs, about.mean, about.std) if about.enters == "normalised" else inputs


def normalised(
    inputs: NDArray[Any], mean: tuple[float, float, float], std: tuple[float, float, float]
) -> NDArray[np.float32]:
    """Pictures (N, H, W, C) uint8 -> (N, C, H, W), as (x / 255 - mean) / std, of the colours."""
    means, deviations = (mean_of(values, inputs.shape[-1]) for values in (mean, std))
    values = (inputs.astype(np.float32) - np.float32(255) * np.array(means, np.float32)) / (
        np.float32(255) * np.array(deviations, np.float32)
    )
    return np.ascontiguousarray(values.transpose(0, 3, 1, 2))


def _session(path: Path) -> Any:
    runtime = package("onnxruntime")
    options = runtime.SessionOptions()
    options.log_severity_level = _SEVERE
    try:
        return runtime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # its errors share no class
        first = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise CheckpointError(f"{path}: is no model that onnxruntime can run ({first})") from error


def _refuse_others(session: Any, about: Description, path: Path) -> None:
    """Raises CheckpointError where the model does not take and give what its metadata say."""
    (height, width), channels = about.size, channels_of(about.transforms)
    wanted = {
        "normalised": ("tensor(float)", [channels, height, width]),
        "pixels": ("tensor(uint8)", [height, width, channels]),
        "pictures": ("tensor(uint8)", ["height", "width", 3]),
    }[about.enters]
    taken = [(value.name, value.type, value.shape[1:]) for value in session.get_inputs()]
    if taken != [(IMAGES, *wanted)] or LOGITS not in [value.name for value in session.get_outputs()]:
        raise CheckpointError(f"{path}: does not take {IMAGES} of {wanted[1]} and give {LOGITS}, as its metadata say")
