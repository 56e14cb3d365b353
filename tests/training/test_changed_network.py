"""A network in a file that is another when a stopped run goes on."""

from types import SimpleNamespace

from small_graphs import residual

from xfer.training.resume import _network_digest


def of(graph, mean=(0.5,) * 3, std=(0.5,) * 3):
    """What is asked of a net."""
    return _network_digest(SimpleNamespace(graph=graph, spec=SimpleNamespace(mean=mean, std=std)))


def test_another_graph_and_another_normalisation_are_another_network():
    others = (of(residual(), mean=(0.4,) * 3), of(residual(), std=(0.4,) * 3), of(residual(4)))
    assert len({of(residual()), *others}) == 4
    assert of(residual()) == of(residual())
