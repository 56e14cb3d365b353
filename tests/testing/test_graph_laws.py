"""What the laws of graphs are made of, and that they bite: on a backend that is the formulas themselves."""

import json
import re
from dataclasses import replace

import numpy as np
import pytest

from xfer.graphs.kinds import KINDS
from xfer.graphs.parts import part_of
from xfer.graphs.read import graph_from_json
from xfer.graphs.shapes import shapes_of
from xfer.testing.broken.graphs import (
    attributes,
    drops_other_channels,
    gelu_by_tanh,
    in_place_of,
    masks_of_the_head_alone,
    nodes,
    rewritten,
)
from xfer.testing.broken.mechanics import calls
from xfer.testing.kinds import REFERENCE, evaluate
from xfer.testing.laws.branches import BRANCHES, SIZE, tree_of
from xfer.testing.laws.graphs import (
    LAWS,
    a_head_may_take_maps,
    gradients_of_kinds_are_right,
    kinds_mean_what_they_say,
    masks_multiply_what_enters_their_nodes,
)
from xfer.testing.numpy_backend import NumpyBackend, NumpyModel


class Step:
    """Gives the logits, and changes nothing."""

    def __init__(self, model):
        self.model = model

    def __call__(self, parts, lrs):
        (batch,) = parts
        values = run(self.model, batch.inputs, batch.masks)
        return lambda: (0.0, values[self.model.spec.graph.nodes[-1].name].astype(np.float32))


class Formulas(NumpyBackend):
    """Builds graphs, and trains none."""

    kinds = frozenset(KINDS)

    def build(self, spec, device):
        return NumpyModel(spec, {name: np.zeros(shape, np.float32) for name, shape in spec.graph.weights.items()})

    def make_predict_step(self, model, start, stop):
        graph = model.spec.graph
        name = part_of(graph, start, stop).result
        return lambda images: run(model, images)[name].astype(np.float32)

    def make_train_step(self, model, optimizer, loss, groups, start, cut):
        return Step(model)


def run(model, images, masks=None):
    pictures = ((images / 255 - model.spec.mean) / model.spec.std).transpose(0, 3, 1, 2)
    return evaluate(model.spec.graph, model.weights, pictures, masks=masks)


def changing(kind, name, change):
    """Put another attribute in nodes of a kind that stand last in their branch."""

    def changed(node):
        if node.kind != kind or not node.name.endswith(".y"):
            return node
        return replace(node, attributes={**node.attributes, name: change(node.attributes)})

    return nodes(changed)


def zeros_turned(of):
    if of["padding"] == "same":
        return "same"
    top, bottom, left, right = of["padding"]
    return [bottom, top, right, left]


def odd_zero_before(of):
    """For a kernel of 3 x 2."""
    return [1, 1, 1, 0] if of["padding"] == "same" and of["stride"] == [1, 1] else of["padding"]


def both_sides(of):
    """For a kernel of 3 x 3, of which SAME pads the even side behind alone."""
    return [1, 1] if of["padding"] == "same" and of["kernel"] == [3, 3] else of["padding"]


def columns_first(node):
    if node.kind != "patch_merge":
        return (node,)
    turned = {"axes": [0, 2, 1, 3]}
    return (
        replace(node, name=f"{node.name}.turned", kind="permute", attributes=turned),
        replace(node, name=f"{node.name}.merged", inputs=(f"{node.name}.turned",)),
        replace(node, kind="permute", inputs=(f"{node.name}.merged",), attributes=turned),
    )


BROKEN = {
    "conv: zeros before for zeros behind": changing("conv", "padding", zeros_turned),
    "conv: the odd zero of SAME before": changing("conv", "padding", odd_zero_before),
    "max_pool: SAME on both sides": changing("max_pool", "padding", both_sides),
    "avg_pool: padding counts": attributes("avg_pool", count_pad=True),
    "avg_pool: padding does not count": attributes("avg_pool", count_pad=False),
    "batch_norm: eps": attributes("batch_norm", eps=1e-3),
    "layer_norm: eps": attributes("layer_norm", eps=1e-3),
    "attention: one head": attributes("attention", heads=1),
    "window_attention: no shift": attributes("window_attention", shift=[0, 0]),
    "window_attention: the other way": changing("window_attention", "shift", lambda of: of["shift"][::-1]),
    "window_attention: another scale": attributes("window_attention", scale=0.5),
    "window_attention: one head's width": attributes("window_attention", scale=6**-0.5),
    "cosine_window_attention: no shift": attributes("cosine_window_attention", shift=[0, 0]),
    "patch_merge: columns first": rewritten(columns_first),
    "softmax: over channels": attributes("softmax", axis=1),
    "slice: from the start": attributes("slice", start=0, stop=2),
    "add: nothing": attributes("add", value=0.0),
    "permute: other axes": changing("permute", "axes", lambda of: [0, 3, 2, 1]),
    "gelu: by tanh": rewritten(gelu_by_tanh),
    "relu6: relu": in_place_of("relu6", "relu"),
    "hardswish: silu": in_place_of("hardswish", "silu"),
    "hardsigmoid: sigmoid": in_place_of("hardsigmoid", "sigmoid"),
    "dropout: relu": in_place_of("dropout", "relu"),
    "stochastic_depth: relu": in_place_of("stochastic_depth", "relu"),
}


def test_the_formulas_keep_the_laws():
    kinds_mean_what_they_say(Formulas(), "cpu", "tiny")
    a_head_may_take_maps(Formulas(), "cpu", "tiny")


def test_a_step_that_drops_nothing_inside_breaks_the_law_and_so_does_one_that_moves_nothing():
    with pytest.raises(AssertionError, match="logits of a step where nodes inside"):
        masks_multiply_what_enters_their_nodes(calls(batch=masks_of_the_head_alone)(Formulas()), "cpu", "tiny")
    with pytest.raises(AssertionError, match="loss of a step where nodes inside"):
        masks_multiply_what_enters_their_nodes(Formulas(), "cpu", "tiny")


@pytest.mark.parametrize("broken", BROKEN.values(), ids=BROKEN)
def test_another_meaning_breaks_the_law(broken, request):
    kind = request.node.callspec.id.partition(":")[0]
    with pytest.raises(AssertionError, match=f"behind {kind} "):
        kinds_mean_what_they_say(broken(Formulas()), "cpu", "tiny")


def test_a_step_that_drops_other_channels_breaks_the_law():
    with pytest.raises(AssertionError, match="channels were dropped"):
        a_head_may_take_maps(calls(batch=drops_other_channels)(Formulas()), "cpu", "tiny")


def test_a_step_that_moves_nothing_breaks_the_law():
    with pytest.raises(AssertionError, match="gradient of the head's weight"):
        gradients_of_kinds_are_right(Formulas(), "cpu", "tiny")


def test_a_kind_that_is_missing_is_named_when_all_else_is_right():
    backend = Formulas()
    backend.kinds = frozenset(KINDS) - {"gelu", "matmul"}
    with pytest.raises(pytest.skip.Exception, match=re.escape("numpy lacks the kinds gelu, matmul")):
        kinds_mean_what_they_say(backend, "cpu", "tiny")
    with pytest.raises(AssertionError, match="behind silu "):
        kinds_mean_what_they_say(in_place_of("silu", "relu")(backend), "cpu", "tiny")


@pytest.mark.parametrize("law", LAWS)
def test_a_backend_of_few_kinds_is_held_to_none(law):
    with pytest.raises(pytest.skip.Exception, match="numpy lacks "):
        law(NumpyBackend(), "cpu", "tiny")


def test_every_kind_has_a_meaning_and_a_branch():
    assert set(REFERENCE) == set(KINDS)
    assert {branch.kind for branch in BRANCHES} == set(KINDS) - {"image"}


def test_branches_are_a_network_that_could_be_read_and_has_the_shapes_foretold():
    graph = tree_of(BRANCHES).graph
    assert graph_from_json(json.loads(json.dumps(graph.as_json()))) == graph
    weights = {name: np.ones(shape) for name, shape in graph.weights.items()}
    values = evaluate(graph, weights, np.zeros((2, 3, *SIZE)))
    assert {name: value.shape for name, value in values.items()} == shapes_of(graph, batch=2)


def test_a_class_sees_its_branch_alone():
    tree = tree_of(BRANCHES[:3])
    weights = {name: np.ones(shape) for name, shape in tree.graph.weights.items()}
    weights["head.weight"] *= tree.seen
    images = np.random.default_rng(0).normal(size=(2, 3, *SIZE))
    before = evaluate(tree.graph, weights, images)["head"]
    after = evaluate(tree.graph, weights | {"branch1.x.bias": np.zeros(4)}, images)["head"]
    assert (before != after).all(axis=0).tolist() == [False, False, True, True, False, False]
