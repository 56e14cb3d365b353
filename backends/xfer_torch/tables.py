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

from xfer_torch import translate, translate_layers, translate_named, translate_windows
from xfer_torch import translate_activations as activations
from xfer_torch import translate_functions as functions
from xfer_torch.translate_products import einsum

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
    nn.BatchNorm1d: translate.batch_norm,
    nn.GroupNorm: translate_layers.group_norm,
    nn.InstanceNorm2d: translate_layers.instance_norm,
    nn.PReLU: translate_layers.prelu_module,
    nn.TransformerEncoder: translate_layers.encoder,
    nn.TransformerEncoderLayer: translate_layers.encoder_layer,
    nn.LayerNorm: translate.layer_norm_module,
    nn.MultiheadAttention: translate.attention,
    ShiftedWindowAttention: translate_windows.window_attention,
    ShiftedWindowAttentionV2: translate_windows.cosine_window_attention,
    RelativePositionalMultiHeadAttention: translate_windows.partition_attention,
}
# Modules that are functions of their inputs and of settings: the attributes that hold them, in the function's order.
SETTINGS: dict[type[nn.Module], tuple[Translation, tuple[str, ...]]] = {
    nn.GELU: (activations.gelu, ("approximate",)),
    nn.ELU: (activations.elu, ("alpha",)),
    nn.SELU: (activations.selu, ()),
    nn.CELU: (activations.celu, ("alpha",)),
    nn.Mish: (activations.mish, ()),
    nn.Softplus: (activations.softplus, ("beta", "threshold")),
    nn.Hardtanh: (activations.hardtanh, ("min_val", "max_val")),
    nn.LogSoftmax: (functions.log_softmax, ("dim",)),
    nn.AdaptiveMaxPool2d: (functions.adaptive_max_pool, ("output_size", "return_indices")),
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
    nn.LeakyReLU: (activations.leaky_relu, ("negative_slope",)),
    nn.ZeroPad2d: (functions.pad, ("padding",)),
    nn.Identity: (translate.unchanged, ()),
}
SETTINGS |= {module: (translate.activation(kind), ()) for kind, (module, *_) in ACTIVATIONS.items()}

FUNCTIONS: dict[Any, Translation] = {
    operator.add: translate.add,
    operator.iadd: translate.add,
    torch.add: translate.add,
    operator.sub: functions.sub,
    operator.isub: functions.sub,
    operator.mul: translate.mul,
    operator.imul: translate.mul,
    torch.mul: translate.mul,
    operator.truediv: translate.div,
    operator.itruediv: translate.div,
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
    functional.gelu: activations.gelu,
    functional.elu: activations.elu,
    functional.selu: activations.selu,
    functional.celu: activations.celu,
    functional.mish: activations.mish,
    functional.prelu: activations.prelu,
    functional.softplus: activations.softplus,
    functional.conv2d: functions.conv2d,
    functional.linear: functions.linear,
    functional.batch_norm: functions.batch_norm,
    functional.layer_norm: functions.layer_norm,
    functional.leaky_relu: activations.leaky_relu,
    functional.hardtanh: activations.hardtanh,
    functional.group_norm: functions.group_norm,
    functional.log_softmax: functions.log_softmax,
    functional.adaptive_max_pool2d: functions.adaptive_max_pool,
    torch.log_softmax: functions.log_softmax,
    torch.amax: functions.largest,
    torch.clamp: activations.clamp,
    torch.square: functions.square,
    torch.pow: functions.power,
    operator.pow: functions.power,
    torch.concat: translate.cat,
    torch.einsum: einsum,
    functional.pad: functions.pad,
    functional.softmax: translate.softmax,
    functional.scaled_dot_product_attention: functions.attention,
    torch.conv2d: functions.conv2d,
    torch.unbind: functions.unbind,
    torch.stack: functions.stack,
    torch.sum: functions.total,
    torch.addcmul: functions.addcmul,
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
    "amax": functions.largest, "clamp": activations.clamp, "pow": functions.power, "square": functions.square,
    "log_softmax": functions.log_softmax, "clone": translate.unchanged, "detach": translate.unchanged,
    "add_": translate.add, "mul_": translate.mul, "matmul": translate.matmul,
    "chunk": translate.chunk, "split": translate.split, "mean": translate.mean, "softmax": translate.softmax,
    "flatten": translate.flatten, "view": translate.reshape, "reshape": translate.reshape,
    "squeeze": translate.reshape, "unsqueeze": translate.reshape, "permute": translate.permute,
    "transpose": translate.transpose, "expand": translate.expand, "contiguous": translate.unchanged,
    "reshape_as": translate.reshape, "view_as": translate.reshape,
    "relu": translate.activation("relu"), "relu_": translate.activation("relu"),
    "sigmoid": translate.activation("sigmoid"), "tanh": translate.activation("tanh"),
}  # fmt: skip

# Operators of ATen, by their names without overloads and underscores; those of methods mean the same there.
ATEN: Mapping[str, Translation] = {
    **METHODS,
    **{kind: translate.activation(kind) for kind in ACTIVATIONS},
    "conv2d": functions.conv2d, "linear": functions.linear, "batch_norm": functions.aten_batch_norm,
    "layer_norm": functions.layer_norm, "scaled_dot_product_attention": functions.attention,
    "gelu": activations.gelu, "leaky_relu": activations.leaky_relu, "hardtanh": activations.hardtanh,
    "elu": activations.elu, "selu": activations.selu, "celu": activations.celu, "mish": activations.mish,
    "softplus": activations.softplus, "group_norm": functions.group_norm, "einsum": einsum,
    "adaptive_max_pool2d": functions.aten_adaptive_max_pool, "prelu": activations.prelu,
    "instance_norm": functions.instance_norm, "concat": translate.cat,
    "max_pool2d": translate.max_pool, "avg_pool2d": translate.avg_pool,
    "adaptive_avg_pool2d": translate.adaptive_avg_pool, "cat": translate.cat, "stack": functions.stack,
    "bmm": translate.matmul,
    "dropout": translate.dropout, "feature_dropout": translate.dropout, "pad": functions.pad,
    "constant_pad_nd": functions.aten_constant_pad, "slice": functions.aten_slice,
    "split_with_sizes": translate.split, "alias": translate.unchanged, "swapaxes": translate.transpose,
    "unsafe_view": translate.reshape, "rsub": functions.aten_rsub,
    "addcmul": functions.addcmul,
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
