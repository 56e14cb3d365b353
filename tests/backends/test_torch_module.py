"""A network as a module of torch: `native_model`."""

import copy
import pickle

import numpy as np
import pytest

torch = pytest.importorskip("torch")
torchvision = pytest.importorskip("torchvision")

from torch_networks import (  # noqa: E402
    BACKEND,
    CLASSES,
    GRAPHS,
    batch_norm,
    by_hand,
    conv,
    graph_of,
    linear,
    network,
    normalised,
    pictures,
    relative,
)

from xfer.archs import LOGITS  # noqa: E402
from xfer.backend import NetworkSpec  # noqa: E402
from xfer.errors import BackendError  # noqa: E402
from xfer.graphs.graph import Node  # noqa: E402
from xfer.nets.catalogue import graph_named  # noqa: E402
from xfer.testing.kit import random_weights  # noqa: E402

every_graph = pytest.mark.parametrize("make", GRAPHS.values(), ids=GRAPHS)


def pickled(module):
    return pickle.loads(pickle.dumps(module))


@every_graph
@pytest.mark.parametrize("copied", [copy.deepcopy, pickled])
def test_a_copy_of_its_module_has_weights_of_its_own(make, copied):
    graph = make()
    net = network(graph)
    module, x = BACKEND.native_model(net), normalised(pictures())
    assert set(module.state_dict()) == set(graph.weights)
    with torch.no_grad():
        before, twin = module(x), copied(module)
        for parameter in module.parameters():
            parameter.zero_()
        assert module(x).abs().max() == 0
        assert torch.equal(twin(x), before)
        twin.load_state_dict(module.state_dict())
        assert twin(x).abs().max() == 0
    assert relative(before.numpy(), by_hand(graph, x, random_weights(graph.weights, seed=1))) < 1e-5


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


def test_in_training_mode_it_follows_the_batches_and_at_rest_it_does_not():
    graph = GRAPHS["residual"]()
    net, x = network(graph), normalised(pictures())
    module = BACKEND.native_model(net)
    before = {name: tensor.clone() for name, tensor in module.named_buffers()}
    with torch.no_grad():
        module(x)
        assert all(torch.equal(before[name], tensor) for name, tensor in module.named_buffers())
        module.train()(x)
    assert not any(torch.equal(before[name], tensor) for name, tensor in module.named_buffers())


@pytest.mark.parametrize(
    ("changes", "own"), [({}, True), ({"layers": (1, 1)}, False), ({"padding": "same"}, False)], ids=str
)
def test_a_network_of_torchvisions_is_torchvisions_module_and_a_changed_one_is_not(changes, own):
    graph = graph_named("resnet18", (64, 64), **changes).with_classes(3)
    net = BACKEND.build(NetworkSpec(graph, (0.5,) * 3, (0.5,) * 3, name="resnet18"), "cpu")
    BACKEND.import_weights(net, random_weights(graph.weights, seed=1))
    module = BACKEND.native_model(net)
    assert isinstance(module, torchvision.models.ResNet) == own
    assert not module.training
    images = np.random.default_rng(0).integers(0, 256, (2, 64, 64, 3), np.uint8)
    x = torch.from_numpy(((images / 255 - 0.5) / 0.5).transpose(0, 3, 1, 2).astype(np.float32))
    with torch.no_grad():
        given = module(x).numpy()
    assert relative(given, BACKEND.make_predict_step(net, "stem", LOGITS)(images)) < 1e-5


@pytest.mark.parametrize("name", ["mnasnet0_5", "googlenet", "inception_v3", "vit_b_32"])
def test_torchvisions_odd_ones_load_too(name):
    """MNASNet asks for the version of its weights; two have auxiliary heads that are left out; a ViT has tables."""
    graph = graph_named(name).with_classes(3)
    net = BACKEND.build(NetworkSpec(graph, (0.5,) * 3, (0.5,) * 3, name=name), "cpu")
    module = BACKEND.native_model(net)
    assert type(module).__module__.startswith("torchvision.models")
    own = module.state_dict()
    assert all(own[key].data_ptr() == tensor.data_ptr() for key, tensor in net.tensors.items())


def test_weights_of_a_layer_may_have_any_names():
    norm, shapes = batch_norm("bn", "image", 3)
    odd = Node("bn", "batch_norm", ("image",), norm.attributes, norm.weights | {"bias": "shift"})
    shapes = {norm.weights[slot]: shapes[norm.weights[slot]] for slot in norm.weights if slot != "bias"}
    pooled = Node("pooled", "mean", ("bn",), {"axes": [2, 3], "keep": False})
    graph = graph_of((odd, shapes | {"shift": (3,)}), pooled, linear("fc", "pooled", CLASSES, 3))
    module, x = BACKEND.native_model(network(graph)), normalised(pictures())
    with torch.no_grad():
        wanted = by_hand(graph, x, random_weights(graph.weights, seed=1))
        assert relative(module(x).numpy(), wanted) < 1e-5


def test_names_of_weights_that_no_module_of_torch_can_hold_are_said_and_the_network_trains_all_the_same():
    node, shapes = conv("train", "image", 4, 3)
    pooled = Node("pooled", "mean", ("train",), {"axes": [2, 3], "keep": False})
    graph = graph_of((node, shapes), pooled, linear("fc", "pooled", CLASSES, 4))
    net = network(graph)
    wanted = by_hand(graph, normalised(pictures()), random_weights(graph.weights, seed=1))
    assert relative(BACKEND.make_predict_step(net, "stem", LOGITS)(pictures()), wanted) < 1e-5
    with pytest.raises(BackendError, match=r"^weight 'train\.weight': torch has no module with that name: .*'train'"):
        BACKEND.native_model(net)
