"""Kinds of nodes on MindSpore, against their formulas: what is written in ways of its own, and other numbers of axes.

The rest is in the laws of graphs.
"""

from __future__ import annotations

import numpy as np
import pytest

backend_module = pytest.importorskip("xfer_mindspore")  # before MindSpore: it sets what that reads at its import

import mindspore as ms  # noqa: E402
from mindspore import Tensor, ops  # noqa: E402

from xfer.archs import is_statistic  # noqa: E402
from xfer.backend import NetworkSpec  # noqa: E402
from xfer.graphs.graph import Graph, Node  # noqa: E402
from xfer.graphs.kinds import KINDS  # noqa: E402
from xfer.testing.kinds import REFERENCE  # noqa: E402
from xfer_mindspore import network  # noqa: E402
from xfer_mindspore.kinds import function_of  # noqa: E402
from xfer_mindspore.layers import ONE_VALUE  # noqa: E402

MAPS = (2, 4, 7, 6)
CLOSE = 1e-5
NORM = dict.fromkeys(("weight", "bias", "running_mean", "running_var"), (4,))
STATISTICS = {"eps": 0.01, "momentum": 0.3}
LINEAR = {"qkv_weight": (18, 6), "qkv_bias": (18,), "proj_weight": (6, 6), "proj_bias": (6,)}
MLP = {"logit_scale": (1, 1, 1), "mlp_in_weight": (3, 2), "mlp_in_bias": (3,), "mlp_out_weight": (1, 3)}
WINDOWS = {"heads": 2, "window": [2, 3], "shift": [1, 1]}
CASES = [
    ("window_attention", {**WINDOWS, "scale": 0.7}, ((1, 3, 5, 6),), LINEAR | {"table": (15, 2)}),
    ("window_attention", {**WINDOWS, "scale": 0.7}, ((1, 2, 2, 3, 6),), LINEAR | {"table": (15, 2)}),
    # Of one head and few tokens: positive weights make vectors so alike that slopes would be lost to rounding.
    ("cosine_window_attention", {"heads": 1, "window": [2, 2], "shift": [1, 1]}, ((1, 3, 4, 6),), LINEAR | MLP),
    ("patch_merge", {}, ((2, 3, 5, 4),), {}),
    ("batch_norm", STATISTICS, ((5, 4),), NORM),
    ("batch_norm", STATISTICS, ((2, 4, 3),), NORM),
    ("batch_norm", STATISTICS, (MAPS,), NORM),
    ("linear", {}, ((2, 3, 4),), {"weight": (3, 4)}),
    ("tanh", {}, ((2, 3, 5),), {}),
    ("gelu", {}, ((2, 3, 5),), {}),
    ("cat", {"axis": 1}, ((2, 3),), {}),
    ("mul", {}, (MAPS, (2, 4, 1, 1)), {}),
    ("mul", {}, ((2, 4, 1, 1), MAPS), {}),
    ("mul", {}, (MAPS, (4, 1, 1)), {}),
    ("mul", {}, (MAPS, (2, 1, 1, 1)), {}),
    ("mul", {}, ((2, 4, 1, 1), (2, 4, 1, 1)), {}),
    ("mean", {"axes": [2, 3], "keep": True}, (MAPS,), {}),
    ("mean", {"axes": [2, 3], "keep": False}, (MAPS,), {}),
    ("mean", {"axes": [1, 2], "keep": False}, (MAPS,), {}),
]


@pytest.fixture(autouse=True, scope="module")
def bound():
    """A build has to come before any computation: later, MindSpore's threads can't be kept from spinning any more."""
    spec = NetworkSpec(Graph((Node("image", "image"),), {}, "image"), (0.0,) * 3, (1.0,) * 3)
    backend_module.MindSporeBackend().build(spec, "cpu")


def made(kind, attributes, shapes, follows=False):
    """The function of one node, and its parameters by slot."""
    names = {slot: f"n.{slot}" for slot in shapes}
    parameters = {names[slot]: network.parameter(names[slot], shape, True) for slot, shape in shapes.items()}
    function = function_of(
        Node("n", kind, (), attributes, names), parameters, frozenset({"n.running_mean"} if follows else ())
    )
    return function, {slot: parameters[names[slot]] for slot in shapes}


def drawn(inputs, shapes):
    rng = np.random.default_rng(0)
    arrays = [rng.normal(0, 1, shape).astype(np.float32) for shape in inputs]
    draws = {slot: rng.uniform(0.5, 1.5, shape) / shape[-1] ** (len(shape) > 1) for slot, shape in shapes.items()}
    weights = {slot: draw.astype(np.float32) for slot, draw in draws.items()}
    return arrays, weights


def relative(actual, wanted):
    assert actual.shape == wanted.shape
    return np.abs(actual - wanted).max() / max(np.abs(wanted).max(), 1e-12)


def slopes(function, array):
    """The gradient of a number, by central differences."""
    found, step = np.zeros(array.shape), 1e-6
    for place in np.ndindex(array.shape):
        ends = []
        for sign in (1, -1):
            moved = array.copy()
            moved[place] += sign * step
            ends.append(function(moved))
        found[place] = (ends[0] - ends[1]) / (2 * step)
    return found


def assert_is_the_formula(kind, attributes, inputs, shapes, follows=False, **more):
    """Its value, and its gradients with respect to every input and every trained weight."""
    function, parameters = made(kind, attributes, shapes, follows)
    arrays, weights = drawn(inputs, shapes)
    for slot, parameter in parameters.items():
        ops.assign(parameter, Tensor(weights[slot]))

    def formula(arrays, weights):
        return REFERENCE[kind](*arrays, **weights, **attributes, **more)

    exact = [array.astype(np.float64) for array in arrays], {s: w.astype(np.float64) for s, w in weights.items()}
    wanted = formula(*exact)
    assert relative(function(*map(Tensor, arrays)).asnumpy(), wanted) < CLOSE
    factors = np.random.default_rng(1).normal(0, 1, wanted.shape).astype(np.float32)
    trained = {slot: parameter for slot, parameter in parameters.items() if not is_statistic(parameter.name)}

    def total(*given):
        return (function(*given) * Tensor(factors)).sum()

    places, tuple_of_weights = tuple(range(len(arrays))), ms.ParameterTuple([*trained.values()])
    of_inputs, of_weights = ms.grad(total, places, tuple_of_weights)(*map(Tensor, arrays))
    of_inputs = of_inputs if isinstance(of_inputs, tuple) else (of_inputs,)  # of a single one, MindSpore gives it bare
    for i, gradient in enumerate(of_inputs):
        slope = slopes(
            lambda x, i=i: (formula([*exact[0][:i], x, *exact[0][i + 1 :]], exact[1]) * factors).sum(), exact[0][i]
        )
        assert relative(gradient.asnumpy(), slope) < CLOSE, f"gradient of input {i}"
    for slot, gradient in zip(trained, of_weights, strict=True):
        slope = slopes(lambda x, slot=slot: (formula(exact[0], exact[1] | {slot: x}) * factors).sum(), exact[1][slot])
        assert relative(gradient.asnumpy(), slope) < CLOSE, f"gradient of {slot}"


@pytest.mark.parametrize(("kind", "attributes", "inputs", "shapes"), CASES, ids=lambda v: v if type(v) is str else None)
def test_a_kind_is_its_formula(kind, attributes, inputs, shapes):
    assert_is_the_formula(kind, attributes, inputs, shapes)


def test_all_kinds_are_known():
    assert backend_module.MindSporeBackend.kinds == KINDS.keys()


@pytest.mark.parametrize("shape", [MAPS, (5, 4), (2, 4, 3)])
def test_a_batch_norm_follows_the_batch_where_it_is_told_to(shape):
    assert_is_the_formula("batch_norm", STATISTICS, (shape,), NORM, follows=True, batch_statistics=True)
    function, parameters = made("batch_norm", STATISTICS, NORM, follows=True)
    (x,), weights = drawn([shape], NORM)
    for slot, parameter in parameters.items():
        ops.assign(parameter, Tensor(weights[slot]))
    function(Tensor(x))
    axes = tuple(axis for axis in range(x.ndim) if axis != 1)
    for slot, seen in (("running_mean", x.mean(axes)), ("running_var", x.var(axes, ddof=1))):
        assert relative(parameters[slot].asnumpy(), 0.7 * weights[slot] + 0.3 * seen) < CLOSE
    with pytest.raises(ValueError, match=ONE_VALUE):
        function(Tensor(np.ones((1, 4, *(1,) * (len(shape) - 2)), np.float32)))
