"""First values by the rules of a network's family: as torchvision's own modules have them, where the seed makes all."""

import math
from zlib import crc32

import numpy as np
import pytest

from xfer.archs import IMAGENET_MEAN, IMAGENET_STD
from xfer.arrays import Weights
from xfer.nets.catalogue import arch_named, graph_named, names
from xfer.nets.first import First, first_weights
from xfer.nets.first_rules import FAMILIES, family, rules_of
from xfer.nets.net import Net
from xfer.nets.specs import ModelSpec, with_graph
from xfer.nets.weights import init_weights
from xfer.testing.numpy_backend import NumpyBackend

SEED, CLASSES = 7, 100
OF_EACH_FAMILY = [
    *("alexnet", "convnext_tiny", "densenet121", "efficientnet_b0", "googlenet", "inception_v3", "maxvit_t"),
    *("mnasnet0_5", "mobilenet_v2", "mobilenet_v3_small", "regnet_y_400mf", "resnet18", "resnext50_32x4d"),
    *("shufflenet_v2_x0_5", "squeezenet1_0", "swin_t", "swin_v2_t", "vgg11", "vit_b_32", "wide_resnet50_2"),
]


# The table


def test_every_network_of_the_catalogue_has_its_row() -> None:
    assert {family(name) for name in OF_EACH_FAMILY} == set(FAMILIES) - {"convnet", "efficientnet_lite"}
    rows = {name: family(name) for name in names()}
    assert [name for name, row in rows.items() if row is None] == []
    assert set(rows.values()) == set(FAMILIES)  # and none is of no use
    assert rows["efficientnet_lite0"] == "efficientnet_lite"
    assert {rules_of(name) for name in rows if "resne" in name} == {None}


@pytest.mark.parametrize("name", ["vgg", "vgg11.safetensors", "vgg_of_mine", "tiny", ""])
def test_no_other_network_has_rules_whatever_it_is_called(name: str) -> None:
    assert rules_of(name) is None


# torchvision's values


def theirs_of(name: str) -> Weights:
    """Tensors of torchvision's own module, without large ones; of a ViT the first block alone, and all of them."""
    torch = pytest.importorskip("torch")
    models = pytest.importorskip("torchvision").models
    from tools.catalogue import WithoutNumbers

    torch.manual_seed(SEED)
    if name == "vit_b_32":
        module = models.VisionTransformer(224, 32, 1, 12, 768, 3072, num_classes=CLASSES)
    else:
        with_aux = {"aux_logits": False, "init_weights": True} if name in ("googlenet", "inception_v3") else {}
        with WithoutNumbers():
            module = models.get_model(name, weights=None, num_classes=CLASSES, **with_aux)
    return {n: tensor.numpy() for n, tensor in module.state_dict().items() if not tensor.is_meta}


@pytest.mark.parametrize("name", OF_EACH_FAMILY)
def test_first_values_are_distributed_as_torchvisions(name: str) -> None:
    graph, theirs = graph_named(name).with_classes(CLASSES), theirs_of(name)
    real = {n: shape for n, shape in graph.weights.items() if n in theirs and layer_weight(n) in {n, *theirs}}
    ours = init_weights(real, SEED, graph, rules_of(name))
    for n, values in ours.items():
        assert values.shape == theirs[n].shape
        assert_same_distribution(n, values, theirs[n])
        if n.endswith(".bias") and values.size >= 30:
            bound = 1 / math.sqrt(math.prod(graph.weights[layer_weight(n)][1:]))
            assert fills(bound, values) == fills(bound, theirs[n]), n
    of_all, compared = ({(node.kind, slot) for node, slot in slots_of(graph, w)} for w in (graph.weights, real))
    assert of_all == compared
    assert graph[graph.head].weights["weight"] in real


def layer_weight(name: str) -> str:
    """Of the layer that a bias, or a statistic, belongs to; else that name itself."""
    layer, _, leaf = name.rpartition(".")
    return f"{layer}.weight" if leaf in ("bias", "running_mean", "running_var") else name


def slots_of(graph, weights):
    return [(node, slot) for node in graph.nodes for slot, name in node.weights.items() if name in weights]


def assert_same_distribution(name: str, ours: np.ndarray, theirs: np.ndarray) -> None:
    """The same constant; or mean and width within five standard errors, and the same kind of tails."""
    if theirs.min() == theirs.max():
        np.testing.assert_allclose(ours, theirs, rtol=1e-7, atol=0, err_msg=name)
        return
    if (count := theirs.size) < 30:
        assert ours.min() < ours.max(), name
        return
    std = theirs.std()
    assert abs(ours.std() / std - 1) < 5 / math.sqrt(count), (name, ours.std(), std)
    assert abs(ours.mean() - theirs.mean()) < 5 * std * math.sqrt(2 / count), name
    if count >= 2000:
        ends = [np.abs(values).max() / std for values in (ours, theirs)]
        normal = [end > 1.9 for end in ends]  # a uniform distribution ends at sqrt(3) of its width
        assert normal[0] == normal[1], (name, ends)
        assert normal[0] or abs(ends[0] / ends[1] - 1) < 0.01, (name, ends)


def fills(bound: float, values: np.ndarray) -> bool:
    """Whether they may be uniform in that bound: of many the largest is close to it, but for one case in e^15."""
    return 1 - 15 / values.size < np.abs(values).max() / bound < 1 + 1e-6


def test_nothing_is_cut_off_where_torch_cuts_at_2() -> None:
    """So that a normal distribution stands for `trunc_normal_`, of the std of InceptionV3, the widest there is."""
    normal = [rules.conv for rules in FAMILIES.values() if rules and rules.conv.distribution == "normal"]
    assert max(math.sqrt(draw.variance) for draw in normal if draw.fan is None) == pytest.approx(0.1)
    assert math.erfc(2 / 0.1 / math.sqrt(2)) < 1e-80


# Where they hold


def net_of(name: str, backend: NumpyBackend | None = None, classes: int = 2, **changes) -> Net:
    """Of a network that is not built: there is nothing but its graph."""
    backend = backend or NumpyBackend()
    size = (64, 64) if name == "convnet" else graph_named(name).size
    spec = with_graph(ModelSpec(name, classes, size, IMAGENET_MEAN, IMAGENET_STD, **changes), backend)
    return Net(backend, "cpu", spec, arch_named(name, spec.graph), None)


def from_seed(net: Net) -> Weights:
    return first_weights(net, "random", None, {}, ("a", "b"), seed=SEED).weights


def from_file(net: Net, weights: Weights, **options) -> First:
    return first_weights(net, "w.pth", weights, {}, ("a", "b"), seed=SEED, **options)


def of_one_rule(name: str, shape: tuple[int, ...], weight: tuple[int, ...]) -> np.ndarray:
    """By the rule for all networks: a convolution's, or else a linear weight or a bias of a layer with that weight."""
    rng = np.random.default_rng((SEED, crc32(name.encode())))
    if len(shape) == 4:
        fan_out = math.prod(shape[2:]) * (1 if shape[1] == 1 else shape[0])
        return (rng.standard_normal(shape) * math.sqrt(2 / fan_out)).astype(np.float32)
    bound = 1 / math.sqrt(math.prod(weight[1:]))
    return rng.uniform(-bound, bound, shape).astype(np.float32)


@pytest.mark.parametrize("name", ["resnet18", "efficientnet_lite0", "convnet"])
def test_networks_without_rules_keep_every_bit(name: str) -> None:
    net = net_of(name)
    drawn = {n for node, _ in slots_of(net.graph, net.shapes) if node.kind in ("conv", "linear")
             for n in node.weights.values()}  # fmt: skip
    for n, values in from_seed(net).items():
        if n in drawn:
            np.testing.assert_array_equal(values, of_one_rule(n, values.shape, net.shapes[layer_weight(n)]), err_msg=n)
        else:
            assert (values == (1 if n.endswith((".weight", "_var")) else 0)).all(), n


def test_the_seed_alone_asks_for_the_rules_and_loaded_weights_do_not() -> None:
    net = net_of("squeezenet1_1", classes=3)
    weight, bias = net.arch.head_names
    alone = from_seed(net)
    assert 0.009 < alone[weight].std() < 0.011
    assert not alone[bias].any()
    loaded = {n: np.full(shape, 0.5, np.float32) for n, shape in net.shapes.items()}
    first = from_file(net, loaded).weights
    for n in (weight, bias):
        np.testing.assert_array_equal(first[n], of_one_rule(n, net.shapes[n], net.shapes[weight]))
    assert all((values == 0.5).all() for n, values in first.items() if n not in (weight, bias))
    gone = [f"features.3.squeeze.{leaf}" for leaf in ("weight", "bias")]
    part = from_file(net, {n: values for n, values in loaded.items() if n not in gone}, partial=True).weights
    for n in gone:
        np.testing.assert_array_equal(part[n], of_one_rule(n, net.shapes[n], net.shapes[gone[0]]))


def test_values_depend_on_seed_and_name_and_not_on_the_rest() -> None:
    net = net_of("mobilenet_v3_small")
    rules, head = rules_of(net.spec.arch), {n: net.shapes[n] for n in net.arch.head_names}
    alone, all_of_it = init_weights(head, SEED, net.graph, rules), from_seed(net)
    assert all(np.array_equal(alone[n], all_of_it[n]) for n in head)
    assert all_of_it["classifier.0.weight"].dtype == np.float32
    weight = net.arch.head_names[0]
    assert not np.array_equal(init_weights(head, SEED + 1, net.graph, rules)[weight], alone[weight])
    same_shape = [n for n, shape in net.shapes.items() if shape == (576, 96, 1, 1)]
    assert len({all_of_it[n].tobytes() for n in same_shape}) == len(same_shape) > 1


def test_layers_that_a_network_was_given_on_top_keep_the_one_rule() -> None:
    net = net_of("mobilenet_v3_small", extra=(32,))
    first = from_seed(net)
    for n in ("extra.0.weight", "extra.0.bias"):
        np.testing.assert_array_equal(first[n], of_one_rule(n, net.shapes[n], net.shapes["extra.0.weight"]))
    assert 0.009 < first["classifier.0.weight"].std() < 0.011


def test_a_network_of_the_backends_own_keeps_the_one_rule_under_any_name() -> None:
    backend = NumpyBackend()
    backend.networks = {"vgg11": graph_named("squeezenet1_1")}
    net = net_of("vgg11", backend)
    first = from_seed(net)
    for n in net.shapes:
        np.testing.assert_array_equal(first[n], of_one_rule(n, net.shapes[n], net.shapes[layer_weight(n)]))
