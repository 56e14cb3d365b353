"""What there is to know of a network is found in a number of steps that grows as its nodes do."""

import sys

import pytest
from small_graphs import Builder

from xfer.graphs.depth import depths
from xfer.graphs.overview import cuts_of, facts_of_graph
from xfer.graphs.read import graph_from_json
from xfer.graphs.stages import arch_of
from xfer.nets.freeze import FreezePolicy, resolve


def plain(b, number):
    b.conv(f"blocks.{number}.conv", 3, 3, kernel=1)


def branched(b, number):
    before = b.last
    b.norm(f"blocks.{number}.norm", 3)
    b.conv(f"blocks.{number}.conv", 3, 3, kernel=1)
    b.add(f"blocks.{number}.add", "add", b.last, before)


def dropping(b, number):
    b.add(f"drop{number}", "dropout", p=0.5)


def chain(layer, count):
    b = Builder()
    for number in range(count):
        layer(b, number)
    b.add("pool", "mean", axes=[2, 3], keep=False)
    b.linear("fc", 2, 3)
    return b.graph("fc").as_json()


def steps(data):
    """Calls of functions, and entries into generators, until all is known."""
    count = 0

    def called(frame, event, argument):
        nonlocal count
        count += event in ("call", "c_call")

    before = sys.getprofile()
    sys.setprofile(called)
    try:
        graph = graph_from_json(data)
        facts_of_graph("hostile", graph), cuts_of(graph)
        resolve(FreezePolicy("stem", depths=depths(graph)), arch_of("hostile", graph), list(graph.weights))
    finally:
        sys.setprofile(before)
    return count


@pytest.mark.parametrize("layer", [plain, branched, dropping])
def test_twice_as_many_nodes_take_twice_as_many_steps(layer):
    steps(chain(layer, 2))
    few, many = (steps(chain(layer, count)) for count in (100, 200))
    assert many < 2.3 * few
