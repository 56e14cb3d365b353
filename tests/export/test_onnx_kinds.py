"""Each kind of node means in ONNX, as onnxruntime reads it, what its formula says."""

import numpy as np
import pytest
from kind_cases import CASES

pytest.importorskip("onnx", reason="onnx is not installed")
pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")

import onnx
from onnx import TensorProto, helper, numpy_helper
from onnx_backend import OnnxBackend, session_of

from xfer.errors import ConfigError
from xfer.export import kinds
from xfer.export.network import LEAST_OPSET, MOST_OPSET, OPSET
from xfer.export.writer import Given, Writer
from xfer.graphs.graph import Node
from xfer.graphs.kinds import KINDS
from xfer.testing.kinds import REFERENCE
from xfer.testing.laws.graphs import kinds_mean_what_they_say

CLOSE = 2e-6  # of the largest value: float32 sums in another order
AT_REST = [case for case in CASES if not case[3].get("batch_statistics")]


def test_every_kind_is_written():
    assert kinds.KINDS.keys() == KINDS.keys()


@pytest.mark.parametrize(("enters", "opset"), [("normalised", OPSET), ("pixels", MOST_OPSET)])
def test_a_network_of_every_kind_keeps_the_laws_of_kinds(enters, opset):
    backend = OnnxBackend(opset=opset, enters=enters)
    kinds_mean_what_they_say(backend, "cpu", "tiny")


def written(kind, inputs, slots, attributes, opset):
    """What a model of one node gives, and what it should."""
    rng = np.random.default_rng(0)
    given = [(3 * rng.normal(size=shape)).astype(np.float32) for shape in inputs]
    weights = {
        slot: (rng.uniform(0.5, 2, shape) * rng.choice((-1, 1))).astype(np.float32) for slot, shape in slots.items()
    }
    weights |= {slot: abs(weight) for slot, weight in weights.items() if slot == "running_var"}
    attributes = {name: value for name, value in attributes.items() if name != "batch_statistics"}
    double = [[x.astype(np.float64) for x in arrays] for arrays in (given, weights.values())]
    wanted = REFERENCE[kind](*double[0], **dict(zip(weights, double[1], strict=True)), **attributes)
    names, writer = tuple(f"x{i}" for i in range(len(given))), Writer(opset, scope="y")
    node = Node("y", kind, names, attributes, {slot: slot for slot in weights})
    last = kinds.KINDS[kind](writer, Given(node, names, tuple(x.shape for x in given), wanted.shape, weights))
    values = [helper.make_tensor_value_info(n, TensorProto.FLOAT, x.shape) for n, x in zip(names, given, strict=True)]
    result = helper.make_tensor_value_info("result", TensorProto.FLOAT, wanted.shape)
    nodes = [*writer.nodes, helper.make_node("Identity", [last], ["result"])]
    constants = [numpy_helper.from_array(np.array(a, order="C"), name) for name, a in writer.constants.items()]
    sets = [helper.make_opsetid("", opset)]
    graph = helper.make_graph(nodes, "one", values, [result], constants)
    model = helper.make_model(graph, opset_imports=sets, ir_version=helper.find_min_ir_version_for(sets))
    onnx.checker.check_model(model, full_check=True)
    return session_of(model).run(None, dict(zip(names, given, strict=True)))[0], wanted


@pytest.mark.parametrize(("kind", "inputs", "slots", "attributes"), AT_REST, ids=lambda x: x if type(x) is str else "")
def test_a_kind_means_what_its_formula_says(kind, inputs, slots, attributes):
    value, wanted = written(kind, inputs, slots, attributes, OPSET)
    assert value.shape == wanted.shape
    assert np.abs(value - wanted).max() <= CLOSE * np.abs(wanted).max()


@pytest.mark.parametrize("opset", range(LEAST_OPSET, MOST_OPSET + 1))
def test_a_kind_means_the_same_in_every_opset_that_has_it(opset):
    first = {kind: case for kind, *case in reversed(AT_REST)}
    absent = {kind for kind, since in {"hardswish": 14, "layer_norm": 17}.items() if opset < since}
    for kind in first.keys() - absent:
        value, wanted = written(kind, *first[kind], opset)
        assert np.abs(value - wanted).max() <= CLOSE * np.abs(wanted).max(), kind
    for kind in absent:
        with pytest.raises(ConfigError, match=rf"^opset {opset}: y needs \w+, which came with .*Cure: --opset \d+$"):
            written(kind, *first[kind], opset)
