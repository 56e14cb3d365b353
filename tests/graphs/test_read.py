"""What is no graph is refused, in one line that says where."""

import copy
import json

import pytest

from xfer.errors import ConfigError
from xfer.graphs.graph import MOST_NODES
from xfer.graphs.kinds import KINDS
from xfer.graphs.read import MOST_PARTS, MOST_STAGES, MOST_WEIGHTS, graph_from_json

POOL = {"kernel": [3, 3], "stride": [2, 2], "padding": [1, 1], "ceil": False}
GRAPH = {
    "format": 1,
    "head": "fc",
    "size": [16, 24],
    "fixed": False,
    "nodes": [
        ["image", "image", [], {}, {}],
        ["conv", "conv", ["image"], {"stride": [2, 1], "padding": [0, 1, 2, 3], "dilation": [1, 1], "groups": 2},
         {"weight": "conv.weight"}],
        ["bn", "batch_norm", ["conv"], {"eps": 1e-5, "momentum": 0.1},
         {"weight": "bn.weight", "bias": "bn.bias", "running_mean": "bn.mean", "running_var": "bn.var"}],
        ["half", "mul", ["bn"], {"value": 0.5}, {}],
        ["sum", "add", ["bn", "half"], {}, {}],
        ["pool", "avg_pool", ["sum"], {**POOL, "count_pad": True}, {}],
        ["part", "slice", ["pool"], {"axis": 1, "start": 0, "stop": 4}, {}],
        ["tokens", "reshape", ["part"], {"shape": ["@0", 4, -1]}, {}],
        ["turned", "permute", ["tokens"], {"axes": [0, 2, 1]}, {}],
        ["attention", "attention", ["turned"], {"heads": 2},
         {"in_weight": "a.in", "in_bias": "a.in_bias", "out_weight": "a.out", "out_bias": "a.out_bias"}],
        ["scale", "table", [], {"fill": 0.1}, {"value": "scale"}],
        ["scaled", "mul", ["attention", "scale"], {}, {}],
        ["mean", "mean", ["scaled"], {"axes": [1], "keep": False}, {}],
        ["fc", "linear", ["mean"], {}, {"weight": "fc.weight", "bias": "fc.bias"}],
    ],
    "weights": {
        "conv.weight": [4, 2, 3, 3], "bn.weight": [4], "bn.bias": [4], "bn.mean": [4], "bn.var": [4],
        "a.in": [12, 4], "a.in_bias": [12], "a.out": [4, 4], "a.out_bias": [4], "scale": [4],
        "fc.weight": [3, 4], "fc.bias": [3],
    },
}  # fmt: skip


def changed(*path, to):
    """The graph with one thing in another way. A name in `path` that follows "nodes" is that of a node."""
    data = copy.deepcopy(GRAPH)
    place = data
    for part in path[:-1]:
        named = place is data["nodes"] and isinstance(part, str)
        place = next(row for row in place if row[0] == part) if named else place[part]
    place[path[-1]] = to
    return data


@pytest.mark.parametrize(
    "stages", [{}, [], None, "conv", {"stem": "nowhere"}, {"stem": 1}, {"a b": "conv"}, {"": "conv"}]
)
def test_stages_are_names_of_stages_and_of_nodes(stages):
    assert graph_from_json({**GRAPH, "stages": {"stem": "conv"}}).stages == {"stem": "conv"}
    assert "stages" in refusal({**GRAPH, "stages": stages})


def test_what_a_later_version_wrote_is_known_by_its_format_whatever_else_is_in_it():
    expectation = "format = 2: expected 1. Cure: the xfer that wrote it"
    assert expectation in refusal({**GRAPH, "format": 2, "order": []})
    assert "Cure: the xfer that wrote it" in refusal(changed("nodes", "conv", 1, to="mamba"))


def test_stages_and_the_parts_of_a_name_are_counted():
    stages = {f"s{number}": "conv" for number in range(MOST_STAGES)}
    assert len(graph_from_json({**GRAPH, "stages": stages}).stages) == MOST_STAGES
    assert "101 stages: expected at most 100. Cure: " in refusal({**GRAPH, "stages": {**stages, "more": "conv"}})
    deep = ".".join("a" * MOST_PARTS)
    named = changed("weights", "scale", to=[4])["weights"]
    with_deep = {**changed("nodes", "scale", 4, to={"value": deep}), "weights": {**named, deep: [4]}}
    del with_deep["weights"]["scale"]
    assert deep in graph_from_json(with_deep).weights
    assert "expected at most 32 parts" in refusal({**GRAPH, "weights": {**named, f"{deep}.a": [4]}})


def without(node):
    data = copy.deepcopy(GRAPH)
    data["nodes"] = [row for row in data["nodes"] if row[0] != node]
    return data


def refusal(data):
    with pytest.raises(ConfigError) as caught:
        graph_from_json(data, "net.json")
    message = str(caught.value)
    assert message.startswith("net.json: ")
    assert "\n" not in message
    assert len(message) < 1000
    return message


def test_what_is_written_is_read_again_with_the_order_of_its_weights():
    graph = graph_from_json(json.loads(json.dumps(GRAPH)))
    assert graph.as_json() == GRAPH
    assert list(graph.weights) == list(GRAPH["weights"])
    assert (graph.classes, graph.size, graph["conv"].attributes["padding"]) == (3, (16, 24), [0, 1, 2, 3])


@pytest.mark.parametrize("data", [None, [], 3, "text", {}, GRAPH | {"more": 1}], ids=str)
def test_something_else_is_refused(data):
    assert "expected an object with format, head" in refusal(data)


@pytest.mark.parametrize("value", [2, "1", 1.0, True, None])
def test_another_format_is_refused(value):
    assert "format = " in refusal(changed("format", to=value))


@pytest.mark.parametrize("value", [[0, 16], [16], [16, 16, 16], [16.0, 16], [True, 16], "16", [16, 10**9], None])
def test_a_size_of_no_picture_is_refused(value):
    assert "size = " in refusal(changed("size", to=value))


@pytest.mark.parametrize("value", [0, 1, "false", None])
def test_fixed_is_a_boolean(value):
    assert "fixed = " in refusal(changed("fixed", to=value))


@pytest.mark.parametrize("value", ["image", "none", 3, None, ["fc"], "pool"])
def test_the_head_is_a_linear_layer_or_a_convolution(value):
    assert "head = " in refusal(changed("head", to=value))


@pytest.mark.parametrize(
    ("shape", "words"),
    [
        ([0], "expected at most 8 integers from 1"),
        ([-1], "expected at most 8 integers from 1"),
        ([2**31], "expected at most 8 integers from 1"),
        ([1.0], "expected at most 8 integers from 1"),
        ([True], "expected at most 8 integers from 1"),
        ([1] * 9, "expected at most 8 integers from 1"),
        ("4", "expected at most 8 integers from 1"),
        ([2**20, 2**20], f"expected at most {MOST_WEIGHTS:,}"),
    ],
    ids=str,
)
def test_shapes_have_bounds(shape, words):
    assert words in refusal(changed("weights", "scale", to=shape))


def test_weights_are_an_object_whose_keys_are_names():
    assert "weights = [" in refusal(changed("weights", to=[]))
    assert "name 'a b'" in refusal(changed("weights", "a b", to=[1]))


@pytest.mark.parametrize("nodes", [{}, [], None, GRAPH["nodes"][:1] * (MOST_NODES + 1)], ids=lambda n: repr(n)[:5])
def test_nodes_are_a_list_of_no_more_than_there_may_be(nodes):
    assert f"expected a list of 1 to {MOST_NODES:,}" in refusal(changed("nodes", to=nodes))


@pytest.mark.parametrize("row", [None, {}, [], ["half", "mul", ["bn"], {}], ["half", "mul", ["bn"], {}, {}, {}]])
def test_a_node_is_a_list_of_five(row):
    assert "node 3: expected a list of name, kind" in refusal(changed("nodes", 3, to=row))


@pytest.mark.parametrize("name", ["", "a b", "a\nb", "x" * 201, "../x\x00", "ü", 3, None])
def test_names_are_plain(name):
    assert "node 3: name " in refusal(changed("nodes", 3, 0, to=name))


def test_two_nodes_have_no_name_in_common():
    assert "node bn: two nodes of this name" in refusal(changed("nodes", "half", 0, to="bn"))


@pytest.mark.parametrize("kind", ["convolution", "", None, 3, ["conv"], "x" * 10**6], ids=lambda kind: str(kind)[:20])
def test_a_kind_is_one_of_the_table(kind):
    assert "node half: kind = " in refusal(changed("nodes", "half", 1, to=kind))


def test_the_nearest_kind_is_named():
    assert "Did you mean 'batch_norm'?" in refusal(changed("nodes", "bn", 1, to="batchnorm"))


def test_the_first_node_and_no_other_is_the_picture():
    assert "node image: two nodes" in refusal(changed("nodes", 1, to=["image", "image", [], {}, {}]))
    assert "node picture: expected the first node" in refusal(changed("nodes", 0, 0, to="picture"))
    assert "node again: expected the first node" in refusal(changed("nodes", 3, to=["again", "image", [], {}, {}]))
    assert "node conv: expected the first node" in refusal(without("image"))


@pytest.mark.parametrize("name", ["sum", "half", "none", ""])
def test_inputs_are_earlier_nodes(name):
    """No circle, no node that looks ahead."""
    assert f"node half: input '{name}'" in refusal(changed("nodes", "half", 2, to=[name]))


@pytest.mark.parametrize("inputs", ["bn", None, [3], {"bn": 1}])
def test_inputs_are_a_list_of_names(inputs):
    assert "node half: inputs = " in refusal(changed("nodes", "half", 2, to=inputs))


@pytest.mark.parametrize(
    ("node", "inputs", "words"),
    [
        ("conv", [], "0 inputs: expected 1 for the kind conv"),
        ("bn", ["conv", "conv"], "2 inputs: expected 1"),
        ("half", ["bn", "bn"], "2 inputs: expected 1"),
        ("sum", ["bn"], "1 inputs: expected 2"),
        ("sum", ["bn", "half", "bn"], "3 inputs: expected 2"),
        ("scale", ["bn"], "1 inputs: expected 0"),
    ],
)
def test_a_kind_has_its_number_of_inputs(node, inputs, words):
    assert f"node {node}: {words}" in refusal(changed("nodes", node, 2, to=inputs))


@pytest.mark.parametrize(
    ("node", "attribute", "value"),
    [
        ("conv", "stride", [0, 1]),
        ("conv", "stride", 2),
        ("conv", "stride", [10**6, 1]),
        ("conv", "padding", [1, 1]),
        ("conv", "padding", "valid"),
        ("conv", "padding", [-1, 0, 0, 0]),
        ("conv", "padding", [10**9, 0, 0, 0]),
        ("conv", "dilation", [1, 1.0]),
        ("conv", "groups", 0),
        ("conv", "groups", True),
        ("bn", "eps", 0),
        ("bn", "eps", "1e-5"),
        ("bn", "momentum", 1.5),
        ("bn", "momentum", float("nan")),
        ("half", "value", float("inf")),
        ("half", "value", 10**400),
        ("half", "value", False),
        ("pool", "kernel", [3]),
        ("pool", "ceil", 1),
        ("part", "axis", -1),
        ("part", "axis", 8),
        ("part", "start", -1),
        ("part", "stop", 2**40),
        ("tokens", "shape", [-1, -1]),
        ("tokens", "shape", [0, 4]),
        ("tokens", "shape", ["@9", 4]),
        ("tokens", "shape", ["@", 4]),
        ("tokens", "shape", ["@-1", 4]),
        ("tokens", "shape", []),
        ("tokens", "shape", [1] * 9),
        ("tokens", "shape", [True, 4]),
        ("turned", "axes", [0, 2]),
        ("turned", "axes", [0, 1, 1]),
        ("mean", "axes", []),
        ("mean", "axes", [1, 1]),
        ("scale", "std", -0.1),
        ("attention", "heads", 0),
    ],
)
def test_an_attribute_has_the_values_of_its_kind(node, attribute, value):
    assert f"node {node}: {attribute} = " in refusal(changed("nodes", node, 3, attribute, to=value))


def test_attributes_are_those_of_the_kind():
    assert "node pool: attribute 'dilation'" in refusal(changed("nodes", "pool", 3, "dilation", to=[1, 1]))
    assert "node bn: without momentum" in refusal(changed("nodes", "bn", 3, to={"eps": 1e-5}))
    assert "node bn: attributes = " in refusal(changed("nodes", "bn", 3, to=[]))


def test_a_slice_is_not_empty():
    assert "stop = 2: expected more than start = 2" in refusal(
        changed("nodes", "part", 3, to={"axis": 1, "start": 2, "stop": 2})
    )


@pytest.mark.parametrize(
    ("node", "slots"),
    [
        ("conv", {}),
        ("conv", {"weight": "conv.weight", "scale": "scale"}),
        ("bn", {"weight": "bn.weight", "bias": "bn.bias"}),
        ("half", {"weight": "scale"}),
    ],
)
def test_slots_are_those_of_the_kind(node, slots):
    assert f"node {node}: slots " in refusal(changed("nodes", node, 4, to=slots))


@pytest.mark.parametrize("name", ["none", 3, None, ["fc.weight"], {"a": 1}])
def test_a_slot_has_a_weight_that_is_there(name):
    assert "node fc: weight = " in refusal(changed("nodes", "fc", 4, "weight", to=name))


@pytest.mark.parametrize(
    ("weight", "shape", "letters"),
    [
        ("conv.weight", [4, 2, 3], "(O, I, h, w)"),
        ("bn.bias", [5], "(C)"),
        ("bn.var", [4, 1], "(C)"),
        ("fc.bias", [4], "(O)"),
        ("fc.weight", [3, 4, 1], "(O, I)"),
        ("a.in", [13, 4], "(3D, D)"),
        ("a.in_bias", [4], "(3D)"),
        ("a.out", [4, 5], "(D, D)"),
    ],
)
def test_shapes_of_one_node_fit_each_other(weight, shape, letters):
    assert f"is no {letters}" in refusal(changed("weights", weight, to=shape))


def test_groups_and_heads_are_divisors():
    assert "node conv: groups = 3" in refusal(changed("nodes", "conv", 3, "groups", to=3))
    assert "node attention: heads = 3" in refusal(changed("nodes", "attention", 3, "heads", to=3))


def windowed(**changes):
    """A graph of one attention in windows. `changes`: attributes, and by slot shapes."""
    of = {"heads": 2, "window": [2, 3], "shift": [1, 0], "scale": 0.5}
    shapes = {"qkv_weight": [12, 4], "qkv_bias": [12], "proj_weight": [4, 4], "proj_bias": [4], "table": [15, 2]}
    kind = "window_attention"
    if "logit_scale" in changes:
        kind, shapes = "cosine_window_attention", {slot: shape for slot, shape in shapes.items() if slot != "table"}
        shapes |= {"logit_scale": [2, 1, 1], "mlp_in_weight": [5, 2], "mlp_in_bias": [5], "mlp_out_weight": [2, 5]}
        del of["scale"]
    of |= {name: value for name, value in changes.items() if name in of}
    shapes |= {name: value for name, value in changes.items() if name in shapes}
    nodes = [
        ["image", "image", [], {}, {}],
        ["w", kind, ["image"], of, {slot: slot for slot in shapes}],
        ["flat", "flatten", ["w"], {"start": 1}, {}],
        ["fc", "linear", ["flat"], {}, {"weight": "fc.weight"}],
    ]
    return {**GRAPH, "size": [3, 4], "nodes": nodes, "weights": {**shapes, "fc.weight": [3, 36]}}


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"heads": 3}, "heads = 3: expected a divisor of 4"),
        ({"heads": 4}, "biases for 2 heads: expected 4"),
        ({"window": [3, 3]}, "15 rows of biases: expected 25 for that window"),
        ({"window": [2, 65]}, "window = [2, 65]: expected a list of 2 integers from 1 to 64"),
        ({"shift": [2, 0]}, "shift = [2, 0]: expected less than window = [2, 3]"),
        ({"table": [15, 3]}, "biases for 3 heads: expected 2"),
        ({"qkv_bias": [4]}, "is no (3D)"),
        ({"logit_scale": [2, 1, 2]}, "is no (H, 1, 1)"),
        ({"logit_scale": [2, 1, 1], "mlp_in_weight": [5, 3]}, "is no (M, 2)"),
        ({"logit_scale": [4, 1, 1]}, "is no (H, M)"),
    ],
)
def test_windows_have_biases_for_each_head_and_way(changes, reason):
    assert graph_from_json(windowed()).weights["table"] == (15, 2)
    assert graph_from_json(windowed(logit_scale=[2, 1, 1])).weights["logit_scale"] == (2, 1, 1)
    assert reason in refusal(windowed(**changes))


def test_weights_of_no_node_are_refused():
    assert "weights of no node: b0, b1, b2 and 1 more" in refusal(
        GRAPH | {"weights": GRAPH["weights"] | {f"b{i}": [1] for i in range(4)}}
    )


def test_nodes_that_nothing_reads_are_refused():
    data = copy.deepcopy(GRAPH)
    data["nodes"].insert(3, ["spare", "relu", ["bn"], {}, {}])
    assert "nodes that nothing reads: spare" in refusal(data)


@pytest.mark.parametrize(
    ("bound", "reason"), [("MOST_INPUTS", r"more than 2 inputs up to here"), ("MOST_TENSORS", r"tensors of weights")]
)
def test_more_of_them_than_any_network_has_are_refused(monkeypatch, bound, reason):
    monkeypatch.setattr(f"xfer.graphs.read.{bound}", 2)
    with pytest.raises(ConfigError, match=reason):
        graph_from_json(GRAPH)


def test_the_table_of_kinds_is_consistent():
    for kind in KINDS.values():
        assert not set(kind.required) & set(kind.optional)
        assert kind.spare <= set(kind.slots)
        assert kind.inputs[0] <= kind.inputs[1]
