"""Laws of the loss, the update rules and their state, on the head alone: there the reference knows every gradient."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from xfer.arrays import Weights
from xfer.backend import Backend, OptimizerSpec
from xfer.capabilities import capability
from xfer.losses import LossSpec
from xfer.testing.case import Case, CaseStep
from xfer.testing.kit import (
    CLASSES,
    CLOSE,
    SGD,
    Bench,
    Law,
    assert_all_close,
    assert_close,
    assert_same,
    make_groups,
    prepare,
)
from xfer.testing.reference import LinearHead

MOMENTUM = OptimizerSpec("sgd", momentum=0.9)
NESTEROV = OptimizerSpec("sgd", momentum=0.9, nesterov=True)
# An eps this large shows whether it stands outside the root, and after the bias correction.
ADAM = OptimizerSpec("adam", betas=(0.8, 0.95), eps=1e-3)
ADAMW = replace(ADAM, kind="adamw")
RMSPROP = OptimizerSpec("rmsprop", alpha=0.9, eps=1e-3)
RMSPROP_MOMENTUM = replace(RMSPROP, momentum=0.9)
LION = OptimizerSpec("lion", betas=(0.8, 0.95))
LAMB = replace(ADAM, kind="lamb")
RULES = (SGD, MOMENTUM, NESTEROV, ADAM, ADAMW, RMSPROP, RMSPROP_MOMENTUM, LION, LAMB)


def _had(backend: Backend, *rules: OptimizerSpec) -> list[OptimizerSpec]:
    known = capability(backend, "update_rules")
    return [rule for rule in rules if rule.kind in known]


def _rates(optimizer: OptimizerSpec, step: int) -> tuple[float, float]:
    """Of the head's weight and of its bias: apart from each other, and other ones at every step."""
    base = 0.1 if optimizer.kind == "sgd" else 0.01
    return base * (1 + step), base * (4 - step) / 8


def _assert_follows(
    bench: Bench, optimizer: OptimizerSpec, loss: LossSpec, batches: Sequence[Case], decay: float = 0.0
) -> None:
    """Losses and logits of each step are the reference's, and so are the weights and the state at the end."""
    bench.reset()
    groups = bench.head_groups(decay)
    step = bench.step(groups, optimizer, loss, "head")
    reference = LinearHead(bench.arch.head_names, bench.weights, optimizer, loss, groups)
    for i, batch in enumerate(batches):
        rates = _rates(optimizer, i)
        value, logits = step(batch, rates)()
        wanted_loss, wanted_logits = reference.step(batch, rates)
        what = f"{optimizer.kind}, step {i + 1}"
        assert_close(logits, wanted_logits, CLOSE, f"{what}, logits")
        assert_close(value, wanted_loss, CLOSE, f"{what}, loss")
    assert_all_close(bench.export(), reference.weights, CLOSE, f"{optimizer.kind}, after {len(batches)} steps")
    _assert_state_is(step, reference, optimizer)


def _assert_state_is(step: CaseStep, reference: LinearHead, optimizer: OptimizerSpec) -> None:
    state, wanted = step.export_state(), reference.state()
    assert set(state) == set(wanted), f"state of {optimizer.kind} has {sorted(state)}, expected {sorted(wanted)}"
    for key, value in state.items():
        dtype = np.int64 if key == "step" else np.float32
        assert value.dtype == dtype, f"state {key} is {value.dtype}, expected {np.dtype(dtype).name}"
        assert_close(value, wanted[key], CLOSE, f"state {key} after {reference.steps} steps")


def _assert_rule(backend: Backend, device: str, arch_name: str, optimizer: OptimizerSpec) -> None:
    bench = prepare(backend, device, arch_name)
    for rule in _had(backend, optimizer):
        _assert_follows(bench, rule, LossSpec(), [bench.features(seed=i) for i in range(4)], decay=0.1)


def sgd_follows_its_formula(backend: Backend, device: str, arch_name: str) -> None:
    _assert_rule(backend, device, arch_name, SGD)


def momentum_follows_its_formula(backend: Backend, device: str, arch_name: str) -> None:
    _assert_rule(backend, device, arch_name, MOMENTUM)


def nesterov_follows_its_formula(backend: Backend, device: str, arch_name: str) -> None:
    _assert_rule(backend, device, arch_name, NESTEROV)


def adam_follows_its_formula(backend: Backend, device: str, arch_name: str) -> None:
    _assert_rule(backend, device, arch_name, ADAM)


def adamw_follows_its_formula(backend: Backend, device: str, arch_name: str) -> None:
    _assert_rule(backend, device, arch_name, ADAMW)


def rmsprop_follows_its_formula(backend: Backend, device: str, arch_name: str) -> None:
    for optimizer in (RMSPROP, RMSPROP_MOMENTUM):
        _assert_rule(backend, device, arch_name, optimizer)


def lion_follows_its_formula(backend: Backend, device: str, arch_name: str) -> None:
    _assert_rule(backend, device, arch_name, LION)


def lamb_follows_its_formula(backend: Backend, device: str, arch_name: str) -> None:
    _assert_rule(backend, device, arch_name, LAMB)


def clipping_bounds_the_global_norm(backend: Backend, device: str, arch_name: str) -> None:
    """A bound that bites, over weight and bias together; and one that does not."""
    bench = prepare(backend, device, arch_name)
    batches = [bench.features(seed=i) for i in range(2)]
    for bound in (0.05, 1e3):
        _assert_follows(bench, replace(MOMENTUM, clip_norm=bound), LossSpec(), batches, decay=0.1)


def _assert_loss(backend: Backend, device: str, arch_name: str, loss: LossSpec) -> None:
    bench = prepare(backend, device, arch_name)
    _assert_follows(bench, SGD, loss, [bench.features(seed=i) for i in range(2)])


def label_smoothing_follows_its_formula(backend: Backend, device: str, arch_name: str) -> None:
    _assert_loss(backend, device, arch_name, LossSpec(label_smoothing=0.2))


def class_weights_follow_their_formula(backend: Backend, device: str, arch_name: str) -> None:
    _assert_loss(backend, device, arch_name, LossSpec(class_weights=(0.5, 2.0, 1.25)))


def smoothing_and_class_weights_go_together(backend: Backend, device: str, arch_name: str) -> None:
    _assert_loss(backend, device, arch_name, LossSpec(0.2, (0.5, 2.0, 1.25)))


def keep_multiplies_the_inputs_of_the_head(backend: Backend, device: str, arch_name: str) -> None:
    """At the head, and of a batch of images, whose inputs of the head are what predicting gives there."""
    bench = prepare(backend, device, arch_name)
    _assert_follows(bench, SGD, LossSpec(), [bench.features(seed=i, keep=0.6) for i in range(2)])
    bench.reset()
    images = replace(bench.batch(), keep=bench.features(4, keep=0.6).keep)
    features = replace(images, inputs=bench.predict(images.inputs, stop="head"))
    groups = bench.head_groups()
    reference = LinearHead(bench.arch.head_names, bench.weights, SGD, LossSpec(), groups)
    _, logits = bench.step(groups)(images, (0.1, 0.1))()
    assert_close(logits, reference.step(features, (0.1, 0.1))[1], CLOSE, "logits of images with a keep mask")
    assert_all_close(bench.export(), reference.weights, CLOSE, "a step on images with a keep mask")


def batches_may_have_any_size(backend: Backend, device: str, arch_name: str) -> None:
    """A short last batch, and one of a single image, whose label is the first class or the last."""
    bench = prepare(backend, device, arch_name)
    sizes = (8, 3, 1)
    _assert_follows(bench, MOMENTUM, LossSpec(), [bench.features(n) for n in sizes])
    last = Case(bench.features(1).inputs, np.array([CLASSES - 1]))
    _assert_follows(bench, SGD, LossSpec(), [last])
    bench.reset()
    step = bench.step(bench.groups(*bench.arch.stage_names))
    for n in sizes:
        loss, logits = step(bench.batch(n), (0.01,))()
        assert logits.shape == (n, CLASSES), f"a step on {n} images gave logits of shape {logits.shape}"
        assert np.isfinite(loss), f"a step on {n} images gave the loss {loss}"


def a_rate_of_zero_moves_nothing(backend: Backend, device: str, arch_name: str) -> None:
    bench = prepare(backend, device, arch_name)
    for optimizer in _had(backend, *RULES):
        step = bench.step(bench.head_groups(0.1), optimizer, start="head")
        step(bench.features(), (0.0, 0.0))()
        step(bench.features(), (0.0, 0.0))()
        assert_same(bench.export(), bench.weights, f"weights after two steps of {optimizer.kind} at a rate of 0")


def losses_can_be_read_later(backend: Backend, device: str, arch_name: str) -> None:
    bench = prepare(backend, device, arch_name)
    batches = [bench.features(seed=i) for i in range(3)]
    groups = bench.head_groups()
    reference = LinearHead(bench.arch.head_names, bench.weights, SGD, LossSpec(), groups)
    step = bench.step(groups, start="head")
    lazies = [step(batch, (0.1, 0.1)) for batch in batches]
    wanted = [reference.step(batch, (0.1, 0.1)) for batch in batches]
    for i in (2, 0, 1, 0):
        loss, logits = lazies[i]()
        assert isinstance(loss, float), f"the loss is a {type(loss).__name__}, expected float"
        assert logits.dtype == np.float32, f"logits are {logits.dtype}, expected float32"
        assert_close(loss, wanted[i][0], CLOSE, f"loss of step {i + 1}, read after step 3")
        assert_close(logits, wanted[i][1], CLOSE, f"logits of step {i + 1}, read after step 3")


def _train(bench: Bench, step: CaseStep, batches: Sequence[Case]) -> Weights:
    for batch in batches:
        step(batch, (0.05, 0.02))()
    return bench.export()


def _interrupted(bench: Bench, fresh: Bench, optimizer: OptimizerSpec, batches: Sequence[Case], taken: int) -> Weights:
    """Weights after all batches, the first `taken` of them in one model and the others in another."""
    groups = bench.head_groups(0.1)
    bench.reset()
    first = bench.step(groups, optimizer, start="head")
    weights = _train(bench, first, batches[:taken])
    fresh.backend.import_weights(fresh.model, weights)
    second = fresh.step(groups, optimizer, start="head")
    second.import_state(first.export_state())
    return _train(fresh, second, batches[taken:])


def training_continues_from_its_state(backend: Backend, device: str, arch_name: str) -> None:
    """Stopped before any step or after two, and continued in another model: the same bits."""
    bench, fresh = (prepare(backend, device, arch_name, seed) for seed in (0, 1))
    batches = [bench.features(seed=i) for i in range(4)]
    for optimizer in _had(backend, NESTEROV, ADAMW, RMSPROP_MOMENTUM, LION, LAMB):
        bench.reset()
        wanted = _train(bench, bench.step(bench.head_groups(0.1), optimizer, start="head"), batches)
        for taken in (0, 2):
            actual = _interrupted(bench, fresh, optimizer, batches, taken)
            what = f"{optimizer.kind}, stopped after {taken} steps of 4 and continued elsewhere"
            assert_same(actual, wanted, what)


def state_is_exchanged_by_copy(backend: Backend, device: str, arch_name: str) -> None:
    bench = prepare(backend, device, arch_name)
    for optimizer in (MOMENTUM, ADAM):
        step = bench.step(bench.head_groups(), optimizer, start="head")
        fresh = step.export_state()
        assert set(fresh) == {"step"}, f"before the first step the state has {sorted(fresh)}, expected only 'step'"
        assert fresh["step"].shape == (), f"state 'step' has shape {fresh['step'].shape}, expected a scalar"
        assert fresh["step"] == 0, f"before the first step 'step' is {fresh['step']}"
        _train(bench, step, [bench.features()])
        state = step.export_state()
        held = {key: value.copy() for key, value in state.items()}
        _train(bench, step, [bench.features()])
        step.export_state()
        assert_same(state, held, f"an exported state of {optimizer.kind}, after training went on")
        step.import_state(state)
        for value in state.values():
            value += 1
        assert_same(step.export_state(), held, "a state, after the arrays it was imported from were changed")


def state_of_another_backend_serves(backend: Backend, device: str, arch_name: str) -> None:
    """A state computed by the reference, as another framework would have written it."""
    bench = prepare(backend, device, arch_name)
    groups = bench.head_groups(0.1)
    batches = [bench.features(seed=i) for i in range(3)]
    for optimizer in _had(backend, MOMENTUM, NESTEROV, ADAM, ADAMW, RMSPROP, RMSPROP_MOMENTUM, LION, LAMB):
        reference = LinearHead(bench.arch.head_names, bench.weights, optimizer, LossSpec(), groups)
        reference.step(batches[0], (0.05, 0.02))
        bench.reset({name: w.astype(np.float32) for name, w in reference.weights.items()})
        step = bench.step(groups, optimizer, start="head")
        step.import_state({k: v.astype(np.int64 if k == "step" else np.float32) for k, v in reference.state().items()})
        for batch in batches[1:]:
            reference.step(batch, (0.05, 0.02))
        what = f"{optimizer.kind}, continued from another's state"
        assert_all_close(_train(bench, step, batches[1:]), reference.weights, CLOSE, what)


def only_trainable_weights_have_state(backend: Backend, device: str, arch_name: str) -> None:
    """Of the head's two, the frozen one has none."""
    bench = prepare(backend, device, arch_name)
    weight, bias = bench.arch.head_names
    for members in ((weight,), (bias,)):
        step = bench.step(make_groups(bench.weights, [(members, 0.0)]), ADAM, start="head")
        step(bench.features(), (0.1,))()
        wanted = {"step", f"m:{members[0]}", f"v:{members[0]}"}
        assert set(step.export_state()) == wanted, f"state has {sorted(step.export_state())}, expected {sorted(wanted)}"


LAWS: tuple[Law, ...] = (
    sgd_follows_its_formula,
    momentum_follows_its_formula,
    nesterov_follows_its_formula,
    adam_follows_its_formula,
    adamw_follows_its_formula,
    rmsprop_follows_its_formula,
    lion_follows_its_formula,
    lamb_follows_its_formula,
    clipping_bounds_the_global_norm,
    label_smoothing_follows_its_formula,
    class_weights_follow_their_formula,
    smoothing_and_class_weights_go_together,
    keep_multiplies_the_inputs_of_the_head,
    batches_may_have_any_size,
    a_rate_of_zero_moves_nothing,
    losses_can_be_read_later,
    training_continues_from_its_state,
    state_is_exchanged_by_copy,
    state_of_another_backend_serves,
    only_trainable_weights_have_state,
)
