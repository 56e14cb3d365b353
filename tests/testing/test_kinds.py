"""The meaning of each kind of node, as formulas in NumPy, is torch's; a few values are worked out by hand."""

from math import erf, exp, log, sqrt

import numpy as np
import pytest
from kind_cases import CASES, ONE

from xfer.graphs.graph import Graph, Node
from xfer.testing.kinds import REFERENCE, evaluate

CLOSE = 1e-6


SWIN = {
    "qkv_weight": "qkv.weight", "qkv_bias": "qkv.bias", "proj_weight": "proj.weight", "proj_bias": "proj.bias",
    "table": "relative_position_bias_table", "logit_scale": "logit_scale",
    "mlp_in_weight": "cpb_mlp.0.weight", "mlp_in_bias": "cpb_mlp.0.bias", "mlp_out_weight": "cpb_mlp.2.weight",
}  # fmt: skip
"""Slot -> name in torchvision's module."""


def torch_of(torch):
    """Kind -> the same in torch, of the same arguments."""
    functional = torch.nn.functional

    def same(x, kernel, stride, dilation):
        padding = []
        for size, k, s, d in zip(x.shape[2:], kernel, stride, dilation, strict=True):
            total = max((-(-size // s) - 1) * s + (k - 1) * d + 1 - size, 0)
            padding += [total // 2, total - total // 2]
        return padding

    def conv(x, weight, bias=None, *, stride, padding, dilation, groups):
        if padding == "same":
            padding = same(x, weight.shape[2:], stride, dilation)
        top, bottom, left, right = padding
        return functional.conv2d(
            functional.pad(x, (left, right, top, bottom)), weight, bias, stride, 0, dilation, groups
        )

    def max_pool(x, kernel, stride, padding, dilation, ceil):
        if padding == "same":
            top, bottom, left, right = same(x, kernel, stride, dilation)
            x, padding = functional.pad(x, (left, right, top, bottom), value=float("-inf")), 0
        return functional.max_pool2d(x, kernel, stride, padding, dilation, ceil)

    def attention(x, in_weight, in_bias, out_weight, out_bias, *, heads):
        layer = torch.nn.MultiheadAttention(x.shape[2], heads, batch_first=True, dtype=x.dtype)
        given = {"in_proj_weight": in_weight, "in_proj_bias": in_bias}
        layer.load_state_dict(given | {"out_proj.weight": out_weight, "out_proj.bias": out_bias})
        return layer(x, x, x, need_weights=False)[0].detach()

    def windowed(kind):
        def attend(x, *, heads, window, shift, scale=None, **given):
            swin = pytest.importorskip("torchvision.models.swin_transformer")
            layer = getattr(swin, kind)(x.shape[3], window, shift, heads)
            if "mlp_in_bias" in given:
                layer.cpb_mlp[0], layer.cpb_mlp[2] = torch.nn.Linear(2, 5), torch.nn.Linear(5, heads, bias=False)
            layer.to(x.dtype).load_state_dict({SWIN[slot]: tensor for slot, tensor in given.items()}, strict=False)
            return layer(x).detach()

        return attend

    def patch_merge(x):
        return pytest.importorskip("torchvision.models.swin_transformer")._patch_merging_pad(x)

    def batch_norm(x, weight, bias, running_mean, running_var, *, eps, momentum, batch_statistics):
        return functional.batch_norm(x, running_mean, running_var, weight, bias, batch_statistics, momentum, eps)

    def two(of):
        return lambda a, b=None, value=None: of(a, value if b is None else b)

    def reshape(x, shape):
        return x.reshape([x.shape[int(s[1:])] if isinstance(s, str) else s for s in shape])

    return {
        "image": lambda x: x,
        "conv": conv,
        "linear": functional.linear,
        "batch_norm": batch_norm,
        "layer_norm": lambda x, weight, bias, eps: functional.layer_norm(x, x.shape[-1:], weight, bias, eps),
        **{kind: getattr(functional, kind) for kind in ("relu", "relu6", "gelu", "silu", "hardswish", "hardsigmoid")},
        "group_norm": lambda x, weight, bias, groups, eps: functional.group_norm(x, groups, weight, bias, eps),
        "leaky_relu": lambda x, slope: functional.leaky_relu(x, slope),
        "elu": lambda x, alpha: functional.elu(x, alpha),
        "softplus": functional.softplus,
        "clamp": lambda x, low, high: functional.hardtanh(x, low, high),
        "sigmoid": torch.sigmoid,
        "tanh": torch.tanh,
        "softmax": lambda x, axis: x.softmax(axis),
        "max_pool": max_pool,
        "avg_pool": lambda x, kernel, stride, padding, ceil, count_pad: functional.avg_pool2d(
            x, kernel, stride, padding, ceil, count_pad
        ),
        "adaptive_avg_pool": lambda x, size: functional.adaptive_avg_pool2d(x, size),
        "mean": lambda x, axes, keep: x.mean(axes, keepdim=keep),
        "max": lambda x, axes, keep: x.amax(axes, keepdim=keep),
        "pad": lambda x, padding: functional.pad(x, (*padding[2:], *padding[:2])),
        "add": two(torch.add),
        "mul": two(torch.mul),
        "cat": lambda *inputs, axis: torch.cat(inputs, axis),
        "slice": lambda x, axis, start, stop: x.narrow(axis, start, stop - start),
        "permute": lambda x, axes: x.permute(axes),
        "reshape": reshape,
        "flatten": lambda x, start: x.flatten(start),
        "expand": lambda x, like: x.expand(len(like), *x.shape[1:]),
        "table": lambda value: value,
        "attention": attention,
        "window_attention": windowed("ShiftedWindowAttention"),
        "cosine_window_attention": windowed("ShiftedWindowAttentionV2"),
        "patch_merge": patch_merge,
        "matmul": torch.matmul,
        "dropout": lambda x, p: functional.dropout(x, p, training=False),
        "stochastic_depth": lambda x, p, mode: x,
    }


def test_every_kind_has_a_case():
    assert {kind for kind, *_ in CASES} == set(REFERENCE)


@pytest.mark.parametrize(("kind", "inputs", "slots", "attributes"), CASES, ids=lambda x: x if type(x) is str else "")
def test_a_kind_means_what_it_means_in_torch(kind, inputs, slots, attributes):
    torch = pytest.importorskip("torch", reason="torch is not installed: nothing to compare with")
    rng = np.random.default_rng(0)
    given = [3 * rng.normal(size=shape) for shape in inputs]
    weights = {slot: rng.uniform(0.5, 2, shape) * rng.choice((-1, 1)) for slot, shape in slots.items()}
    weights |= {slot: abs(weight) for slot, weight in weights.items() if slot == "running_var"}
    value = REFERENCE[kind](*given, **weights, **attributes)
    tensors = {slot: torch.from_numpy(weight.copy()) for slot, weight in weights.items()}
    wanted = torch_of(torch)[kind](*[torch.from_numpy(x) for x in given], **tensors, **attributes).numpy()
    assert value.dtype == np.float64
    assert value.shape == wanted.shape
    assert np.abs(value - wanted).max() <= CLOSE * np.abs(wanted).max()


def row(*values):
    """Maps (1, 1, 1, W)."""
    return np.array(values, np.float64).reshape(1, 1, 1, -1)


def test_same_padding_has_its_odd_zero_behind():
    """Two outputs of stride 2 need 5 pixels of 4: 1, 2, 3, 4 and a zero."""
    given = {"stride": [1, 2], "padding": "same", "dilation": ONE, "groups": 1}
    assert REFERENCE["conv"](row(1, 2, 3, 4), row(100, 10, 1), **given).tolist() == row(123, 340).tolist()


def test_groups_see_their_own_channels():
    maps, weight = np.array([1.0, 2, 3, 4]).reshape(1, 4, 1, 1), np.array([[10.0, 1], [10, 1]]).reshape(2, 2, 1, 1)
    given = {"stride": ONE, "padding": [0, 0, 0, 0], "dilation": ONE, "groups": 2}
    assert REFERENCE["conv"](maps, weight, np.array([0.5, 0]), **given).ravel().tolist() == [12.5, 34]


@pytest.mark.parametrize(
    ("padding", "ceil", "count_pad", "means"),
    [
        (0, False, True, [3]),  # (2 + 4) / 2, and 9 is left over
        (0, True, True, [3, 9]),  # what lies beyond never counts
        (1, False, True, [1, 6.5]),
        (1, False, False, [2, 6.5]),
        (1, True, True, [1, 6.5]),  # a third window would begin in the padding behind
    ],
)
def test_what_counts_in_an_average(padding, ceil, count_pad, means):
    window = {"kernel": [1, 2], "stride": [1, 2], "padding": [0, padding], "ceil": ceil, "count_pad": count_pad}
    assert REFERENCE["avg_pool"](row(2, 4, 9), **window).ravel().tolist() == means


def test_maxima_see_no_padding():
    window = {"kernel": [1, 2], "stride": [1, 2], "padding": [0, 1], "dilation": ONE, "ceil": False}
    assert REFERENCE["max_pool"](row(-2, -4, -9, -1), **window).ravel().tolist() == [-2, -4, -1]


def test_same_padding_of_maxima_has_its_odd_entry_behind():
    """Windows of 3 in steps of 2 need 5 values of 4, and 7 of 5: one more behind, and one on each side."""
    window = {"kernel": [1, 3], "stride": [1, 2], "padding": "same", "dilation": ONE, "ceil": False}
    assert REFERENCE["max_pool"](row(-4, -2, -9, -7), **window).ravel().tolist() == [-2, -7]
    assert REFERENCE["max_pool"](row(-2, -4, -9, -1, -3), **window).ravel().tolist() == [-2, -1, -1]


def test_adaptive_bins_overlap():
    """Columns 0-1, 1-3, 3-4 of 5."""
    assert REFERENCE["adaptive_avg_pool"](row(1, 3, 5, 7, 9), size=[1, 3]).ravel().tolist() == [2, 5, 8]


def test_activations_by_hand():
    values = {"gelu": (1 + erf(1 / sqrt(2))) / 2, "silu": 1 / (1 + exp(-1)), "hardswish": 2 / 3, "hardsigmoid": 2 / 3}
    for kind, value in values.items():
        assert REFERENCE[kind](np.array([1.0]))[0] == pytest.approx(value, abs=1e-15)
    assert REFERENCE["elu"](np.array([-1.0]), alpha=2.0)[0] == pytest.approx(2 * (exp(-1) - 1), abs=1e-15)
    assert REFERENCE["softplus"](np.array([0, 1e4, -1e4])).tolist() == [log(2), 1e4, 0]
    assert REFERENCE["leaky_relu"](np.array([-2.0, 0, 3]), slope=0.5).tolist() == [-1, 0, 3]
    assert REFERENCE["clamp"](np.array([-2.0, 0, 3]), low=-1, high=2).tolist() == [-1, 0, 2]
    assert REFERENCE["sigmoid"](np.array([-1e4, 0, 1e4])).tolist() == [0, 0.5, 1]


NORM = {slot: slot for slot in ("weight", "bias", "running_mean", "running_var")}
SMALL = Graph(
    (
        Node("image", "image"),
        Node("norm", "batch_norm", ("image",), {"eps": 0.0, "momentum": 0.1}, NORM),
        Node("pool", "mean", ("norm",), {"axes": [2, 3], "keep": False}),
        Node("fc", "linear", ("pool",), {}, {"weight": "fc.weight", "bias": "fc.bias"}),
    ),
    {**dict.fromkeys(NORM, (3,)), "fc.weight": (2, 3), "fc.bias": (2,)},
    head="fc",
)
WEIGHTS = {
    **{name: np.full(3, value, np.float32) for name, value in zip(NORM, (2, 1, 3, 4), strict=True)},
    "fc.weight": np.array([[1, 0, 0], [0, 1, 1]], np.float32),
    "fc.bias": np.array([0, 10], np.float32),
}
IMAGES = np.stack([np.full((3, 1, 1), 1.0), np.full((3, 1, 1), 7.0)])


def test_a_graph_by_hand():
    """A channel becomes (x - 3) / 2 * 2 + 1 at rest, and (x - 4) / 3 * 2 + 1 with the batch's mean and deviation."""
    values = evaluate(SMALL, WEIGHTS, IMAGES)
    assert list(values) == ["image", "norm", "pool", "fc"]
    assert values["fc"].tolist() == [[-1, 8], [5, 20]]
    assert evaluate(SMALL, WEIGHTS, IMAGES, batch_statistics={"norm"})["fc"].tolist() == [[-1, 8], [3, 16]]


def test_dropout_is_of_what_enters_the_head():
    keep = np.array([[0, 1, 1], [2, 0, 2]], np.float32)
    values = evaluate(SMALL, WEIGHTS, IMAGES, masks={SMALL.head: keep})
    assert values["fc"].tolist() == [[0, 8], [10, 20]]
    assert values["pool"].tolist() == [[-1, -1, -1], [5, 5, 5]]
