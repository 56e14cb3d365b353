"""Modules of timm as nodes: see `xfer_torch.translate`. timm itself is not imported."""

from __future__ import annotations

from typing import Any

from torch import nn

from xfer_torch.sheet import Ref, Sheet, needs, pair


def is_whole(module: nn.Module) -> bool:
    return True


def conv_same(sheet: Sheet, module: Any, input: Ref) -> Ref:
    """Padded as TensorFlow does, whatever the size of the picture."""
    return sheet.node(
        "conv", input, weights=sheet.slots("weight", "bias"), stride=pair(module.stride), padding="same",
        dilation=pair(module.dilation), groups=module.groups,
    )  # fmt: skip


def max_pool_same(sheet: Sheet, module: Any, input: Ref) -> Ref:
    needs(pair(module.dilation) == [1, 1] and not module.ceil_mode, "MaxPool2dSame with a dilation, or rounded up")
    return sheet.node(
        "max_pool", input, kernel=pair(module.kernel_size), stride=pair(module.stride), padding="same",
        dilation=[1, 1], ceil=False,
    )  # fmt: skip


def is_plain(module: Any) -> bool:
    """Whether it is what torch.nn.MultiheadAttention is: with all biases, and nothing in between."""
    between = (getattr(module, name, None) for name in ("q_norm", "k_norm", "norm"))
    biased = module.qkv.bias is not None and module.proj.bias is not None
    width = module.proj.out_features
    square = module.qkv.in_features == width and module.qkv.out_features == 3 * width
    alone = all(isinstance(part, nn.Identity) for part in between) and getattr(module, "gate", None) is None
    return biased and square and alone


def attention(sheet: Sheet, module: Any, input: Ref, attn_mask: Any = None, is_causal: bool = False) -> Ref:
    needs(attn_mask is None and not is_causal, "attention with a mask")
    slots = {"in_weight": "qkv.weight", "in_bias": "qkv.bias", "out_weight": "proj.weight", "out_bias": "proj.bias"}
    slots = {slot: f"{sheet.path}.{name}" for slot, name in slots.items()}
    return sheet.node("attention", input, weights=slots, heads=module.num_heads)
