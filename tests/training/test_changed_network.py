"""A network in a file that is another when a stopped run goes on."""

from dataclasses import replace

from small_graphs import residual

from xfer.backend import ModelSpec
from xfer.training.resume import _network_digest


def test_another_graph_and_another_normalisation_are_another_network():
    spec = ModelSpec("n.safetensors", 3, (32, 32), (0.5,) * 3, (0.5,) * 3, graph=residual())
    others = (replace(spec, mean=(0.4,) * 3), replace(spec, std=(0.4,) * 3), replace(spec, graph=residual(4)))
    assert len({_network_digest(each) for each in (spec, *others)}) == 4
    assert _network_digest(replace(spec, graph=residual())) == _network_digest(spec)
    assert _network_digest(replace(spec, graph=None)) is None
