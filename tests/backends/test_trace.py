"""Graphs of torch modules: the same logits, and an error for all that a graph cannot say."""

import json

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("torchvision")

from torch import nn  # noqa: E402
from torch.nn import functional  # noqa: E402
from torch_modules import Do, in_place_twice  # noqa: E402
from torchvision import models  # noqa: E402
from torchvision.models import swin_transformer  # noqa: E402

from tools.catalogue import ENDING, FOLDER, PUBLISHED, build, graph_text, published_text, unpacked  # noqa: E402
from tools.same_logits import difference, randomize  # noqa: E402
from xfer.errors import BackendError  # noqa: E402
from xfer.graphs.read import graph_from_json  # noqa: E402
from xfer.graphs.shapes import shapes_of  # noqa: E402
from xfer.nets.builders import build_graph  # noqa: E402
from xfer_torch.trace import trace  # noqa: E402


@pytest.mark.parametrize("name", ["resnet18", "resnet50"])
def test_a_resnet_written_by_hand_is_torchvisions_node_by_node(name):
    with torch.device("meta"):
        traced = trace(getattr(models, name)(), (224, 224))
    written = build_graph(name, (224, 224))
    assert traced == written
    assert list(traced.weights) == list(written.weights)


BARE = {"aux_logits": False, "init_weights": False, "transform_input": False}


def vit():
    return models.VisionTransformer(32, 8, num_layers=4, num_heads=2, hidden_dim=16, mlp_dim=24, num_classes=5)


def convnext():
    stages = [models.convnext.CNBlockConfig(8, 16, 1), models.convnext.CNBlockConfig(16, None, 2)]
    return models.ConvNeXt(stages, stochastic_depth_prob=0.1, num_classes=5)


def narrow(make):
    """With a classifier of eight hidden units in place of thousands, and all weights drawn anew."""
    with torch.device("meta"):
        module = make()
    (inputs,) = {layer.in_features for layer in module.classifier if getattr(layer, "in_features", 4096) != 4096}
    module.classifier = nn.Sequential(nn.Dropout(), nn.Linear(inputs, 8), nn.ReLU(), nn.Linear(8, 5))
    module.to_empty(device="cpu")
    for parameter in module.parameters():
        nn.init.normal_(parameter, std=0.05)
    return module


def regnet():
    return models.RegNet(models.regnet.BlockParams.from_init_params(5, 16, 8, 2, 8, se_ratio=0.25), num_classes=5)


def resnext():
    block = models.resnet.Bottleneck
    return models.ResNet(block, [1, 1, 2, 1], num_classes=5, groups=4, width_per_group=4)


def swin(block, merging):
    return models.SwinTransformer(
        [4, 4], 12, [2, 2], [2, 3], [5, 3], num_classes=5, block=block, downsample_layer=merging, mlp_ratio=1.0
    )


def swin_v1():
    return swin(swin_transformer.SwinTransformerBlock, swin_transformer.PatchMerging)


def swin_v2():
    return swin(swin_transformer.SwinTransformerBlockV2, swin_transformer.PatchMergingV2)


def maxvit():
    return models.MaxVit((32, 32), 4, 2, [4, 8], [1, 2], 4, 0.1, num_classes=5)


# One small member of each family: how it is made, the size to trace it at, the size of the pictures to compare.
FAMILIES = {
    "alexnet": (lambda: narrow(models.AlexNet), (64, 64), (64, 96)),
    "vgg": (lambda: narrow(models.vgg11_bn), (32, 32), (32, 64)),
    "squeezenet": (lambda: models.squeezenet1_1(num_classes=5), (64, 64), (48, 64)),
    "densenet": (lambda: models.DenseNet(4, (2, 1, 1, 2), 8, 2, num_classes=5), (64, 64), (64, 96)),
    "inception": (lambda: models.inception_v3(num_classes=5, **BARE), (107, 107), (107, 107)),
    "googlenet": (lambda: models.googlenet(num_classes=5, **BARE), (64, 64), (32, 64)),
    "mobilenet_v2": (lambda: models.mobilenet_v2(num_classes=5, width_mult=0.35), (64, 64), (32, 64)),
    "mobilenet_v3": (lambda: models.mobilenet_v3_small(num_classes=5), (64, 64), (32, 64)),
    "efficientnet": (lambda: models.efficientnet_b0(num_classes=5), (64, 64), (32, 64)),
    "shufflenet": (lambda: models.shufflenet_v2_x0_5(num_classes=5), (64, 64), (32, 64)),
    "mnasnet": (lambda: models.mnasnet0_5(num_classes=5), (64, 64), (32, 64)),
    "regnet": (regnet, (64, 64), (32, 64)),
    "resnext": (resnext, (64, 64), (32, 64)),
    "convnext": (convnext, (64, 64), (32, 64)),
    "vit": (vit, (32, 32), (32, 32)),
    "swin": (swin_v1, (32, 32), (36, 52)),  # maps of 9 x 13, then 5 x 7, in windows of 5 x 3
    "swin_v2": (swin_v2, (32, 32), (36, 52)),
    "maxvit": (maxvit, (32, 32), (32, 32)),
}
FIXED = {"vit", "maxvit"}


def drawn(make):
    torch.manual_seed(0)
    module = make()
    randomize(module)
    return module.eval()


@pytest.mark.parametrize("family", FAMILIES)
def test_logits_of_a_graph_are_those_of_its_module(family):
    make, size, pictures = FAMILIES[family]
    module = drawn(make)
    graph = trace(module, size)
    assert (graph.classes, graph.size, graph.fixed) == (5, size, family in FIXED)
    assert difference(module, graph, torch.randn(2, 3, *pictures)) < 1e-6


@pytest.mark.parametrize("family", ["squeezenet", "densenet", "convnext", "vit"])
def test_shapes_of_a_graph_are_those_of_its_module(family):
    """At another size and another batch than those it was traced with, where it takes them."""
    make, size, pictures = FAMILIES[family]
    module = make().eval()
    graph, seen = trace(module, size), {}
    for name, layer in module.named_modules():
        layer.register_forward_hook(lambda m, given, result, name=name: seen.setdefault(name, result))
    with torch.inference_mode():
        module(torch.zeros(3, 3, *pictures))
    shapes = shapes_of(graph, pictures, batch=3)
    layers = [node.name for node in graph.nodes if node.kind in ("conv", "linear", "batch_norm", "max_pool")]
    assert layers
    for name in layers:
        assert shapes[name] == tuple(seen[name].shape)


@pytest.mark.parametrize("name", ["alexnet", "squeezenet1_1", "vit_b_32", "swin_t", "maxvit_t"])
def test_the_catalogue_is_what_the_tool_makes(name):
    assert unpacked((FOLDER / f"{name}{ENDING}").read_bytes()).decode() == graph_text(name)


def test_the_published_weights_are_those_of_torchvision():
    assert (FOLDER / PUBLISHED).read_text(encoding="utf-8") == published_text()


def test_auxiliary_networks_want_pictures_from_minus_one_to_one():
    """What torchvision does inside of them to pictures normalised as for ImageNet comes to a mean and a std of 0.5."""
    module = build("googlenet")
    module.transform_input = True
    pictures = torch.rand(1, 3, 4, 4)
    mean, std = (torch.tensor(v).view(1, 3, 1, 1) for v in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    inside = module._transform_input((pictures - mean) / std)
    torch.testing.assert_close(inside, (pictures - 0.5) / 0.5)


# ---- what a graph says


class Small(nn.Module):
    """A convolution, then whatever `between` does to its maps (N, 6, h, w), then the mean and a head."""

    def __init__(self, between=None):
        super().__init__()
        self.conv = nn.Conv2d(3, 6, 3, padding=1)
        self.between = between or nn.Identity()
        self.fc = nn.Linear(6, 2)

    def forward(self, x):
        return self.fc(self.between(self.conv(x)).mean((2, 3)))


def under_two_names(self, x):
    kept = x
    x += 1
    x -= 0.5
    x *= 2
    x /= 3
    count = less = x.shape[1]
    less -= 2
    return kept + x + torch.cat([x[:, :less], x[:, less:count]], 1)


BETWEEN = {
    "two names": Do(under_two_names),
    "in place": Do(in_place_twice, relu=nn.ReLU(inplace=True)),
    "a layer called twice": Do(lambda self, x: self.norm(self.norm(x).relu()), norm=nn.BatchNorm2d(6)),
    "parts": Do(lambda self, x: torch.cat([x[:, 4:], x[:, -4:-2], x.chunk(4, 1)[2]], 1)),
    "split": Do(lambda self, x: torch.cat(torch.split(x, 4, 1)[::-1], 1)),
    "shapes": Do(lambda self, x: x.view(x.shape[0], 2, 3, x.size(2), x.size(3)).transpose(1, 2).reshape(x.size())),
    "what is left": Do(lambda self, x: x.flatten(2).unsqueeze(3)),
    "stack": Do(lambda self, x: torch.stack([x, 2 * x], 1).sum(1) + torch.stack([x, x], 4).mean(4)),
    "numbers": Do(lambda self, x: (2 * x - 0.5) / 4 + 1),
    "products": Do(lambda self, x: (x @ x.transpose(2, 3)).softmax(-1)),
    "pools": Do(lambda self, x: functional.avg_pool2d(functional.max_pool2d(x, 3, 2, 1, ceil_mode=True), (2, 1))),
    "padding": nn.Conv2d(6, 6, (4, 3), padding="same", dilation=(1, 2), groups=3, bias=False),
    "pools of modules": nn.Sequential(nn.MaxPool2d(2, 1), nn.AvgPool2d(3, 2, 1, count_include_pad=False), nn.Tanh()),
}


@pytest.mark.filterwarnings("ignore:Using padding='same'")  # it may cost a copy: that is what is to be found out
@pytest.mark.parametrize("between", BETWEEN)
def test_what_a_forward_does_is_what_a_graph_says(between):
    module = drawn(lambda: Small(BETWEEN[between]))
    graph = trace(module, (24, 24))
    assert not graph.fixed
    assert difference(module, graph, torch.randn(3, 3, 10, 14)) < 1e-6


class OtherAttention(swin_transformer.ShiftedWindowAttention):
    def forward(self, x):
        return super().forward(x) * 2


def test_what_inherits_from_swins_attention_is_not_taken_for_it():
    own = Do(lambda self, x: self.attend(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2), attend=None)
    own.attend = swin_transformer.ShiftedWindowAttention(6, [2, 2], [1, 1], 2)
    kinds = [node.kind for node in trace(Small(own), (16, 16)).nodes]
    assert "window_attention" in kinds
    own.attend = OtherAttention(6, [2, 2], [1, 1], 2)
    with pytest.raises(BackendError, match=r"attend \(OtherAttention\): the function get_relative_position_bias"):
        trace(Small(own), (16, 16))


def test_nodes_with_weights_are_called_after_their_layers():
    block = Do(lambda self, x: self.norm(self.norm(x)), norm=nn.BatchNorm2d(6))
    graph = trace(Small(block), (16, 16))
    named = {node.name: list(node.weights.values()) for node in graph.nodes if node.weights}
    norm = [f"between.norm.{slot}" for slot in ("weight", "bias", "running_mean", "running_var")]
    assert named == {
        "conv": ["conv.weight", "conv.bias"], "between.norm": norm, "between.norm_1": norm,
        "fc": ["fc.weight", "fc.bias"],
    }  # fmt: skip
    assert list(graph.weights) == ["conv.weight", "conv.bias", *norm, "fc.weight", "fc.bias"]
    assert graph.head == "fc"


def test_what_does_nothing_is_left_out():
    idle = Do(lambda self, x: (self.drop(x).contiguous(), x + 1)[0], drop=nn.Dropout(0.0))
    assert [node.name for node in trace(Small(idle), (16, 16)).nodes] == ["image", "conv", "mean", "fc"]


def test_dropout_and_the_first_values_of_tables_are_kept():
    graph = trace(vit(), (32, 32))
    tables = {node.name: node.attributes for node in graph.nodes if node.kind == "table"}
    assert tables["class_token"] == {"fill": 0.0}
    assert tables["encoder.pos_embedding"] == {"std": pytest.approx(0.02, rel=0.25)}
    assert {node.attributes["fill"] for node in trace(convnext(), (32, 32)).nodes if node.kind == "table"} == {1e-6}
    (dropout,) = [node for node in trace(models.squeezenet1_1(num_classes=5), (64, 64)).nodes if node.kind == "dropout"]
    assert dropout.attributes == {"p": 0.5}


def test_a_module_in_training_is_traced_as_in_inference_and_left_alone():
    module = Small(nn.Sequential(nn.BatchNorm2d(6), nn.Dropout(0.5))).train()
    before = {name: value.clone() for name, value in module.state_dict().items()}
    graph = trace(module, (16, 16))
    assert module.training
    assert all(part.training for part in module.modules())
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())
    assert graph == trace(module.eval(), (16, 16))


def test_a_traced_graph_survives_json():
    graph = trace(vit(), (32, 32))
    assert graph_from_json(json.loads(json.dumps(graph.as_json()))) == graph


# ---- what no graph can say

UNKNOWN = {
    "convolution of time": (nn.Conv3d(6, 6, 1), "Conv3d"),
    "function": (Do(lambda self, x: torch.erf(x)), "erf"),
    "method": (Do(lambda self, x: x.cumsum(1)), "cumsum"),
    "padding": (nn.Conv2d(6, 6, 3, padding=1, padding_mode="reflect"), "padding_mode"),
    "norm": (nn.BatchNorm2d(6, affine=False), "BatchNorm2d"),
    "activation": (nn.Hardshrink(), "Hardshrink"),
    "statistics": (nn.BatchNorm2d(6, momentum=None), "momentum"),
    "argument": (Do(lambda self, x: torch.add(x, x, alpha=2)), "alpha"),
    "steps": (Do(lambda self, x: x[:, ::2].repeat(1, 2, 1, 1)), "a slice with steps"),
    "length": (Do(lambda self, x: x[:, :, :-1]), "follows the batch or the picture"),
    "number": (Do(lambda self, x: x / x.shape[2]), "follows the batch or the picture"),
    "buffer": (Do(lambda self, x: x * self.norm.running_mean.view(1, 6, 1, 1), norm=nn.BatchNorm2d(6)), "buffer"),
}


@pytest.mark.parametrize("what", UNKNOWN)
def test_what_is_unknown_is_refused_with_its_place_and_the_kinds(what):
    between, word = UNKNOWN[what]
    if what == "convolution of time":
        between = Do(lambda self, x: self.time(x.unsqueeze(2)).squeeze(2), time=between)
    with pytest.raises(BackendError) as caught:
        trace(Small(between), (16, 16))
    message = str(caught.value)
    assert word in message
    assert "between" in message
    assert "The kinds of nodes: image, table, conv" in message
    assert "\n" not in message


def changed(x):
    """All of it, in place."""
    x += 1
    return x


def halves(self, x):
    first, second = x.chunk(2, 1)
    return changed(first) + second, x


def flat(self, x):
    view = x.flatten(1)
    return view, functional.relu(x, inplace=True)


def through_a_view(self, x):
    return changed(x.permute(0, 2, 3, 1)), x.relu()


def idle(self, x):
    return changed(self.drop(x)), x.relu()  # at rest, dropout gives what it takes


@pytest.mark.parametrize("function", [halves, flat, through_a_view, idle])
def test_what_is_changed_in_place_while_a_view_of_it_is_read_again_is_refused(function):
    module = Small(Do(lambda self, x: sum(part.mean() for part in function(self, x)) + x.relu(), drop=nn.Dropout(0.5)))
    with pytest.raises(BackendError, match=r"in between \(Do\): changes in place what .* shares, which is read again"):
        trace(module, (16, 16))


def test_views_that_are_not_read_again_are_no_matter():
    def forward(self, x):
        x = changed(x.permute(0, 2, 3, 1).relu())
        first, _ = x.chunk(2, 3)
        return torch.cat([changed(first), first * 2], 3).permute(0, 3, 1, 2)

    module = drawn(lambda: Small(Do(forward)))
    assert difference(module, trace(module, (16, 16)), torch.randn(2, 3, 16, 16)) < 1e-6


@pytest.mark.parametrize(
    ("module", "words"),
    [
        (Do(lambda self, x: x if x.sum() > 0 else -x), "cannot be traced"),
        (Small(Do(lambda self, x: x.view(7, -1))), "takes no pictures of 16x16 pixels"),
        (Do(lambda self, x: (self.fc(x.mean((2, 3))), x), fc=nn.Linear(3, 2)), "gives no logits"),
        (Do(lambda self, x: self.conv(x), conv=nn.Conv2d(3, 2, 1)), "gives no logits"),
        (Do(lambda self, x: x.mean((2, 3))), "has no head"),
    ],
    ids=["control flow", "size", "two outputs", "maps", "no head"],
)
def test_what_is_no_classifier_is_refused(module, words):
    with pytest.raises(BackendError) as caught:
        trace(module, (16, 16))
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)
