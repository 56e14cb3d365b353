"""What people write in forwards of their own: the graph's logits are the module's."""

from __future__ import annotations

import re

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("torchvision")

from torch import nn  # noqa: E402
from torch.nn import functional  # noqa: E402
from torch_modules import Do  # noqa: E402

from tools.same_logits import difference, randomize  # noqa: E402
from xfer.errors import BackendError  # noqa: E402
from xfer_torch.trace import trace, traced  # noqa: E402

SIDE, CLASSES, WIDTH = 32, 5, 8


class Between(nn.Module):
    """A convolution, something in between, and a head: torch.fx takes it apart by its layers.

    `decides`: a forward that asks for sizes, which torch.export alone can trace.
    """

    def __init__(self, between, decides=False):
        super().__init__()
        self.conv, self.between, self.fc = nn.Conv2d(3, WIDTH, 3, 2, 1), between, nn.Linear(WIDTH, CLASSES)
        self.decides = decides

    def forward(self, x):
        x = self.between(self.conv(x))
        if self.decides and x.shape[1] != WIDTH:
            raise ValueError(x.shape)
        return self.fc(x.mean((2, 3)))


class Patches(nn.Module):
    """Tokens of 16 numbers, of which `mix` gives others."""

    def __init__(self):
        super().__init__()
        self.conv, self.qkv, self.out = nn.Conv2d(3, 16, 8, 8), nn.Linear(16, 48), nn.Linear(16, 16)
        self.norm, self.fc = nn.LayerNorm(16), nn.Linear(16, CLASSES)

    def forward(self, x):
        x = self.conv(x).flatten(2).transpose(1, 2)
        return self.fc((x + self.mix(self.norm(x))).mean(1))


class ByEinsum(Patches):
    def mix(self, x):
        n, length, width = x.shape
        q, k, v = (part.view(n, length, 2, width // 2).transpose(1, 2) for part in self.qkv(x).chunk(3, -1))
        shares = (torch.einsum("bhid,bhjd->bhij", q, k) / (width // 2) ** 0.5).softmax(-1)
        return self.out(torch.einsum("bhij, bhjd -> bihd", shares, v).reshape(n, length, width))


class ByFunction(Patches):
    def mix(self, x):
        n, length, width = x.shape
        q, k, v = self.qkv(x).view(n, length, 3, 2, width // 2).permute(2, 0, 3, 1, 4).unbind(0)
        return self.out(functional.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(n, length, width))


class Encoder(nn.Module):
    """With a class token and positions, in torch's own encoder."""

    def __init__(self, whole=True, norm=False, **options):
        super().__init__()
        self.conv, self.fc = nn.Conv2d(3, 16, 8, 8), nn.Linear(16, CLASSES)
        self.token, self.places = nn.Parameter(torch.zeros(1, 1, 16)), nn.Parameter(0.1 * torch.randn(1, 17, 16))
        layers = [nn.TransformerEncoderLayer(16, 2, 24, batch_first=True, **options) for _ in range(2)]
        self.encoder = nn.Sequential(*layers)
        if whole:
            self.encoder = nn.TransformerEncoder(layers[0], 2, nn.LayerNorm(16) if norm else None, False)

    def forward(self, x):
        x = self.conv(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.token.expand(x.shape[0], -1, -1), x], 1) + self.places
        return self.fc(self.encoder(x)[:, 0])


class Vectors(nn.Module):
    """As heads are written."""

    def __init__(self):
        super().__init__()
        self.conv, self.hidden, self.norm = nn.Conv2d(3, WIDTH, 3, 2, 1), nn.Linear(2 * WIDTH, 6), nn.BatchNorm1d(6)
        self.fc = nn.Linear(6, CLASSES)

    def forward(self, x):
        x = self.conv(x)
        x = torch.cat([functional.adaptive_avg_pool2d(x, 1), functional.adaptive_max_pool2d(x, 1)], 1).flatten(1)
        return self.fc(functional.relu(self.norm(self.hidden(x))))


def applied(function):
    return Do(lambda self, x: function(x))


MODULES = {
    "leaky_relu": nn.LeakyReLU(0.1), "elu": nn.ELU(1.5), "selu": nn.SELU(), "celu": nn.CELU(0.7), "mish": nn.Mish(),
    "softplus": nn.Softplus(), "softplus beta": nn.Softplus(2), "hardtanh": nn.Hardtanh(-0.2, 0.3), "prelu": nn.PReLU(),
    "prelu of channels": nn.PReLU(WIDTH), "group_norm": nn.GroupNorm(2, WIDTH, eps=1e-3),
    "instance_norm": nn.InstanceNorm2d(WIDTH, affine=True), "adaptive_max": nn.AdaptiveMaxPool2d(1),
    "zeros before a convolution": nn.Sequential(nn.ZeroPad2d((1, 0, 2, 1)), nn.Conv2d(WIDTH, WIDTH, 3, 2)),
    "zeros before a pool": nn.Sequential(nn.ZeroPad2d((1, 0, 2, 1)), nn.MaxPool2d(3, 2)),
}  # fmt: skip
FUNCTIONS = {
    "leaky": lambda x: functional.leaky_relu(x, 0.2),
    "elu": functional.elu,
    "elu in place": lambda x: functional.elu(x, 0.5, True),
    "selu": functional.selu,
    "celu": lambda x: functional.celu(x, 2.0),
    "mish": functional.mish,
    "softplus": functional.softplus,
    "hardtanh": lambda x: functional.hardtanh(x, -0.1, 0.2),
    "clamp": lambda x: x.clamp(min=-0.1),
    "relu6": lambda x: x.clamp(0, 6),
    "clamp above": lambda x: torch.clamp(x, max=0.1),
    "relu": lambda x: torch.clamp(x, 0),
    "square": lambda x: x**2,
    "squares": lambda x: torch.square(x),
    "amax": lambda x: x.amax((2, 3), True),
    "less the mean": lambda x: x - x.mean(1, True),
    "from one": lambda x: 1 - x,
    "negative": lambda x: -x,
    "half": lambda x: x / 2,
    "pad": lambda x: functional.pad(x, (1, 2, 0, 1)),
    "sum": lambda x: x.sum(1, keepdim=True) * x,
    "einsum": lambda x: torch.einsum("nchw,ncvw->nchv", x, x),
    "concat": lambda x: torch.concat([x, x], 3),
}
NETWORKS = {
    "einsum": ByEinsum, "attention": ByFunction, "vectors": Vectors, "encoder": Encoder,
    "encoder with a norm": lambda: Encoder(norm=True, norm_first=True, activation="gelu"),
    "encoder layers": lambda: Encoder(whole=False, dropout=0.0, activation=nn.GELU()),
}  # fmt: skip


def moved(module):
    """With weights, and statistics, that are not what they begin as."""
    torch.manual_seed(0)
    randomize(module.eval())
    return module


def networks():
    between = MODULES | {f"function {name}": applied(function) for name, function in FUNCTIONS.items()}
    for decides in (False, True):
        way = "torch.export" if decides else "torch.fx"
        yield from ((f"{name}, {way}", lambda b=b, d=decides: Between(b, d), way) for name, b in between.items())
    yield from ((name, make, None) for name, make in NETWORKS.items())


@pytest.mark.parametrize(("make", "way"), [pytest.param(make, way, id=name) for name, make, way in networks()])
def test_a_graph_gives_the_modules_logits(make, way):
    module = moved(make())
    result = traced(module, (SIDE, SIDE))
    assert way in (None, result.way)
    assert difference(module, result.graph, torch.randn(3, 3, SIDE, SIDE)) < 1e-6


@pytest.mark.parametrize("make", [lambda: Between(nn.PReLU(8)), lambda: Between(nn.GroupNorm(2, 8)), Encoder])
def test_weights_keep_their_names(make):
    module = make()
    assert set(trace(module, (SIDE, SIDE)).weights) == set(module.state_dict())


@pytest.mark.parametrize(
    ("function", "ending"),
    [
        (lambda x: functional.log_softmax(x, dim=1), "log_softmax"),
        (lambda x: x.log_softmax(-1), "log_softmax"),
        (nn.LogSoftmax(dim=1), "log_softmax"),
        (nn.Softmax(dim=1), "softmax"),
        (lambda x: functional.softmax(x, -1), "softmax"),
        (nn.Identity(), ""),
    ],
)
def test_the_graph_ends_with_logits(function, ending):
    module = moved(
        nn.Sequential(Between(nn.ReLU()), function if isinstance(function, nn.Module) else applied(function))
    )
    result = traced(module, (SIDE, SIDE))
    assert result.ending == ending
    assert difference(module[:1], result.graph, torch.randn(3, 3, SIDE, SIDE)) < 1e-6


REFUSED = {
    "a softmax of pixels": (lambda x: functional.log_softmax(x, 1), "log_softmax but of logits"),
    "a power": (lambda x: x**3, "the power 3"),
    "a trace": (lambda x: torch.einsum("nchh->nch", x)[..., None], "einsum nchh->nch"),
    "an outer product": (lambda x: torch.einsum("nchw,nchv->nchwv", x, x).sum(4), "einsum nchw,nchv->nchwv"),
    "a limit that is a tensor": (lambda x: x.clamp(min=x.mean()), "clamp to a tensor"),
    "maxima of parts": (lambda x: functional.adaptive_max_pool2d(x, 2), "adaptive_max_pool2d to"),
    "a steep softplus": (lambda x: functional.softplus(x, threshold=1), "softplus with threshold = 1"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_no_kind_can_say_is_refused(what):
    function, words = REFUSED[what]
    with pytest.raises(BackendError, match=re.escape(words)):
        trace(Between(applied(function)), (SIDE, SIDE))


def test_what_follows_on_log_softmax_is_refused():
    with pytest.raises(BackendError, match="what follows on a log_softmax"):
        trace(nn.Sequential(Between(nn.ReLU()), nn.LogSoftmax(1), nn.ReLU()), (SIDE, SIDE))
