"""Laws of what averages are made by: weights that are moved towards those of another model."""

from __future__ import annotations

from xfer.backend import Backend
from xfer.testing.kit import CLOSE, Law, assert_all_close, assert_close, assert_same, prepare

FLOAT32 = 1e-6  # of the largest value: one sum and two products


def blending_moves_weights_by_their_share(backend: Backend, device: str, arch_name: str) -> None:
    """The named ones alone, on both sides of a half; by none at all, and all the way to the bit."""
    target, source = (prepare(backend, device, arch_name, seed) for seed in (0, 1))
    stages = target.arch.stage_names
    for names in (list(target.weights), [name for name in target.weights if target.arch.stage_of(name) == stages[-1]]):
        for share in (0.0, 0.1, 0.5, 0.9, 1.0):
            target.reset()
            target.blend(source, names, share)
            what, actual = f"weights that were moved by {share:g}", target.export()
            mine, theirs = ({name: bench.weights[name].astype(float) for name in names} for bench in (target, source))
            assert_all_close(actual, {n: mine[n] + share * (theirs[n] - mine[n]) for n in names}, FLOAT32, what)
            others = target.weights if share == 0 else source.weights if share == 1 else actual
            wanted = target.weights | {name: others[name] for name in names}
            assert_same(actual, wanted, f"{what}, and those that were not named")
    assert_same(source.export(), source.weights, "weights of the model that others were moved towards")


def predicting_sees_blended_weights(backend: Backend, device: str, arch_name: str) -> None:
    """By a step that was made, and has predicted, before."""
    target, source = (prepare(backend, device, arch_name, seed) for seed in (0, 1))
    images, early = target.batch().inputs, target.predict_step()
    early(images)
    target.blend(source, list(target.weights), 1.0)
    assert_close(early(images), source.predict(images), CLOSE, "a predict step made before weights were moved")


LAWS: tuple[Law, ...] = (blending_moves_weights_by_their_share, predicting_sees_blended_weights)
