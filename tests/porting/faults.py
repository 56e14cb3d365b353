"""The task of these tests, and backends with a fault in a place that is known."""

import numpy as np
from calling import Calling

from xfer.archs import LOGITS
from xfer.graphs.graph import Graph, Node
from xfer.graphs.parts import boundaries, part_of
from xfer.porting.parity import noise
from xfer.porting.task import Task
from xfer.testing.delegate import Delegate
from xfer.testing.kinds import evaluate
from xfer.testing.numpy_backend import NETWORK, TINY

TASK = Task("tiny", noise(10, 16, seed=0), batch_size=4, steps=3)


class At(Delegate):
    """What one node gives is changed, in everything that is made of it."""

    def __init__(self, inner, node, fault):
        super().__init__(inner)
        self.node, self.fault = node, fault

    def make_predict_step(self, model, start, stop):
        graph = model.spec.graph

        @np.errstate(invalid="ignore")
        def predict(inputs):
            part = part_of(graph, start, stop)
            if self.node not in {node.name for node in part.nodes}:
                return self.inner.make_predict_step(model, start, stop)(inputs)
            given = self.fault(self.inner.make_predict_step(model, start, f"node:{self.node}")(inputs))
            if part.result == self.node:
                return given
            # The rest of the network, with what the node gives in place of the picture.
            behind = graph.nodes[graph.places[self.node] + 1 : graph.places[part.result] + 1]
            known = Node(self.node, "image")
            values = evaluate(Graph((known, *behind), graph.weights, graph.head), model.weights, given)
            return values[part.result].astype(np.float32)

        return predict


class Stage(At):
    """What leaves one stage is rolled by one element, in everything that passes through it."""

    def __init__(self, inner, broken):
        stages = (*TINY.stage_names, LOGITS)
        leaving = boundaries(NETWORK)[stages[stages.index(broken) + 1]]
        super().__init__(inner, leaving, lambda value: np.roll(value, 1, axis=1))


class Step(Delegate):
    """After each step, the weights that `fault` has changed."""

    def __init__(self, inner, fault):
        super().__init__(inner)
        self.fault = fault

    def make_train_step(self, model, optimizer, loss, groups, start, cut):
        step = self.inner.make_train_step(model, optimizer, loss, groups, start, cut)

        def broken(parts, lrs):
            before = self.export_weights(model)
            result = step(parts, lrs)
            self.import_weights(model, self.fault(before, self.export_weights(model), groups))
            return result

        return Calling(step, broken)
