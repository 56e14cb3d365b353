"""Networks that torch.fx cannot take apart, and torch.export can: the same logits, by the names of the state dict."""

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("torchvision")

from torch import nn  # noqa: E402
from torch.nn import functional  # noqa: E402
from torch_modules import Do, in_place_twice  # noqa: E402

from tools.same_logits import difference, randomize  # noqa: E402
from xfer.errors import BackendError  # noqa: E402
from xfer_torch import exported  # noqa: E402
from xfer_torch.trace import traced  # noqa: E402


class Deciding(nn.Module):
    """A forward that decides by the sizes it meets, which fx does not know; then whatever `between` does."""

    def __init__(self, between=None):
        super().__init__()
        self.conv = nn.Conv2d(3, 6, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(6)
        self.between = between or nn.ReLU(inplace=True)
        self.fc = nn.Linear(6, 2)

    def forward(self, x):
        x = self.norm(self.conv(x))
        x = functional.max_pool2d(x, 2) if min(x.shape[2:]) >= 16 else x
        return self.fc(self.between(x).mean((2, 3)))


def attention(self, x):
    """As people write it: tokens, queries, keys and values in one layer, and torch's own product of the three."""
    n, channels, *_ = x.shape
    tokens = x.flatten(2).transpose(1, 2) + self.position[:, :1]
    q, k, v = self.qkv(self.norm(tokens)).reshape(n, -1, 3, 2, channels // 2).permute(2, 0, 3, 1, 4).unbind(0)
    mixed = functional.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
    return (tokens + self.out(mixed)).transpose(1, 2).unsqueeze(3)


def attending():
    own = Do(attention, norm=nn.LayerNorm(6), qkv=nn.Linear(6, 18), out=nn.Linear(6, 6))
    own.register_parameter("position", nn.Parameter(torch.randn(1, 2, 6)))
    return own


def padded_by_size(self, x):
    """TensorFlow's padding, from the sides that a map has."""
    rows, columns = (max((-(-side // 2) - 1) * 2 + 3 - side, 0) for side in x.shape[2:])
    around = (columns // 2, columns - columns // 2, rows // 2, rows - rows // 2)
    return self.conv(functional.pad(x, around))


def pieces(self, x):
    a, b = x.split([2, 4], 1)
    return torch.cat([b[:, 1:], a, x[:, -1:], -x.select(1, 0).unsqueeze(1)], 1)[:, :6]


BETWEEN = {
    "nothing": None,
    "in place": lambda: Do(in_place_twice, relu=nn.ReLU(inplace=True)),
    "activations": lambda: nn.Sequential(nn.ReLU6(), nn.SiLU(), nn.Hardswish(), nn.GELU(), nn.Sigmoid(), nn.Tanh()),
    "gelu by tanh": lambda: nn.Sequential(nn.GELU("tanh"), nn.Hardsigmoid(), nn.Dropout(0.5)),
    "leaky": lambda: nn.LeakyReLU(0.1),
    "convolutions": lambda: nn.Sequential(
        nn.Conv2d(6, 6, (4, 3), padding="same", groups=3), nn.Conv2d(6, 6, 3, 2, (1, 0), dilation=2, bias=False)
    ),
    "pools": lambda: nn.Sequential(nn.MaxPool2d(3, 2, 1, ceil_mode=True), nn.AvgPool2d(2), nn.AdaptiveAvgPool2d(2)),
    "attention": attending,
    "padding by size": lambda: Do(padded_by_size, conv=nn.Conv2d(6, 6, 3, 2)),
    "pieces": lambda: Do(pieces),
    "stack": lambda: Do(lambda self, x: torch.stack([x, x.relu()], 1).sum(1) + torch.stack([x, -x], -1)[..., 0]),
    "a product added": lambda: Do(lambda self, x: torch.addcmul(x, x.relu(), x.mean(1, keepdim=True))),
    "numbers": lambda: Do(lambda self, x: (1 - 2 * x) / 4 - x.sum(1, keepdim=True)),
}


@pytest.mark.parametrize("between", BETWEEN)
def test_what_export_takes_has_the_logits_of_the_module(between):
    torch.manual_seed(0)
    make = BETWEEN[between]
    module = Deciding(make and make()).eval()
    randomize(module)
    result = traced(module, (24, 24))
    assert result.way == "torch.export"
    assert not result.graph.fixed
    assert difference(module, result.graph, torch.randn(3, 3, 24, 32)) < 1e-6
    assert set(result.graph.weights) == {name for name in module.state_dict() if "tracked" not in name}


def test_layers_are_called_as_in_the_module():
    graph = traced(Deciding(), (24, 24)).graph
    assert [node.name for node in graph.nodes] == ["image", "conv", "norm", "max_pool2d", "between", "mean", "fc"]
    assert graph.head == "fc"


def test_fx_comes_first():
    """Nobody waits for an export that is not needed."""
    padded = nn.Sequential(nn.Conv2d(3, 6, 1), nn.ZeroPad2d((0, 1, 2, 3)), nn.Conv2d(6, 6, 3))
    plain = nn.Sequential(padded, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 2)).eval()
    result = traced(plain, (16, 13))
    assert result.way == "torch.fx"
    assert difference(plain, result.graph, torch.randn(2, 3, 20, 17)) < 1e-6


@torch.fx.wrap
def opaque(x):
    return x.relu() * 2


def test_a_function_that_fx_does_not_look_into_is_left_to_export():
    module = nn.Sequential(nn.Conv2d(3, 6, 1), Do(lambda self, x: opaque(x)), nn.Flatten(), nn.Linear(6 * 64, 2)).eval()
    result = traced(module, (8, 8))
    assert result.way == "torch.export"
    assert difference(module, result.graph, torch.randn(3, 3, 8, 8)) < 1e-6


def test_what_neither_says_is_told_as_fx_sees_it():
    own = Do(lambda self, x: functional.normalize(x).relu())
    with pytest.raises(BackendError, match=r"normalize in 1 [(]Do[)]: the function normalize"):
        traced(nn.Sequential(nn.Conv2d(3, 6, 1), own, nn.Flatten(), nn.Linear(6 * 64, 2)), (8, 8))


@pytest.mark.parametrize(
    ("function", "words"),
    [
        (lambda self, x: x.cumsum(1), r"cumsum in between \(Do\): the function cumsum[.] The kinds of nodes: image"),
        (lambda self, x: x / x.shape[2], "follows the batch or the picture"),
        (lambda self, x: x * self.statistic.running_mean.view(1, 6, 1, 1), "the buffer between.statistic.running_mean"),
        (lambda self, x: functional.pad(x, (1, 1), value=1.0), "padding with 1.0"),
        (lambda self, x: x if x.sum() > 0 else -x, "cannot be traced"),
    ],
)
def test_what_neither_takes_is_refused_with_its_place(function, words):
    with pytest.raises(BackendError, match=words) as refused:
        traced(Deciding(Do(function, statistic=nn.BatchNorm2d(6))), (24, 24))
    assert "\n" not in str(refused.value)


def test_another_computation_for_each_batch_is_no_network():
    own = Do(lambda self, x: x.relu() if x.shape[0] == 2 else x)
    with pytest.raises(BackendError, match="not do the same for every batch"):
        exported.program(Deciding(own).to("meta").eval(), (24, 24))


def test_a_network_that_does_something_else_for_larger_pictures_takes_one_size():
    own = Do(lambda self, x: x.relu() if x.shape[2] == 12 else x)
    assert traced(Deciding(own).eval(), (24, 24)).graph.fixed
