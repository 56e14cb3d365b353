"""A person's module of a few lines, and a backend in torch's place that traces it. Needs no framework."""

import dataclasses

import numpy as np
from click.testing import CliRunner

from xfer.capabilities import Traced
from xfer.cli.main import main
from xfer.nets.weights import init_weights
from xfer.testing.delegate import Delegate
from xfer.testing.numpy_backend import NumpyBackend

CODE = """
import sys
class Module: pass
loaded = []
def make():
    print("a word of its own")
    return Module()
def number(): return 3
def broken(): raise ValueError("a cause\\nin two lines")
def leaves(): sys.exit(4)
constant = 3
"""


class Own:
    """The graph with logits that depend on the pictures, and on the first weight of the head."""

    def __init__(self, graph):
        self.graph, self.weights = graph, init_weights(graph.weights, 0, graph)
        self.weights["more"] = np.ones(2, np.float32)  # without a part in the logits

    def export_weights(self):
        return dict(self.weights)

    def import_weights(self, weights):
        self.weights = dict(weights)

    def predict(self, images):
        assert (images.dtype, images.shape[1]) == (np.float32, 3)
        head = self.weights[self.graph[self.graph.head].weights["weight"]].ravel()[0]
        return images.mean((2, 3)) * head


class Tracing(Delegate):
    """In torch's place: every object of a class called Module is the graph."""

    def __init__(self, graph):
        super().__init__(NumpyBackend())
        self.graph, self.size = graph, None

    def own_module(self, value):
        return Own(self.graph) if type(value).__name__ == "Module" else None

    def trace(self, module, size):
        return Traced(dataclasses.replace(self.graph, size=size), "a look")


def run(*words):
    return CliRunner().invoke(main, ["port", *map(str, words)])


def told(result, code=2):
    """The one line of an error; a traceback is none."""
    assert result.exit_code == code, result.output
    (line,) = [line for line in result.stderr.splitlines() if line.startswith("error: ")]
    return line
