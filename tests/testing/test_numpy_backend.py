"""The backend that is copied: what its own network does not show."""

import numpy as np
from small_graphs import Builder

from xfer.backend import Batch, NetworkSpec, OptimizerSpec, ParamGroup, ParamGroups
from xfer.graphs.graph import Node
from xfer.testing.numpy_backend import NumpyBackend


def test_the_gradient_of_a_layer_that_is_used_twice_is_that_of_both_uses():
    b = Builder()
    b.add("pool", "adaptive_avg_pool", size=[1, 1])
    b.add("flat", "flatten", start=1)
    b.linear("once", 3, 3)
    b.add("relu", "relu")
    b.nodes.append(Node("twice", "linear", ("relu",), {}, {"weight": "once.weight", "bias": "once.bias"}))
    b.linear("fc", 2, 3, "twice")
    graph, backend, rng = b.graph("fc", (2, 2)), NumpyBackend(), np.random.default_rng(0)
    model = backend.build(NetworkSpec(graph, (0.5,) * 3, (0.25,) * 3), "cpu")
    weights = {name: rng.random(shape, np.float32) for name, shape in graph.weights.items()}
    groups = ParamGroups((ParamGroup(tuple(weights), 1.0, 0.0),), frozenset(), frozenset())
    targets, factors = np.eye(2, dtype=np.float32), np.full(2, 0.5, np.float32)
    batch = Batch(rng.integers(0, 256, (2, 2, 2, 3), np.uint8), targets, factors)

    def loss(moved, rate):
        backend.import_weights(model, moved)
        return backend.make_train_step(model, OptimizerSpec(), "softmax", groups, "stem", "stem")([batch], (rate,))()[0]

    loss(weights, 1.0)
    gradient = {name: weights[name] - after for name, after in backend.export_weights(model).items()}
    for name, way in gradient.items():
        ends = [
            loss({**weights, name: weights[name] + sign * way}, 0.0) for sign in (np.float32(1e-3), -np.float32(1e-3))
        ]
        np.testing.assert_allclose((ends[0] - ends[1]) / 2e-3, (way**2).sum(), rtol=2e-2, atol=1e-7)
