"""Networks that are data, on torch: whole ones, as the seam wants them, in training and at rest."""

from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("torchvision")

from torch import nn  # noqa: E402
from torch.nn import functional  # noqa: E402
from torch_networks import (  # noqa: E402
    BACKEND,
    CLASSES,
    GRAPHS,
    SIZE,
    batch_norm,
    by_hand,
    conv,
    graph_of,
    linear,
    network,
    normalised,
    pictures,
    relative,
    residual,
)

from xfer.archs import LOGITS, is_statistic  # noqa: E402
from xfer.backend import OptimizerSpec  # noqa: E402
from xfer.errors import BackendError  # noqa: E402
from xfer.graphs.graph import Node  # noqa: E402
from xfer.graphs.parts import Part, boundaries, part_of  # noqa: E402
from xfer.graphs.stages import arch_of  # noqa: E402
from xfer.nets.net import build_net  # noqa: E402
from xfer.nets.specs import ModelSpec  # noqa: E402
from xfer.testing.case import Case  # noqa: E402
from xfer.testing.conformance import random_weights  # noqa: E402
from xfer.testing.delegate import Delegate  # noqa: E402
from xfer.testing.kit import make_groups  # noqa: E402
from xfer_torch.network import Program, Resting, _run  # noqa: E402

every_graph = pytest.mark.parametrize("make", GRAPHS.values(), ids=GRAPHS)


def batch_of(graph, masks=None, count=4):
    batch = Case(pictures(count), np.arange(count) % CLASSES).batch(graph)
    return replace(batch, masks=masks or {})


def step_of(net, groups, start=None, rule=None):
    """That starts at the first boundary, and where nothing is frozen before `start`."""
    first = next(iter(boundaries(net.spec.graph)))
    return BACKEND.make_train_step(net, rule or OptimizerSpec(), "softmax", groups, first, start or first)


def apart(net, start, stop, images):
    """As it is trained, with no normalisation merged."""
    part = part_of(net.spec.graph, start, stop)
    with torch.no_grad():
        return Program(net.spec, part, net.tensors)(net.entering(torch.from_numpy(images), part)).numpy()


@every_graph
def test_weights_have_exactly_the_names_of_the_graph_and_come_out_as_they_went_in(make):
    graph = make()
    net, weights = network(graph), random_weights(graph.weights, seed=1)
    assert list(net.tensors) == list(graph.weights)
    exported = BACKEND.export_weights(net)
    assert list(exported) == list(graph.weights)
    assert all(np.array_equal(exported[name], weights[name]) for name in weights)
    parameters = {name for name, tensor in net.tensors.items() if isinstance(tensor, nn.Parameter)}
    assert parameters == {name for name in graph.weights if not is_statistic(name)}


@every_graph
def test_the_whole_gives_what_its_nodes_give_and_so_do_its_parts(make):
    graph, images = make(), pictures()
    net, names = network(graph), list(boundaries(graph))
    whole = BACKEND.make_predict_step(net, names[0], LOGITS)(images)
    assert whole.shape == (4, CLASSES)
    assert relative(whole, by_hand(graph, normalised(images), random_weights(graph.weights, seed=1))) < 1e-5
    assert len(names) > 3
    for boundary in names[1:-1]:
        before = BACKEND.make_predict_step(net, names[0], boundary)(images)
        kept = before.copy()
        assert relative(BACKEND.make_predict_step(net, boundary, LOGITS)(before), whole) < 1e-6
        assert np.array_equal(before, kept), "a part wrote into what it was given"
    one = BACKEND.make_predict_step(net, names[0], LOGITS)(images[1:2])
    assert relative(one, whole[1:2]) < 1e-5


@every_graph
@pytest.mark.parametrize("trained", ["head", "layer1", "stem"])
def test_a_step_moves_what_is_trained_and_not_a_bit_of_what_is_frozen(make, trained):
    graph = make()
    net, arch = network(graph), arch_of("mine", graph)
    moving = arch.stage_names[arch.stage_names.index(trained) :]
    of_stages = [name for name in graph.weights if arch.stage_of(name) in moving]
    rated = [name for name in of_stages if not is_statistic(name)]
    statistics = [name for name in of_stages if is_statistic(name)]
    groups = make_groups(graph.weights, [(tuple(rated), 0.0)], statistics)
    step = step_of(net, groups, arch.first_stage(groups.moving), OptimizerSpec("sgd", momentum=0.9))
    before = BACKEND.export_weights(net)
    losses = [step([batch_of(graph)], [0.01])()[0] for _ in range(4)]
    after = BACKEND.export_weights(net)
    moved = {name for name in before if not np.array_equal(before[name], after[name])}
    assert moved <= set(of_stages)
    assert set(of_stages) - moved <= {"block.conv1.bias"}  # the norm behind it takes any bias away
    assert losses[-1] < losses[0]


@every_graph
def test_gradients_are_those_of_every_node_alone(make):
    """What is computed in place takes nothing from the gradient."""
    graph = make()
    tensors = {
        name: nn.Parameter(torch.from_numpy(weight).double(), requires_grad=not is_statistic(name))
        for name, weight in random_weights(graph.weights, seed=1).items()
    }
    program = Program(network(graph).spec, part_of(graph, "stem", LOGITS), tensors)
    assert make is not residual or any("inplace" in step.run.keywords for step in program.body)
    images = normalised(pictures(2)).double()

    def loss():
        values = {"image": images}
        _run([*program.body, *program.head], values, {})
        return (values[program.result] * torch.tensor([1.0, -2.0, 0.5])).sum()

    loss().backward()
    for name, weight in tensors.items():
        if is_statistic(name):
            continue
        largest = np.unravel_index(int(weight.grad.abs().argmax()), weight.shape)
        losses = []
        with torch.no_grad():
            for change in (1e-6, -2e-6, 1e-6):
                weight[largest] += change
                losses.append(loss().item())
        assert weight.grad[largest].item() == pytest.approx((losses[0] - losses[1]) / 2e-6, rel=1e-4), name


@every_graph
def test_dropout_multiplies_what_the_head_takes(make):
    graph = make()
    net, arch = network(graph), arch_of("mine", graph)
    keep = (np.random.default_rng(3).random((4, arch.features)) < 0.5).astype(np.float32) * 2
    masks = Case(pictures(), np.arange(4) % CLASSES, keep).batch(graph).masks
    groups = make_groups(graph.weights, [(arch.head_names, 0.0)])
    _, logits = step_of(net, groups)([batch_of(graph, masks)], [0.0])()
    weights = random_weights(graph.weights, seed=1)
    assert relative(logits, by_hand(graph, normalised(pictures()), weights, masks)) < 1e-5
    assert relative(logits, by_hand(graph, normalised(pictures()), weights)) > 1e-2


def test_stochastic_depth_multiplies_what_its_node_takes_in_training_alone():
    graph = residual()
    net, whole = network(graph), BACKEND.make_predict_step(network(graph), "stem", LOGITS)(pictures())
    masks = {"block.drop": np.array([0, 2, 0, 2], np.float32).reshape(4, 1, 1, 1)}
    groups = make_groups(graph.weights, [(("fc.weight",), 0.0)])
    given = [step_of(net, groups)([batch_of(graph, chosen)], [0.0])()[1] for chosen in (masks, {})]
    weights = random_weights(graph.weights, seed=1)
    wanted = by_hand(graph, normalised(pictures()), weights, masks)
    assert relative(given[0], wanted) < 1e-5
    assert relative(wanted, whole) > 1e-2
    assert relative(given[1], whole) < 1e-5


@every_graph
def test_parts_of_a_batch_are_one_step_of_the_whole(make):
    graph = make()
    rated = tuple(name for name in graph.weights if not is_statistic(name))
    whole, split = network(graph), network(graph)
    batch = batch_of(graph)
    parts = [
        replace(batch, inputs=batch.inputs[a:b], targets=batch.targets[a:b], factors=batch.factors[a:b])
        for a, b in ((0, 3), (3, 4))
    ]
    found = []
    for net, given in ((whole, [batch]), (split, parts)):
        step = step_of(net, make_groups(graph.weights, [(rated, 0.0)]), rule=OptimizerSpec("adam"))
        found.append(step(given, [0.01])())
        assert step.export_state()["step"] == 1
    assert found[0][0] == pytest.approx(found[1][0], rel=1e-5)
    assert relative(found[1][1], found[0][1]) < 1e-5


def test_a_norm_is_merged_into_the_convolution_before_it_and_follows_its_weights():
    net = network(residual())
    resting = Resting(net, "stem", LOGITS)
    merged = [merge.bias.removesuffix(".bias merged") for merge in resting.merges]
    assert merged == ["stem.1", "block.bn1", "block.bn2", "norm"]
    assert not [node.name for node in resting.program.part.nodes if node.kind == "batch_norm"]
    for seed in (1, 2):
        BACKEND.import_weights(net, random_weights(net.spec.graph.weights, seed))
        wanted = apart(net, "stem", LOGITS, pictures())
        assert relative(resting(torch.from_numpy(pictures())).numpy(), wanted) < 1e-5
    (head,) = (step for step in resting.program.head if step.name == "fc")
    assert head.run.keywords["weight"] is net.tensors["fc.weight"]


def shared():
    """A convolution that is called twice, with a norm of its own behind each: neither can be merged into it."""
    first, shapes = conv("conv", "image", 3, 3)
    again = Node("again", "conv", ("bn1",), first.attributes | {"stride": [2, 2]}, first.weights)
    return graph_of(
        (first, shapes),
        batch_norm("bn1", "conv", 3),
        again,
        batch_norm("bn2", "again", 3),
        Node("pooled", "mean", ("bn2",), {"axes": [2, 3], "keep": False}),
        linear("fc", "pooled", CLASSES, 3),
    )


def test_a_layer_that_is_called_twice_is_one_layer_and_no_norm_is_merged_into_it():
    graph = shared()
    net = network(graph)
    assert Resting(net, "stem", LOGITS).merges == ()
    whole = BACKEND.make_predict_step(net, "stem", LOGITS)(pictures())
    assert relative(whole, by_hand(graph, normalised(pictures()), random_weights(graph.weights, seed=1))) < 1e-5


def test_no_norm_is_merged_across_a_boundary():
    """Where no stride changes, stages may part a convolution from its norm."""
    graph = graph_of(
        conv("conv1", "image", 4, 3),
        batch_norm("bn1", "conv1", 4),
        conv("conv2", "bn1", 4, 4),
        batch_norm("bn2", "conv2", 4),
        Node("pooled", "mean", ("bn2",), {"axes": [2, 3], "keep": False}),
        linear("fc", "pooled", CLASSES, 4),
    )
    net = network(graph)
    parted = [name for name, node in boundaries(graph).items() if node in ("conv1", "conv2")]
    assert parted, "this test needs a boundary between a convolution and its norm"
    for boundary in parted:
        before = BACKEND.make_predict_step(net, "stem", boundary)(pictures())
        assert relative(before, apart(net, "stem", boundary, pictures())) < 1e-5
        behind = BACKEND.make_predict_step(net, boundary, LOGITS)(before)
        assert relative(behind, apart(net, "stem", LOGITS, pictures())) < 1e-5


def test_bfloat16_is_the_bodys_alone():
    graph = residual()
    exact, rough = network(graph), network(graph, precision="bfloat16")
    a, b = (BACKEND.make_predict_step(net, "stem", "head")(pictures()) for net in (exact, rough))
    assert b.dtype == np.float32
    assert 1e-4 < relative(b, a) < 0.05
    a, b = (BACKEND.make_predict_step(net, "head", LOGITS)(a) for net in (exact, rough))
    assert np.array_equal(a, b)


def test_maps_stay_channels_last_where_channels_are_shuffled():
    shape = {"shape": ["@0", 2, 4, "@2", "@3"]}
    graph = graph_of(
        conv("conv", "image", 8, 3),
        Node("groups", "reshape", ("conv",), shape),
        Node("turned", "permute", ("groups",), {"axes": [0, 2, 1, 3, 4]}),
        Node("joined", "reshape", ("turned",), {"shape": ["@0", 8, "@3", "@4"]}),
        Node("pooled", "mean", ("joined",), {"axes": [2, 3], "keep": False}),
        linear("fc", "pooled", CLASSES, 8),
    )
    net = network(graph)
    shuffled, plain = (Part("image", graph.nodes[1:stop], graph.nodes[stop - 1].name) for stop in (5, 2))
    with torch.no_grad():
        x = net.entering(torch.from_numpy(pictures()), shuffled)
        maps, before = (Program(net.spec, part, net.tensors)(x) for part in (shuffled, plain))
    assert torch.equal(maps, nn.ChannelShuffle(2)(before.contiguous()))
    assert maps.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("axes", [[0, 1, 3, 2], [0, 2, 1, 3]])
def test_what_crosses_a_boundary_lies_in_memory_as_kept_features_do(axes, monkeypatch):
    """Kernels go by that, and so do last bits."""
    call, layouts = Program.__call__, []

    def noted(program, x, masks=None):
        if program.part.source == "turned":
            layouts.append(x.stride())
        return call(program, x, masks)

    graph = graph_of(
        conv("conv", "image", SIZE, 3),
        Node("turned", "permute", ("conv",), {"axes": axes}),
        conv("behind", "turned", 4, SIZE),
        Node("pooled", "mean", ("behind",), {"axes": [2, 3], "keep": False}),
        linear("fc", "pooled", CLASSES, 4),
    )
    net = network(graph)
    (cut,) = [name for name, node in boundaries(graph).items() if node == "turned"]
    kept = BACKEND.make_predict_step(net, "stem", cut)(pictures())
    behind = [name for node in part_of(graph, cut, LOGITS).nodes for name in node.weights.values()]
    groups = make_groups(graph.weights, [(tuple(behind), 0.0)])
    for start, inputs in (("stem", pictures()), (cut, kept)):
        step = BACKEND.make_train_step(net, OptimizerSpec(), "softmax", groups, start, cut)
        monkeypatch.setattr(Program, "__call__", noted)
        step([replace(batch_of(graph), inputs=inputs)], (0.1,))()
    assert len(layouts) == 2
    assert layouts[0] == layouts[1]


def test_norms_keep_to_the_momentum_of_the_graph():
    row = batch_norm("bn", "conv", 4, momentum=0.25)
    pooled = Node("pooled", "mean", ("bn",), {"axes": [2, 3], "keep": False})
    graph = graph_of(conv("conv", "image", 4, 3), row, pooled, linear("fc", "pooled", CLASSES, 4))
    net, before = network(graph), random_weights(graph.weights, seed=1)
    statistics = [name for name in graph.weights if is_statistic(name)]
    groups = make_groups(graph.weights, [(("fc.weight",), 0.0)], statistics)
    step_of(net, groups)([batch_of(graph)], [0.0])()
    conv_weight = torch.from_numpy(before["conv.weight"])
    mean = functional.conv2d(normalised(pictures()), conv_weight, padding=1).mean((0, 2, 3)).numpy()
    wanted = before["bn.running_mean"] + 0.25 * (mean - before["bn.running_mean"])
    assert np.abs(BACKEND.export_weights(net)["bn.running_mean"] - wanted).max() < 1e-5


def test_kinds_that_a_backend_lacks_are_named_before_anything_is_built():
    class Poorer(Delegate):
        def __init__(self):
            super().__init__(BACKEND)
            self.kinds = BACKEND.kinds - {"silu", "cat"}

    spec = ModelSpec("mine", CLASSES, (32, 32), (0.5,) * 3, (0.5,) * 3, graph=residual())
    with pytest.raises(BackendError, match=r"^backend 'torch' cannot build mine: it has no cat, silu\. Cure: another"):
        build_net(Poorer(), "cpu", spec)
