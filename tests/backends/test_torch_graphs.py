"""Networks that are data, on torch: every kind of node, and whole networks as the seam wants them."""

import copy
import pickle

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("torchvision")

from torch import nn  # noqa: E402
from torch.nn import functional  # noqa: E402

from xfer.archs import LOGITS, is_statistic  # noqa: E402
from xfer.backend import Batch, LossSpec, ModelSpec, OptimizerSpec  # noqa: E402
from xfer.errors import BackendError  # noqa: E402
from xfer.graphs.graph import Graph, Node  # noqa: E402
from xfer.graphs.kinds import KINDS as EVERY  # noqa: E402
from xfer.graphs.stages import arch_of  # noqa: E402
from xfer.testing.conformance import random_weights  # noqa: E402
from xfer.testing.kit import make_groups  # noqa: E402
from xfer_torch import TorchBackend  # noqa: E402
from xfer_torch.fold import Folded  # noqa: E402
from xfer_torch.graph import build_graph, graph_pairs  # noqa: E402
from xfer_torch.kinds import KINDS  # noqa: E402

BACKEND = TorchBackend()
SIZE, CLASSES = 32, 3
POOL = {"kernel": [3, 2], "stride": [2, 1], "padding": [1, 0], "ceil": True}


def conv(name, x, outputs, inputs, kernel=(3, 3), stride=(1, 1), padding=(1, 1, 1, 1), groups=1, bias=False, **more):
    attributes = {"stride": [*stride], "padding": padding, "dilation": [1, 1], "groups": groups} | more
    attributes["padding"] = padding if isinstance(padding, str) else [*padding]
    weights = {"weight": (outputs, inputs // groups, *kernel)} | ({"bias": (outputs,)} if bias else {})
    return layer(name, "conv", x, attributes, weights)


def batch_norm(name, x, channels, eps=1e-5, momentum=0.1):
    slots = dict.fromkeys(("weight", "bias", "running_mean", "running_var"), (channels,))
    return layer(name, "batch_norm", x, {"eps": eps, "momentum": momentum}, slots)


def linear(name, x, outputs, inputs):
    return layer(name, "linear", x, {}, {"weight": (outputs, inputs), "bias": (outputs,)})


def layer(name, kind, x, attributes, shapes):
    """A node, and the shapes of its weights, which are called after it."""
    names = {slot: f"{name}.{slot}" for slot in shapes}
    inputs = (x,) if isinstance(x, str) else tuple(x)
    return Node(name, kind, inputs, attributes, names), {names[slot]: shape for slot, shape in shapes.items()}


def graph_of(*rows, head="fc", size=(SIZE, SIZE)):
    """`rows`: nodes, with the shapes of their weights where they have some."""
    nodes, weights = [Node("image", "image")], {}
    for row in rows:
        node, shapes = row if isinstance(row, tuple) else (row, {})
        nodes.append(node)
        weights |= shapes
    return Graph(tuple(nodes), weights, head, size)


def residual():
    """Convolutions with norms, a sum, squeeze and excitation, a concatenation, a vector, a linear head."""
    pool = {"kernel": [3, 3], "stride": [2, 2], "padding": [1, 1], "dilation": [1, 1], "ceil": False}
    return graph_of(
        conv("stem.0", "image", 8, 3, stride=(2, 2), padding="same"),
        batch_norm("stem.1", "stem.0", 8),
        Node("stem.2", "relu", ("stem.1",)),
        Node("pool", "max_pool", ("stem.2",), pool),
        conv("block.conv1", "pool", 8, 8, bias=True),
        batch_norm("block.bn1", "block.conv1", 8, eps=1e-3),
        Node("block.act", "silu", ("block.bn1",)),
        conv("block.conv2", "block.act", 8, 8, groups=4),
        batch_norm("block.bn2", "block.conv2", 8),
        Node("block.drop", "stochastic_depth", ("block.bn2",), {"p": 0.5, "mode": "row"}),
        Node("block.sum", "add", ("block.drop", "pool")),
        Node("block.relu", "relu", ("block.sum",)),
        Node("se.mean", "mean", ("block.relu",), {"axes": [2, 3], "keep": True}),
        conv("se.fc1", "se.mean", 4, 8, (1, 1), padding=(0, 0, 0, 0), bias=True),
        Node("se.relu", "relu", ("se.fc1",)),
        conv("se.fc2", "se.relu", 8, 4, (1, 1), padding=(0, 0, 0, 0), bias=True),
        Node("se.gate", "sigmoid", ("se.fc2",)),
        Node("se.mul", "mul", ("block.relu", "se.gate")),
        (Node("scale", "table", (), {}, {"value": "layer_scale"}), {"layer_scale": (8, 1, 1)}),
        Node("scaled", "mul", ("se.mul", "scale")),
        conv("down", "scaled", 8, 8, stride=(2, 2), padding=(0, 1, 0, 1)),
        batch_norm("norm", "down", 8),
        Node("act", "hardswish", ("norm",)),
        Node("both", "cat", ("act", "norm"), {"axis": 1}),
        Node("pooled", "adaptive_avg_pool", ("both",), {"size": [1, 1]}),
        Node("flat", "flatten", ("pooled",), {"start": 1}),
        Node("dropout", "dropout", ("flat",), {"p": 0.5}),
        linear("fc", "dropout", CLASSES, 16),
    )


def squeeze():
    """A head that takes maps, and nodes behind it."""
    return graph_of(
        conv("conv1", "image", 8, 3, stride=(2, 2), bias=True),
        Node("relu1", "relu", ("conv1",)),
        conv("conv2", "relu1", 6, 8, stride=(2, 2), bias=True),
        Node("relu2", "relu", ("conv2",)),
        Node("drop", "dropout", ("relu2",), {"p": 0.5}),
        conv("classifier.1", "drop", CLASSES, 6, (1, 1), padding=(0, 0, 0, 0), bias=True),
        Node("relu3", "relu", ("classifier.1",)),
        Node("pooled", "adaptive_avg_pool", ("relu3",), {"size": [1, 1]}),
        Node("flat", "flatten", ("pooled",), {"start": 1}),
        head="classifier.1",
    )


def tokens():
    """A transformer of one block: patches, a class token repeated for each picture, positions, attention."""
    width = 8
    slots = {"in_weight": "in_proj_weight", "in_bias": "in_proj_bias"}
    slots |= {"out_weight": "out_proj.weight", "out_bias": "out_proj.bias"}
    sizes = ((3 * width, width), (3 * width,), (width, width), (width,))
    names = {slot: f"block.attention.{name}" for slot, name in slots.items()}
    attention = Node("block.attention", "attention", ("block.norm",), {"heads": 2}, names)
    norm = {"weight": (width,), "bias": (width,)}
    return graph_of(
        conv("patches", "image", width, 3, (8, 8), (8, 8), (0, 0, 0, 0), bias=True),
        Node("cut", "reshape", ("patches",), {"shape": ["@0", width, -1]}),
        Node("turned", "permute", ("cut",), {"axes": [0, 2, 1]}),
        (Node("token", "table", (), {}, {"value": "class_token"}), {"class_token": (1, 1, width)}),
        Node("each", "expand", ("token", "turned")),
        Node("sequence", "cat", ("each", "turned"), {"axis": 1}),
        (Node("position", "table", (), {}, {"value": "encoder.position"}), {"encoder.position": (1, 17, width)}),
        Node("placed", "add", ("sequence", "position")),
        layer("block.norm", "layer_norm", "placed", {"eps": 1e-6}, norm),
        (attention, dict(zip(names.values(), sizes, strict=True))),
        Node("block.sum", "add", ("block.attention", "placed")),
        Node("first", "slice", ("block.sum",), {"axis": 1, "start": 0, "stop": 1}),
        Node("flat", "reshape", ("first",), {"shape": ["@0", width]}),
        linear("fc", "flat", CLASSES, width),
    )


GRAPHS = {"residual": residual, "squeeze": squeeze, "tokens": tokens}


def spec_of(graph, **more):
    mean, std = (0.4, 0.5, 0.6), (0.2, 0.3, 0.25)
    return ModelSpec("mine", graph.classes, graph.size, mean, std, graph=graph, **more)


def network(graph, **more):
    net = BACKEND.build(spec_of(graph, **more), "cpu")
    BACKEND.import_weights(net, random_weights(graph.weights, seed=1))
    return net


def pictures(count=4):
    return np.random.default_rng(0).integers(0, 256, (count, SIZE, SIZE, 3), np.uint8)


def relative(a, b):
    return np.abs(a - b).max() / np.abs(b).max()


def result_of(kind, attributes, *inputs, weights=None):
    """What a node of this kind gives in the middle of a network. `weights`: slot -> tensor."""
    weights = weights or {}
    names = {slot: f"layer.{slot}" for slot in weights}
    # The pictures become the inputs by factors that are 1: pictures of one value, times a table each.
    rows = [Node("image", "image")]
    shapes = {names[slot]: tuple(tensor.shape) for slot, tensor in weights.items()}
    for number, tensor in enumerate(inputs):
        rows.append(Node(f"in{number}", "table", (), {}, {"value": f"in{number}"}))
        shapes[f"in{number}"] = tuple(tensor.shape)
    taken = tuple(f"in{number}" for number in range(len(inputs)))
    rows.append(Node("layer", kind, taken, attributes, names))
    graph = Graph(tuple(rows), shapes, "layer")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("xfer_torch.graph.stages_of", lambda graph: (Whole(graph),))
        module, ((_, stage),) = build_graph(graph)
    module.eval()
    state = module.state_dict(keep_vars=True)
    for name, tensor in [(names[slot], tensor) for slot, tensor in weights.items()] + list(
        zip(taken, inputs, strict=True)
    ):
        state[name].data.copy_(tensor)
    with torch.no_grad():
        return stage(torch.zeros(1, 3, 4, 4)).detach()


class Whole:
    name = "head"

    def __init__(self, graph):
        self.nodes = graph.nodes


def draw(*shape):
    return torch.from_numpy(np.random.default_rng(len(shape)).normal(0, 2, shape).astype(np.float32))


MAP, VECTORS, TOKENS = draw(2, 4, 7, 6), draw(3, 5), draw(2, 5, 8)


def same_by_hand(x, weight, stride, dilation):
    """TensorFlow's SAME, counted out: as many outputs as the stride leaves, the odd pixel at the end."""
    pads = []
    for axis in (3, 2):
        side, step, reach = x.shape[axis], stride[axis - 2], dilation[axis - 2] * (weight.shape[axis] - 1) + 1
        total = max((-(-side // step) - 1) * step + reach - side, 0)
        pads += [total // 2, total - total // 2]
    return functional.conv2d(functional.pad(x, pads), weight, None, stride, 0, dilation)


def of_convolution(padding, wanted, groups=1, bias=True, stride=(2, 1), dilation=(1, 2)):
    weight = draw(6, 4 // groups, 3, 2)
    weights = {"weight": weight} | ({"bias": draw(6)} if bias else {})
    attributes = {"stride": [*stride], "padding": padding, "dilation": [*dilation], "groups": groups}
    return ("conv", attributes, (MAP,), weights, wanted(weight, weights.get("bias")))


def of_norm():
    norm = nn.BatchNorm2d(4, eps=0.1).eval()
    weights = {"weight": draw(4), "bias": draw(4) + 1, "running_mean": draw(4) * 2, "running_var": draw(4).abs() + 0.5}
    norm.load_state_dict(weights, strict=False)
    return ("batch_norm", {"eps": 0.1, "momentum": 0.1}, (MAP,), weights, norm(MAP).detach())


def of_attention():
    layer = nn.MultiheadAttention(8, 2, batch_first=True)
    slots = ("in_weight", "in_bias", "out_weight", "out_bias")
    tensors = [tensor.detach() for tensor in layer.parameters()]
    tensors[1] = draw(24)
    layer.in_proj_bias.data.copy_(tensors[1])
    weights = dict(zip(slots, tensors, strict=True))
    return ("attention", {"heads": 2}, (TOKENS,), weights, layer(TOKENS, TOKENS, TOKENS)[0].detach())


def rows():
    """(kind, attributes, inputs, weights by slot, what torch's own modules and functions give)."""
    weight, bias = draw(6, 5), draw(6)
    yield of_convolution([1, 1, 2, 2], lambda w, b: functional.conv2d(MAP, w, b, (2, 1), (1, 2), (1, 2)))
    yield of_convolution([1, 1, 2, 2], lambda w, b: functional.conv2d(MAP, w, b, (2, 1), (1, 2), (1, 2), 2), groups=2)
    uneven = functional.pad(MAP, (2, 0, 0, 1))
    yield of_convolution([0, 1, 2, 0], lambda w, b: functional.conv2d(uneven, w, b, (2, 1), 0, (1, 2)))
    yield of_convolution("same", lambda w, b: same_by_hand(MAP, w, (2, 1), (1, 2)), bias=False)
    yield of_convolution(
        "same", lambda w, b: same_by_hand(MAP, w, (5, 1), (1, 1)), bias=False, stride=(5, 1), dilation=(1, 1)
    )
    yield "linear", {}, (VECTORS,), {"weight": weight, "bias": bias}, VECTORS @ weight.T + bias
    yield "linear", {}, (draw(2, 3, 5),), {"weight": weight}, draw(2, 3, 5) @ weight.T
    yield of_norm()
    scale, shift = draw(8), draw(8) + 1
    normed = functional.layer_norm(TOKENS, (8,), scale, shift, 0.1)
    yield "layer_norm", {"eps": 0.1}, (TOKENS,), {"weight": scale, "bias": shift}, normed
    activations = {
        "relu": nn.ReLU(),
        "relu6": nn.ReLU6(),
        "gelu": nn.GELU(),
        "silu": nn.SiLU(),
        "hardswish": nn.Hardswish(),
        "hardsigmoid": nn.Hardsigmoid(),
        "sigmoid": nn.Sigmoid(),
        "tanh": nn.Tanh(),
    }
    for kind, function in activations.items():
        yield kind, {}, (3 * MAP,), {}, function(3 * MAP)
    yield "softmax", {"axis": 1}, (MAP,), {}, nn.Softmax(1)(MAP)
    dilated = nn.MaxPool2d((3, 2), (2, 1), (1, 0), (1, 2), ceil_mode=True)
    yield "max_pool", POOL | {"dilation": [1, 2]}, (MAP - 5,), {}, dilated(MAP - 5)
    for count in (True, False):
        wanted = nn.AvgPool2d((3, 2), (2, 1), (1, 0), ceil_mode=True, count_include_pad=count)(MAP)
        yield "avg_pool", POOL | {"count_pad": count}, (MAP,), {}, wanted
    yield "adaptive_avg_pool", {"size": [3, 4]}, (MAP,), {}, nn.AdaptiveAvgPool2d((3, 4))(MAP)
    yield "mean", {"axes": [2, 3], "keep": True}, (MAP,), {}, MAP.sum((2, 3), keepdim=True) / 42
    yield "mean", {"axes": [1], "keep": False}, (TOKENS,), {}, TOKENS.sum(1) / 5
    yield "add", {}, (MAP, draw(4, 1, 1)), {}, MAP + draw(4, 1, 1)
    yield "add", {"value": 3}, (MAP,), {}, MAP + 3
    yield "mul", {}, (draw(4, 1, 1), MAP), {}, MAP * draw(4, 1, 1)
    yield "mul", {"value": 0.5}, (MAP,), {}, MAP / 2
    yield "cat", {"axis": 1}, (MAP, 2 * MAP, MAP[:, :1]), {}, torch.cat((MAP, 2 * MAP, MAP[:, :1]), 1)
    yield "slice", {"axis": 1, "start": 1, "stop": 3}, (MAP,), {}, MAP[:, 1:3]
    yield "permute", {"axes": [0, 2, 3, 1]}, (MAP,), {}, MAP.movedim(1, 3)
    yield "reshape", {"shape": ["@0", "@3", -1, 2]}, (MAP,), {}, MAP.contiguous().view(2, 6, 14, 2)
    split = MAP.contiguous().view(2, 2, 2, 7, 6).transpose(1, 2)
    yield "reshape", {"shape": ["@0", -1, "@3", "@4"]}, (split,), {}, split.contiguous().view(2, 4, 7, 6)
    yield "flatten", {"start": 1}, (MAP,), {}, MAP.contiguous().view(2, -1)
    yield "expand", {}, (draw(1, 1, 8), TOKENS), {}, torch.cat((draw(1, 1, 8),) * 2)
    yield "table", {"std": 0.02}, (), {"value": draw(3, 2)}, draw(3, 2)
    yield "table", {"fill": 1}, (), {"value": draw(3, 2)}, draw(3, 2)
    yield of_attention()
    yield "matmul", {}, (draw(2, 3, 4), draw(2, 4, 5)), {}, torch.einsum("nij,njk->nik", draw(2, 3, 4), draw(2, 4, 5))
    for kind in ("dropout", "stochastic_depth"):
        yield kind, {"p": 0.5}, (MAP,), {}, MAP


ROWS = list(rows())


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0])
def test_a_kind_gives_what_torchs_own_modules_give(row):
    kind, attributes, inputs, weights, wanted = row
    given = result_of(kind, attributes, *inputs, weights=weights)
    assert given.shape == wanted.shape
    assert (given - wanted).abs().max() < 1e-5


def test_no_kind_goes_untested():
    assert {row[0] for row in ROWS} == KINDS - {"image"} == set(EVERY) - {"image"}


@pytest.mark.parametrize("make", GRAPHS.values(), ids=GRAPHS)
def test_weights_have_exactly_the_names_of_the_graph_and_come_out_as_they_went_in(make):
    graph = make()
    net, weights = network(graph), random_weights(graph.weights, seed=1)
    own = [name for name in net.module.state_dict() if not name.endswith("num_batches_tracked")]
    assert sorted(own) == sorted(graph.weights)
    exported = BACKEND.export_weights(net)
    assert list(exported) == list(graph.weights)
    assert all(np.array_equal(exported[name], weights[name]) for name in weights)
    norms = [net.module.get_submodule(node.name) for node in graph.nodes if node.kind == "batch_norm"]
    assert all(isinstance(norm, nn.BatchNorm2d) and norm.num_batches_tracked == 0 for norm in norms)


def by_hand(graph, x, weights, keep=None):
    """Logits of normalised pictures, node by node, with weights by name. `keep` multiplies what the head takes."""
    values = {"image": x}
    for node in graph.nodes[1:]:
        slots = {slot: torch.from_numpy(weights[name]) for slot, name in node.weights.items()}
        inputs = [values[name] for name in node.inputs]
        if node.name == graph.head and keep is not None:
            inputs[0] = inputs[0] * keep.reshape(*keep.shape, *(1,) * (inputs[0].ndim - 2))
        values[node.name] = result_of(node.kind, node.attributes, *inputs, weights=slots)
    return values[graph.nodes[-1].name].numpy()


def normalised(images):
    spec = spec_of(residual())
    x = (images / 255 - np.array(spec.mean)) / np.array(spec.std)
    return torch.from_numpy(np.ascontiguousarray(x.transpose(0, 3, 1, 2), np.float32))


@pytest.mark.parametrize("make", GRAPHS.values(), ids=GRAPHS)
def test_the_whole_gives_what_its_nodes_give_and_so_do_its_stages(make):
    graph, images = make(), pictures()
    net, names = network(graph), (*arch_of("mine", graph).stage_names, LOGITS)
    whole = BACKEND.make_predict_step(net, names[0], LOGITS)(images)
    assert whole.shape == (4, CLASSES)
    assert relative(whole, by_hand(graph, normalised(images), random_weights(graph.weights, seed=1))) < 1e-5
    assert len(names) > 3
    for boundary in names[1:-1]:
        before = BACKEND.make_predict_step(net, names[0], boundary)(images)
        kept = before.copy()
        assert relative(BACKEND.make_predict_step(net, boundary, LOGITS)(before), whole) < 1e-6
        assert np.array_equal(before, kept), "a stage wrote into what it was given"
    one = BACKEND.make_predict_step(net, names[0], LOGITS)(images[1:2])
    assert relative(one, whole[1:2]) < 1e-5


@pytest.mark.parametrize("make", GRAPHS.values(), ids=GRAPHS)
@pytest.mark.parametrize("trained", ["head", "layer1", "stem"])
def test_a_step_moves_what_is_trained_and_not_a_bit_of_what_is_frozen(make, trained):
    graph = make()
    net, arch = network(graph), arch_of("mine", graph)
    moving = arch.stage_names[arch.stage_names.index(trained) :]
    of_stages = [name for name in graph.weights if arch.stage_of(name) in moving]
    rated = [name for name in of_stages if not is_statistic(name)]
    statistics = [name for name in of_stages if is_statistic(name)]
    groups = make_groups(graph.weights, [(tuple(rated), 0.0)], statistics)
    step = BACKEND.make_train_step(net, OptimizerSpec("sgd", momentum=0.9), LossSpec(), groups, arch.stage_names[0])
    before = BACKEND.export_weights(net)
    batch = Batch(pictures(), np.arange(4) % CLASSES)
    losses = [step(batch, [0.01])()[0] for _ in range(4)]
    after = BACKEND.export_weights(net)
    moved = {name for name in before if not np.array_equal(before[name], after[name])}
    assert moved <= set(of_stages)
    assert set(of_stages) - moved <= {"block.conv1.bias"}  # the norm behind it takes any bias away
    assert losses[-1] < losses[0]


@pytest.mark.parametrize("make", GRAPHS.values(), ids=GRAPHS)
def test_gradients_are_those_of_every_node_alone(make):
    """What is computed in place takes nothing from the gradient."""
    net = network(make())
    net.module.double()
    images = normalised(pictures(2)).double()

    def loss():
        x = images
        for stage in (*(stage for _, stage in net.body), net.head):
            x = stage(x)
        return (x * torch.tensor([1.0, -2.0, 0.5])).sum()

    loss().backward()
    for name, weight in net.module.named_parameters():
        largest = np.unravel_index(int(weight.grad.abs().argmax()), weight.shape)
        losses = []
        with torch.no_grad():
            for change in (1e-6, -2e-6, 1e-6):
                weight[largest] += change
                losses.append(loss().item())
        assert weight.grad[largest].item() == pytest.approx((losses[0] - losses[1]) / 2e-6, rel=1e-4), name


@pytest.mark.parametrize("make", GRAPHS.values(), ids=GRAPHS)
def test_dropout_multiplies_what_the_head_takes(make):
    graph = make()
    net, arch = network(graph), arch_of("mine", graph)
    keep = (np.random.default_rng(3).random((4, arch.features)) < 0.5).astype(np.float32) * 2
    groups = make_groups(graph.weights, [(arch.head_names, 0.0)])
    step = BACKEND.make_train_step(net, OptimizerSpec(), LossSpec(), groups, arch.stage_names[0])
    _, logits = step(Batch(pictures(), np.arange(4) % CLASSES, keep), [0.0])()
    weights = random_weights(graph.weights, seed=1)
    assert relative(logits, by_hand(graph, normalised(pictures()), weights, torch.from_numpy(keep))) < 1e-5
    assert relative(logits, by_hand(graph, normalised(pictures()), weights)) > 1e-2


def test_a_norm_is_merged_into_the_convolution_before_it_and_follows_its_weights():
    graph = residual()
    net = network(graph)
    folded = Folded(net)
    assert [pair[1] for pair in graph_pairs(graph)] == ["stem.1", "block.bn1", "block.bn2", "norm"]
    assert not any(isinstance(module, nn.BatchNorm2d) for module in folded.twin.module.modules())
    images = torch.from_numpy(pictures())
    for seed in (1, 2):
        BACKEND.import_weights(net, random_weights(graph.weights, seed))
        with torch.no_grad():
            apart = net.forward(images, "stem", LOGITS).numpy()
        assert relative(folded.forward(images, "stem", LOGITS).numpy(), apart) < 1e-5
    assert folded.twin.module.get_submodule("fc").weight is net.module.get_submodule("fc").weight


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
    assert tuple(graph_pairs(graph)) == ()
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
    net, arch = network(graph), arch_of("mine", graph)
    parted = [
        (a, b)
        for a, b in (("conv1", "bn1"), ("conv2", "bn2"))
        if arch.stage_of(f"{a}.weight") != arch.stage_of(f"{b}.weight")
    ]
    assert parted, "this test needs a boundary between a convolution and its norm"
    assert not set(graph_pairs(graph)) & set(parted)
    boundary = arch.stage_of(f"{parted[0][1]}.weight")
    before = BACKEND.make_predict_step(net, arch.stage_names[0], boundary)(pictures())
    with torch.no_grad():
        wanted = net.forward(torch.from_numpy(pictures()), arch.stage_names[0], boundary).numpy()
    assert relative(before, wanted) < 1e-5


def test_nothing_is_written_into_the_pictures_or_a_table_or_what_is_needed_again():
    graph = graph_of(
        Node("positive", "relu", ("image",)),
        (Node("table", "table", (), {}, {"value": "shift"}), {"shift": (3, 1, 1)}),
        Node("of.table", "relu", ("table",)),
        Node("sum", "add", ("positive", "of.table")),
        Node("capped", "relu6", ("sum",)),
        Node("twice", "add", ("sum", "sum")),
        Node("both", "mul", ("capped", "twice")),
        Node("cut", "slice", ("both",), {"axis": 1, "start": 0, "stop": 2}),
        Node("low", "relu", ("cut",)),
        conv("conv", "both", 3, 3),
        Node("second", "add", ("both", "conv")),
        Node("all", "cat", ("low", "both", "second"), {"axis": 1}),
        Node("pooled", "mean", ("all",), {"axes": [2, 3], "keep": False}),
        linear("fc", "pooled", CLASSES, 8),
    )
    net, x = network(graph), normalised(pictures())
    module, kept = BACKEND.native_model(net), x.clone()
    weights = random_weights(graph.weights, seed=1)
    with torch.no_grad():
        assert relative(module(x).numpy(), by_hand(graph, kept, weights)) < 1e-5
    assert torch.equal(x, kept)
    assert np.array_equal(BACKEND.export_weights(net)["shift"], weights["shift"])


def pickled(module):
    return pickle.loads(pickle.dumps(module))


@pytest.mark.parametrize("make", GRAPHS.values(), ids=GRAPHS)
@pytest.mark.parametrize("copied", [copy.deepcopy, pickled])
def test_a_copy_of_its_module_has_weights_of_its_own(make, copied):
    graph = make()
    net = network(graph)
    module, x = BACKEND.native_model(net), normalised(pictures())
    own = {name for name in module.state_dict() if not name.endswith("num_batches_tracked")}
    assert own == set(graph.weights)
    with torch.no_grad():
        before, twin = module(x), copied(module)
        for parameter in module.parameters():
            parameter.zero_()
        assert module(x).abs().max() == 0
        assert torch.equal(twin(x), before)
        twin.load_state_dict(module.state_dict())
        assert twin(x).abs().max() == 0
    assert relative(before.numpy(), by_hand(graph, x, random_weights(graph.weights, seed=1))) < 1e-5


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
    ((_, stem), *_) = net.body
    stem = copy.copy(stem)
    object.__setattr__(stem, "steps", tuple(step for step in stem.steps if step.name != "pooled"))
    object.__setattr__(stem, "stop", "joined")
    with torch.no_grad():
        x = normalised(pictures()).contiguous(memory_format=torch.channels_last)
        maps = stem(x)
        assert torch.equal(maps, nn.ChannelShuffle(2)(net.module.get_submodule("conv")(x).contiguous()))
    assert maps.is_contiguous(memory_format=torch.channels_last)


def test_norms_keep_to_the_momentum_of_the_graph():
    row = batch_norm("bn", "conv", 4, momentum=0.25)
    pooled = Node("pooled", "mean", ("bn",), {"axes": [2, 3], "keep": False})
    graph = graph_of(conv("conv", "image", 4, 3), row, pooled, linear("fc", "pooled", CLASSES, 4))
    net, before = network(graph), random_weights(graph.weights, seed=1)
    statistics = [name for name in graph.weights if is_statistic(name)]
    groups = make_groups(graph.weights, [(("fc.weight",), 0.0)], statistics)
    step = BACKEND.make_train_step(net, OptimizerSpec(), LossSpec(), groups, "stem")
    step(Batch(pictures(), np.arange(4) % CLASSES), [0.0])()
    conv_weight = torch.from_numpy(before["conv.weight"])
    mean = functional.conv2d(normalised(pictures()), conv_weight, padding=1).mean((0, 2, 3)).numpy()
    wanted = before["bn.running_mean"] + 0.25 * (mean - before["bn.running_mean"])
    assert np.abs(BACKEND.export_weights(net)["bn.running_mean"] - wanted).max() < 1e-5


def test_a_kind_that_is_unknown_is_named_with_its_node_and_all_that_are_known():
    graph = graph_of(Node("odd.one", "fold", ("image",)), linear("fc", "odd.one", CLASSES, 3))
    with pytest.raises(BackendError) as caught:
        BACKEND.build(spec_of(graph), "cpu")
    message = str(caught.value)
    assert "\n" not in message
    assert message.startswith("odd.one: kind 'fold': torch's are adaptive_avg_pool, add, attention")
    assert all(kind in message for kind in KINDS)


def test_names_of_weights_that_torch_cannot_hold_are_said():
    node, shapes = conv("train", "image", 4, 3)
    pooled = Node("pooled", "mean", ("train",), {"axes": [2, 3], "keep": False})
    graph = graph_of((node, shapes), pooled, linear("fc", "pooled", CLASSES, 4))
    with pytest.raises(BackendError, match=r"weight 'train\.weight': torch has no module with that name: .*'train'"):
        BACKEND.build(spec_of(graph), "cpu")
    norm, shapes = batch_norm("bn", "image", 3)
    odd = Node("bn", "batch_norm", ("image",), norm.attributes, norm.weights | {"bias": "shift"})
    shapes = {norm.weights[slot]: shapes[norm.weights[slot]] for slot in norm.weights if slot != "bias"}
    pooled = Node("pooled", "mean", ("bn",), {"axes": [2, 3], "keep": False})
    graph = graph_of((odd, shapes | {"shift": (3,)}), pooled, linear("fc", "pooled", CLASSES, 3))
    with pytest.raises(BackendError, match=r"bn: batch_norm with weights bn\.weight, shift, .*a layer of its own"):
        BACKEND.build(spec_of(graph), "cpu")
