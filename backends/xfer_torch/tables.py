"""What translates torch's modules, functions, methods and operators into kinds of nodes."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import nn
from torch.nn import functional
from torchvision.models.maxvit import RelativePositionalMultiHeadAttention
from torchvision.models.swin_transformer import ShiftedWindowAttention, ShiftedWindowAttentionV2, _patch_merging_pad
from torchvision.ops import stochastic_depth

from xfer_torch import translate, translate_named, translate_windows
from xfer_torch import translate_functions as functions

ACTIVATIONS: Mapping[str, tuple[Any, ...]] = {
    "relu": (nn.ReLU, functional.relu, torch.relu),
    "relu6": (nn.ReLU6, functional.relu6),
    "silu": (nn.SiLU, functional.silu),
    "hardswish": (nn.Hardswish, functional.hardswish),
    "hardsigmoid": (nn.Hardsigmoid, functional.hardsigmoid),
    "sigmoid": (nn.Sigmoid, functional.sigmoid, torch.sigmoid),
    "tanh": (nn.Tanh, functional.tanh, torch.tanh),
}
Translation = Callable[..., Any]

# Modules that are translated with the weights they have.
LAYERS: Mapping[type[nn.Module], Translation] = {
    nn.Conv2d: translate.conv,
    nn.Linear: translate.linear,
    nn.BatchNorm2d: translate.batch_norm,
    nn.LayerNorm: translate.layer_norm_module,
    nn.MultiheadAttention: translate.attention,
    ShiftedWindowAttention: translate_windows.window_attention,
    ShiftedWindowAttentionV2: translate_windows.cosine_window_attention,
    RelativePositionalMultiHeadAttention: translate_windows.partition_attention,
}
# Modules that are functions of their inputs and of settings: the attributes that hold them, in the function's order.
SETTINGS: dict[type[nn.Module], tuple[Translation, tuple[str, ...]]] = {
    nn.GELU: (functions.gelu, ("approximate",)),
    nn.Softmax: (translate.softmax, ("dim",)),
    nn.MaxPool2d: (
        translate.max_pool,
        ("kernel_size", "stride", "padding", "dilation", "ceil_mode", "return_indices"),
    ),
    nn.AvgPool2d: (
        translate.avg_pool,
        ("kernel_size", "stride", "padding", "ceil_mode", "count_include_pad", "divisor_override"),
    ),
    nn.AdaptiveAvgPool2d: (translate.adaptive_avg_pool, ("output_size",)),
    nn.Dropout: (translate.dropout, ("p",)),
    nn.Dropout2d: (translate.dropout, ("p",)),
    nn.Flatten: (translate.flatten, ("start_dim", "end_dim")),
    nn.LeakyReLU: (functions.leaky_relu, ("negative_slope",)),
    nn.ZeroPad2d: (functions.pad, ("padding",)),
    nn.Identity: (translate.unchanged, ()),
}
SETTINGS |= {module: (translate.activation(kind), ()) for kind, (module, *_) in ACTIVATIONS.items()}

FUNCTIONS: dict[Any, Translation] = {
    operator.add: translate.add,
    operator.iadd: translate.add,
    torch.add: translate.add,
    operator.sub: functions.sub,
    operator.mul: translate.mul,
    operator.imul: translate.mul,
    torch.mul: translate.mul,
    operator.truediv: translate.div,
    operator.matmul: translate.matmul,
    torch.matmul: translate.matmul,
    torch.bmm: translate.matmul,
    operator.getitem: translate.getitem,
    torch.cat: translate.cat,
    torch.chunk: translate.chunk,
    torch.split: translate.split,
    torch.flatten: translate.flatten,
    torch.reshape: translate.reshape,
    torch.squeeze: translate.reshape,
    torch.unsqueeze: translate.reshape,
    torch.permute: translate.permute,
    torch.transpose: translate.transpose,
    torch.swapaxes: translate.transpose,
    torch.mean: translate.mean,
    torch.softmax: translate.softmax,
    torch.max_pool2d: translate.max_pool,
    functional.max_pool2d: translate.max_pool,
    functional.avg_pool2d: translate.avg_pool,
    functional.adaptive_avg_pool2d: translate.adaptive_avg_pool,
    functional.dropout: translate.dropout,
    functional.gelu: functions.gelu,
    functional.conv2d: functions.conv2d,
    functional.linear: functions.linear,
    functional.batch_norm: functions.batch_norm,
    functional.layer_norm: functions.layer_norm,
    functional.leaky_relu: functions.leaky_relu,
    functional.hardtanh: functions.hardtanh,
    functional.pad: functions.pad,
    functional.softmax: translate.softmax,
    functional.scaled_dot_product_attention: functions.attention,
    torch.conv2d: functions.conv2d,
    torch.unbind: functions.unbind,
    torch.sum: functions.total,
    torch.sub: functions.sub,
    torch.neg: functions.neg,
    operator.neg: functions.neg,
    stochastic_depth: translate.stochastic_depth,
    _patch_merging_pad: translate_windows.patch_merge,
}
FUNCTIONS |= {other: translate.activation(kind) for kind, (_, *others) in ACTIVATIONS.items() for other in others}

METHODS: Mapping[str, Translation] = {
    "add": translate.add, "mul": translate.mul, "sub": functions.sub, "div": translate.div,
    "unbind": functions.unbind, "sum": functions.total, "neg": functions.neg, "select": functions.select,
    "clone": translate.unchanged, "detach": translate.unchanged,
    "add_": translate.add, "mul_": translate.mul, "matmul": translate.matmul,
    "chunk": translate.chunk, "split": translate.split, "mean": translate.mean, "softmax": translate.softmax,
    "flatten": translate.flatten, "view": translate.reshape, "reshape": translate.reshape,
    "squeeze": translate.reshape, "unsqueeze": translate.reshape, "permute": translate.permute,
    "transpose": translate.transpose, "expand": translate.expand, "contiguous": translate.unchanged,
    "relu": translate.activation("relu"), "relu_": translate.activation("relu"),
    "sigmoid": translate.activation("sigmoid"), "tanh": translate.activation("tanh"),
}  # fmt: skip

# Operators of ATen, by their names without overloads and underscores; those of methods mean the same there.
ATEN: Mapping[str, Translation] = {
    **METHODS,
    **{kind: translate.activation(kind) for kind in ACTIVATIONS},
    "conv2d": functions.conv2d, "linear": functions.linear, "batch_norm": functions.aten_batch_norm,
    "layer_norm": functions.layer_norm, "scaled_dot_product_attention": functions.attention,
    "gelu": functions.gelu, "leaky_relu": functions.leaky_relu, "hardtanh": functions.hardtanh,
    "max_pool2d": translate.max_pool, "avg_pool2d": translate.avg_pool,
    "adaptive_avg_pool2d": translate.adaptive_avg_pool, "cat": translate.cat, "bmm": translate.matmul,
    "dropout": translate.dropout, "feature_dropout": translate.dropout, "pad": functions.pad,
    "constant_pad_nd": functions.aten_constant_pad, "slice": functions.aten_slice,
    "split_with_sizes": translate.split, "alias": translate.unchanged, "swapaxes": translate.transpose,
    "unsafe_view": translate.reshape, "rsub": functions.aten_rsub,
}  # fmt: skip


# Modules of packages that need not be here, by where they are defined: whether one is translated whole, and by what.
NAMED: Mapping[str, tuple[Callable[[Any], bool], Translation]] = {
    "timm.layers.conv2d_same.Conv2dSame": (translate_named.is_whole, translate_named.conv_same),
    "timm.layers.pool2d_same.MaxPool2dSame": (translate_named.is_whole, translate_named.max_pool_same),
    "timm.layers.attention.Attention": (translate_named.is_plain, translate_named.attention),
}


def layer_of(module: nn.Module) -> Translation | None:
    """What translates a module with the weights it has, and the class itself, not what inherits from it."""
    if (known := LAYERS.get(type(module))) is not None:
        return known
    whole, translation = NAMED.get(f"{type(module).__module__}.{type(module).__qualname__}", (None, None))
    return translation if whole is not None and whole(module) else None
