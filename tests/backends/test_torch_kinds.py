"""Every kind of node on torch, against torch's own modules and functions."""

import os
import subprocess
import sys

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("torchvision")

from torch import nn  # noqa: E402
from torch.nn import functional  # noqa: E402
from torch_networks import result_of  # noqa: E402
from torchvision.models import swin_transformer as swin  # noqa: E402

from xfer.graphs.kinds import KINDS as EVERY  # noqa: E402
from xfer_torch.kinds import KINDS  # noqa: E402

POOL = {"kernel": [3, 2], "stride": [2, 1], "padding": [1, 0], "ceil": True}


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


def of_single_pixels(padding, stride=(2, 2)):
    weight = draw(6, 4, 1, 1)
    sides = [padding[0], padding[0], padding[1], padding[1]]
    attributes = {"stride": [*stride], "padding": sides, "dilation": [1, 1], "groups": 1}
    padded = functional.pad(MAP, (padding[1], padding[1], padding[0], padding[0]))
    wanted = functional.conv2d(padded, weight, None, stride)
    return ("conv", attributes, (MAP,), {"weight": weight}, wanted)


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


def of_windows(make, kind, slots, **more):
    """Of MAP as maps (2, 4, 7, 6) with six channels behind, in windows that do not fit."""
    layer = make(6, [2, 3], [1, 2], 3)
    for parameter in layer.parameters():
        parameter.data.copy_(draw(*parameter.shape) / 2)
    weights = {slot: layer.get_parameter(name).detach() for slot, name in slots.items()}
    return kind, {"heads": 3, "window": [2, 3], "shift": [1, 2]} | more, (MAP,), weights, layer(MAP).detach()


LINEAR = {"qkv_weight": "qkv.weight", "qkv_bias": "qkv.bias", "proj_weight": "proj.weight", "proj_bias": "proj.bias"}
TABLE = {"table": "relative_position_bias_table"}
MLP = {"mlp_in_weight": "cpb_mlp.0.weight", "mlp_in_bias": "cpb_mlp.0.bias", "mlp_out_weight": "cpb_mlp.2.weight"}


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
    for padding, stride in (((0, 0), (2, 2)), ((1, 2), (2, 1)), ((0, 0), (3, 4))):
        yield of_single_pixels(padding, stride)
    yield "linear", {}, (VECTORS,), {"weight": weight, "bias": bias}, VECTORS @ weight.T + bias
    yield "linear", {}, (draw(2, 3, 5),), {"weight": weight}, draw(2, 3, 5) @ weight.T
    yield of_norm()
    scale, shift = draw(8), draw(8) + 1
    normed = functional.layer_norm(TOKENS, (8,), scale, shift, 0.1)
    yield "layer_norm", {"eps": 0.1}, (TOKENS,), {"weight": scale, "bias": shift}, normed
    pictures = functional.group_norm(MAP, 2, scale[:4], shift[:4], 0.1)
    yield "group_norm", {"groups": 2, "eps": 0.1}, (MAP,), {"weight": scale[:4], "bias": shift[:4]}, pictures
    plain = {"weight": torch.ones(4), "bias": torch.zeros(4)}
    yield "group_norm", {"groups": 4, "eps": 0.1}, (MAP,), plain, nn.InstanceNorm2d(4, eps=0.1)(MAP)
    yield "leaky_relu", {"slope": 0.2}, (MAP,), {}, nn.LeakyReLU(0.2)(MAP)
    yield "elu", {"alpha": 1.5}, (MAP,), {}, nn.ELU(1.5)(MAP)
    yield "clamp", {"low": -0.5, "high": 1.5}, (MAP,), {}, nn.Hardtanh(-0.5, 1.5)(MAP)
    activations = {
        "softplus": nn.Softplus(),
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
    behind = functional.pad(MAP - 5, (0, 1, 1, 1), value=float("-inf"))
    same = {"kernel": [3, 3], "stride": [2, 2], "padding": "same", "dilation": [1, 1], "ceil": False}
    yield "max_pool", same, (MAP - 5,), {}, nn.MaxPool2d(3, 2)(behind)
    for count in (True, False):
        wanted = nn.AvgPool2d((3, 2), (2, 1), (1, 0), ceil_mode=True, count_include_pad=count)(MAP)
        yield "avg_pool", POOL | {"count_pad": count}, (MAP,), {}, wanted
    yield "adaptive_avg_pool", {"size": [3, 4]}, (MAP,), {}, nn.AdaptiveAvgPool2d((3, 4))(MAP)
    yield "mean", {"axes": [2, 3], "keep": True}, (MAP,), {}, MAP.sum((2, 3), keepdim=True) / 42
    yield "mean", {"axes": [1], "keep": False}, (TOKENS,), {}, TOKENS.sum(1) / 5
    yield "max", {"axes": [2, 3], "keep": True}, (MAP - 5,), {}, nn.AdaptiveMaxPool2d(1)(MAP - 5)
    yield "max", {"axes": [1], "keep": False}, (TOKENS,), {}, TOKENS.sort(1).values[:, -1]
    yield "pad", {"padding": [1, 0, 2, 3]}, (MAP,), {}, nn.ZeroPad2d((2, 3, 1, 0))(MAP)
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
    yield of_windows(swin.ShiftedWindowAttention, "window_attention", LINEAR | TABLE, scale=2**-0.5)
    scaled = LINEAR | MLP | {"logit_scale": "logit_scale"}
    yield of_windows(swin.ShiftedWindowAttentionV2, "cosine_window_attention", scaled)
    yield "patch_merge", {}, (draw(2, 5, 3, 4),), {}, swin._patch_merging_pad(draw(2, 5, 3, 4))
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


def test_gradients_of_single_pixels_spoil_no_memory():
    """In a process of its own, whose allocator looks at what it is given back."""
    program = """
import torch
from xfer_torch.layers import conv
for stride in ((2, 2), (1, 2), (4, 4)):
    for channels in (2, 7):
        for _ in range(10):
            maps, weight = torch.randn(4, channels, 16, 16), torch.randn(6, channels, 1, 1)
            x, w = (t.contiguous(memory_format=torch.channels_last).requires_grad_() for t in (maps, weight))
            conv(x, w, stride=stride, padding=(0, 0, 0, 0)).sum().backward()
            used = [bytes(1000 * size) for size in range(1, 20)]
"""
    checked = os.environ | {"MALLOC_CHECK_": "3", "MALLOC_PERTURB_": "165", "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", program], env=checked, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_no_kind_goes_untested():
    assert {row[0] for row in ROWS} == KINDS - {"image"} == set(EVERY) - {"image"}
