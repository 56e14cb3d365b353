"""More of torch's modules as nodes: norms of groups, activations with weights, encoders. See `xfer_torch.translate`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import nn
from torch.nn import functional

from xfer_torch.sheet import Ref, Sheet, needs
from xfer_torch.translate import activation, attention, dropout, layer_norm_module, linear
from xfer_torch.translate_activations import gelu, prelu


def group_norm(sheet: Sheet, module: nn.GroupNorm, input: Ref) -> Ref:
    return _groups(sheet, module, input, module.num_groups)


def instance_norm(sheet: Sheet, module: nn.InstanceNorm2d, input: Ref) -> Ref:
    """Groups of one channel."""
    needs(not module.track_running_stats, "an InstanceNorm2d with statistics")
    return _groups(sheet, module, input, module.num_features)


def _groups(sheet: Sheet, module: nn.GroupNorm | nn.InstanceNorm2d, input: Ref, groups: int) -> Ref:
    slots = sheet.slots("weight", "bias")
    needs(len(slots) == 2, f"a {type(module).__name__} without weight and bias")
    return sheet.node("group_norm", input, weights=slots, groups=groups, eps=module.eps)


def prelu_module(sheet: Sheet, module: nn.PReLU, input: Ref) -> Ref:
    return prelu(sheet, input, Ref(f"{sheet.path}.weight", ((module.num_parameters,),) * len(input.shapes), True))


def encoder(sheet: Sheet, module: nn.TransformerEncoder, src: Ref, mask: Any = None, **masks: Any) -> Ref:
    needs(mask is None and not any(masks.values()), "an encoder with a mask")
    x, path = src, sheet.path
    for place, layer in enumerate(module.layers):
        with_path(sheet, f"{path}.layers.{place}")
        x = encoder_layer(sheet, layer, x)
    return x if module.norm is None else _layer(sheet, layer_norm_module, f"{path}.norm", module.norm, x)


def encoder_layer(
    sheet: Sheet, module: nn.TransformerEncoderLayer, src: Ref, src_mask: Any = None, **masks: Any
) -> Ref:
    """Of Vaswani et al. 2017; `norm_first` as in vision transformers."""
    needs(src_mask is None and not any(masks.values()), "an encoder layer with a mask")
    path, x = sheet.path, src
    bend = _activation(module.activation)

    def norm(number: int, input: Ref) -> Ref:
        return _layer(sheet, layer_norm_module, f"{path}.norm{number}", getattr(module, f"norm{number}"), input)

    def plus(a: Ref, b: Ref, number: int) -> Ref:
        rest = _layer(sheet, _dropped, f"{path}.dropout{number}", getattr(module, f"dropout{number}"), b)
        return sheet.part(f"{path}.add{number}", src.shapes, "add", a, rest)

    def attend(input: Ref) -> Ref:
        with_path(sheet, f"{path}.self_attn")
        return attention(sheet, module.self_attn, input, input, input)[0]

    def feed(input: Ref) -> Ref:
        wide = tuple((*shape[:-1], module.linear1.out_features) for shape in input.shapes)
        hidden = _layer(sheet, linear, f"{path}.linear1", module.linear1, input, wide)
        with_path(sheet, "", f"{path}.activation", wide)
        hidden = _layer(sheet, _dropped, f"{path}.dropout", module.dropout, bend(sheet, hidden), wide)
        return _layer(sheet, linear, f"{path}.linear2", module.linear2, hidden, input.shapes)

    if module.norm_first:
        x = plus(x, attend(norm(1, x)), 1)
        return plus(x, feed(norm(2, x)), 2)
    x = norm(1, plus(x, attend(x), 1))
    return norm(2, plus(x, feed(x), 2))


def with_path(sheet: Sheet, path: str, name: str = "", shapes: Any = None) -> None:
    """What is translated from now on."""
    sheet.path, sheet.name, sheet.shapes = path, name or path, shapes or sheet.shapes


def _layer(sheet: Sheet, translate: Callable[..., Ref], path: str, module: Any, input: Ref, shapes: Any = None) -> Ref:
    with_path(sheet, path, shapes=shapes or input.shapes)
    return translate(sheet, module, input)


def _dropped(sheet: Sheet, module: nn.Dropout, input: Ref) -> Ref:
    return dropout(sheet, input, module.p)


def _activation(function: Any) -> Callable[..., Ref]:
    if function is functional.relu or type(function) is nn.ReLU:
        return activation("relu")
    exact = function is functional.gelu or (type(function) is nn.GELU and function.approximate == "none")
    needs(exact, f"the activation {getattr(function, '__name__', type(function).__name__)} of an encoder")
    return gelu
