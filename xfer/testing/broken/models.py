"""Broken models, weights and predictions."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from xfer.arrays import Float32, Weights
from xfer.backend import Backend, Model, NetworkSpec, PredictStep
from xfer.testing.broken.mechanics import Array, Maker, predictions, replacing


def building(change: Callable[[NetworkSpec], NetworkSpec]) -> Maker:
    return replacing(build=lambda inner, spec, device: inner.build(change(spec), device))


def one_model_for_all(inner: Backend) -> Backend:
    made: dict[str, Model] = {}
    return replacing(build=lambda _, spec, device: made.setdefault(spec.graph.digest(), inner.build(spec, device)))(
        inner
    )


def exports_share_memory(inner: Backend) -> Backend:
    shared: Weights = {}

    def export_weights(_: Backend, model: Model) -> Weights:
        for name, array in inner.export_weights(model).items():
            shared.setdefault(name, array)[...] = array
        return dict(shared)

    return replacing(export_weights=export_weights)(inner)


def imports_share_memory(inner: Backend) -> Backend:
    given: list[Mapping[str, Float32]] = []

    def import_weights(_: Backend, model: Model, weights: Mapping[str, Float32]) -> None:
        given.append(weights)
        inner.import_weights(model, weights)

    def export_weights(_: Backend, model: Model) -> Weights:
        for weights in given[-1:]:
            inner.import_weights(model, weights)
        return inner.export_weights(model)

    return replacing(import_weights=import_weights, export_weights=export_weights)(inner)


def half_precision(inner: Backend, model: Model, weights: Mapping[str, Float32]) -> None:
    inner.import_weights(model, {n: w.astype(np.float16).astype(np.float32) for n, w in weights.items()})


def double_precision(inner: Backend, model: Model) -> dict[str, Any]:
    return {name: w.astype(np.float64) for name, w in inner.export_weights(model).items()}


def swapped_colours(inner: Backend) -> Backend:
    def swapped(predict: PredictStep, inputs: Array, start: str, stop: str) -> Array:
        return predict(np.ascontiguousarray(inputs[..., ::-1]) if inputs.dtype == np.uint8 else inputs)

    build = building(lambda spec: replace(spec, mean=spec.mean[::-1], std=spec.std[::-1]))
    return build(predictions(swapped)(inner))


def answers(when: Callable[[str, str], bool], change: Callable[[Array], Array]) -> Maker:
    """Change the answers of the predict steps between some boundaries."""
    return predictions(lambda predict, inputs, *cut: change(predict(inputs)) if when(*cut) else predict(inputs))


def answers_share_memory(inner: Backend) -> Backend:
    shared: dict[tuple[int, ...], Array] = {}

    def overwritten(predict: PredictStep, inputs: Array, start: str, stop: str) -> Array:
        out = predict(inputs)
        kept = shared.setdefault(out.shape, out)
        kept[...] = out
        return kept

    return predictions(overwritten)(inner)


def remembers_old_weights(inner: Backend) -> Backend:
    """A predict step computes with a copy of the model as it was when the step was made."""
    made: list[tuple[Model, NetworkSpec, str]] = []

    def build(_: Backend, spec: NetworkSpec, device: str) -> Model:
        made.append((inner.build(spec, device), spec, device))
        return made[-1][0]

    def make_predict_step(_: Backend, model: Model, start: str, stop: str) -> PredictStep:
        spec, device = next((spec, device) for known, spec, device in made if known is model)
        copy = inner.build(spec, device)
        inner.import_weights(copy, inner.export_weights(model))
        return inner.make_predict_step(copy, start, stop)

    return replacing(build=build, make_predict_step=make_predict_step)(inner)


def learns_while_predicting(inner: Backend) -> Backend:
    def make_predict_step(_: Backend, model: Model, start: str, stop: str) -> PredictStep:
        healthy = inner.make_predict_step(model, start, stop)

        def predict(inputs: Array) -> Float32:
            weights = inner.export_weights(model)
            inner.import_weights(model, {n: w * np.float32(1.0001) for n, w in weights.items()})
            return healthy(inputs)

        return predict

    return replacing(make_predict_step=make_predict_step)(inner)


def laid_out_otherwise(out: Array) -> Array:
    """Channels last; of vectors, in another order in memory."""
    return np.ascontiguousarray(np.moveaxis(out, 1, -1)) if out.ndim == 4 else np.asfortranarray(out)
