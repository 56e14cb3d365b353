"""The weight that is added to pictures: it changes nothing, and no stage."""

import numpy as np
import pytest
from small_graphs import GRAPHS

from xfer.graphs.shapes import shapes_of
from xfer.graphs.stages import arch_of
from xfer.nets.catalogue import graph_named
from xfer.porting.pictures import with_table
from xfer.porting.subject import subject_of
from xfer.porting.task import PICTURES, Task
from xfer.testing.kinds import evaluate
from xfer.testing.kit import random_weights
from xfer.testing.numpy_backend import NumpyBackend


@pytest.mark.parametrize("name", GRAPHS)
def test_what_is_added_to_the_pictures_is_added_to_each(name):
    graph, rng = GRAPHS[name], np.random.default_rng(0)
    more = with_table(graph, graph.size)
    weights, images = random_weights(graph.weights, seed=0), rng.normal(size=(2, 3, *graph.size))
    table = rng.normal(size=(1, 3, *graph.size)).astype(np.float32)
    for added in (0 * table, table):
        wanted = evaluate(graph, weights, images + added)[graph.nodes[-1].name]
        assert np.array_equal(evaluate(more, {**weights, PICTURES: added}, images)[more.nodes[-1].name], wanted)


@pytest.mark.parametrize("name", ["resnet18", "convnet", "mobilenet_v2", "vit_b_32", "swin_t"])
def test_the_first_stage_has_it_and_every_weight_has_a_stage(name):
    graph = graph_named(name)
    more = with_table(graph, graph.size)
    assert shapes_of(more)[more.nodes[-1].name] == (1, graph.classes)
    arch = arch_of("", more)
    assert arch.stage_of(PICTURES) == arch.stage_names[0]
    assert all(arch.stage_of(weight) for weight in graph.weights)


def test_a_backend_without_its_kinds_gives_no_such_gradient():
    subject = subject_of(NumpyBackend(), "cpu", Task("tiny", np.zeros((4, 16, 16, 3), np.uint8), batch_size=4))
    assert subject.watched is subject.net
