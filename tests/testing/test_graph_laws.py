"""What the laws of graphs are made of, and that they bite: on a backend that is the formulas themselves."""

import json
import re
from dataclasses import replace

import numpy as np
import pytest

from xfer.graphs.kinds import KINDS
from xfer.graphs.read import graph_from_json
from xfer.graphs.shapes import shapes_of
from xfer.testing.broken.graphs import attributes, drops_other_channels, gelu_by_tanh, in_place_of, nodes, rewritten
from xfer.testing.broken.mechanics import calls
from xfer.testing.kinds import REFERENCE, evaluate
from xfer.testing.laws.branches import BRANCHES, SIZE, tree_of
from xfer.testing.laws.graphs import a_head_may_take_maps, gradients_of_kinds_are_right, kinds_mean_what_they_say
from xfer.testing.numpy_backend import NumpyBackend, NumpyModel


class Step:
    """Gives the logits, and changes nothing."""

    def __init__(self, model):
        self.model = model

    def __call__(self, batch, lrs):
        values = run(self.model, batch.inputs, batch.keep)
        return lambda: (0.0, values[self.model.spec.graph.nodes[-1].name].astype(np.float32))


class Formulas(NumpyBackend):
    """Builds graphs, and trains none."""

    kinds = frozenset(KINDS)

    def build(self, spec, device):
        return NumpyModel(spec, {name: np.zeros(shape, np.float32) for name, shape in spec.graph.weights.items()})

    def make_predict_step(self, model, start, stop):
        graph = model.spec.graph
        name = graph[graph.head].inputs[0] if stop == "head" else graph.nodes[-1].name
        return lambda images: run(model, images)[name].astype(np.float32)

    def make_train_step(self, model, optimizer, loss, groups, start):
        return Step(model)


def run(model, images, keep=None):
    pictures = ((images / 255 - model.spec.mean) / model.spec.std).transpose(0, 3, 1, 2)
    return evaluate(model.spec.graph, model.weights, pictures, keep=keep)


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


BROKEN = {
    "conv: zeros before for zeros behind": changing("conv", "padding", zeros_turned),
    "conv: the odd zero of SAME before": changing("conv", "padding", odd_zero_before),
    "avg_pool: padding counts": attributes("avg_pool", count_pad=True),
    "avg_pool: padding does not count": attributes("avg_pool", count_pad=False),
    "batch_norm: eps": attributes("batch_norm", eps=1e-3),
    "layer_norm: eps": attributes("layer_norm", eps=1e-3),
    "attention: one head": attributes("attention", heads=1),
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


@pytest.mark.parametrize("law", [kinds_mean_what_they_say, a_head_may_take_maps, gradients_of_kinds_are_right])
def test_a_backend_without_graphs_is_held_to_none(law):
    with pytest.raises(pytest.skip.Exception, match="no networks that are data"):
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
