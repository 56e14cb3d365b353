"""Kinds of `xfer.graphs.kinds` that Swin and MaxViT have: attention within windows of maps (N, ..., H, W, D)."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import lru_cache

import torch
from torch import Tensor
from torch.nn import functional

APART = -100.0


def window_attention(
    x: Tensor, heads: int, window: Sequence[int], shift: Sequence[int], scale: float,
    qkv_weight: Tensor, qkv_bias: Tensor, proj_weight: Tensor, proj_bias: Tensor, table: Tensor,
) -> Tensor:  # fmt: skip
    def scores(query: Tensor, key: Tensor) -> Tensor:
        return query @ (key * scale).transpose(-2, -1)

    return _attend(x, heads, window, shift, scores, table, (qkv_weight, qkv_bias, proj_weight, proj_bias))


def cosine_window_attention(
    x: Tensor, heads: int, window: Sequence[int], shift: Sequence[int],
    qkv_weight: Tensor, qkv_bias: Tensor, proj_weight: Tensor, proj_bias: Tensor,
    logit_scale: Tensor, mlp_in_weight: Tensor, mlp_in_bias: Tensor, mlp_out_weight: Tensor,
) -> Tensor:  # fmt: skip
    width = x.shape[-1]
    ways = _ways((window[0], window[1]), x.device).to(mlp_in_weight.dtype)
    hidden = functional.relu(functional.linear(ways, mlp_in_weight, mlp_in_bias))
    table = 16 * torch.sigmoid(functional.linear(hidden, mlp_out_weight))
    without_keys = torch.cat([qkv_bias[:width], torch.zeros_like(qkv_bias[:width]), qkv_bias[2 * width :]])

    def scores(query: Tensor, key: Tensor) -> Tensor:
        cosines = functional.normalize(query, dim=-1) @ functional.normalize(key, dim=-1).transpose(-2, -1)
        return cosines * torch.clamp(logit_scale, max=math.log(100.0)).exp()

    return _attend(x, heads, window, shift, scores, table, (qkv_weight, without_keys, proj_weight, proj_bias))


def patch_merge(x: Tensor) -> Tensor:
    x = functional.pad(x, (0, 0, 0, x.shape[2] % 2, 0, x.shape[1] % 2))
    return torch.cat([x[:, row::2, column::2] for column in (0, 1) for row in (0, 1)], -1)


def _attend(
    x: Tensor, heads: int, window: Sequence[int], shift: Sequence[int],
    scores: Callable[[Tensor, Tensor], Tensor], table: Tensor, weights: tuple[Tensor, ...],
) -> Tensor:  # fmt: skip
    qkv_weight, qkv_bias, proj_weight, proj_bias = weights
    *_, height, width, channels = x.shape
    rows, columns = window
    below, right = -height % rows, -width % columns
    maps = functional.pad(x.reshape(-1, height, width, channels), (0, 0, 0, right, 0, below))
    n, high, wide, _ = maps.shape
    # An axis that one window covers is not shifted.
    down, along = (shift[0] if high > rows else 0, shift[1] if wide > columns else 0)
    if down or along:
        maps = maps.roll((-down, -along), (1, 2))
    cut = (n, high // rows, rows, wide // columns, columns, channels)
    tokens = maps.view(cut).transpose(2, 3).reshape(n, -1, rows * columns, channels)
    parts = functional.linear(tokens, qkv_weight, qkv_bias).view(*tokens.shape[:3], 3, heads, channels // heads)
    query, key, value = parts.permute(3, 0, 1, 4, 2, 5)  # each (n, windows, heads, tokens, channels / heads)
    biases = table[_pairs((rows, columns), x.device)].permute(2, 0, 1)
    if down or along:
        biases = biases + _apart((high, wide), (rows, columns), (down, along), x.device)
    mixed = torch.softmax(scores(query, key) + biases, -1) @ value
    result = functional.linear(mixed.transpose(2, 3).reshape(tokens.shape), proj_weight, proj_bias)
    maps = result.view(n, cut[1], cut[3], rows, columns, channels).transpose(2, 3).reshape(maps.shape)
    if down or along:
        maps = maps.roll((down, along), (1, 2))
    return maps[:, :height, :width].reshape(x.shape)


# Constants are made outside of inference mode: what is made in it takes no part in a training step later.


@lru_cache(maxsize=64)
@torch.inference_mode(False)
def _pairs(window: tuple[int, int], device: torch.device) -> Tensor:
    """(L, L): the way from one token of a window to another, as a row of the table."""
    rows, columns = window
    row, column = torch.meshgrid(torch.arange(rows), torch.arange(columns), indexing="ij")
    down, along = (axis.reshape(-1, 1) - axis.reshape(1, -1) for axis in (row, column))
    return ((down + rows - 1) * (2 * columns - 1) + along + columns - 1).to(device)


@lru_cache(maxsize=64)
@torch.inference_mode(False)
def _ways(window: tuple[int, int], device: torch.device) -> Tensor:
    """(R, 2): height and width of each way, on a logarithmic scale from -1 to 1 and a little beyond."""
    sides = [torch.arange(1 - side, side, dtype=torch.float32) / max(side - 1, 1) for side in window]
    ways = torch.stack(torch.meshgrid(*sides, indexing="ij"), -1).reshape(-1, 2) * 8
    return (torch.sign(ways) * torch.log2(ways.abs() + 1) / 3).to(device)


@lru_cache(maxsize=64)
@torch.inference_mode(False)
def _apart(sides: tuple[int, int], window: tuple[int, int], shift: tuple[int, int], device: torch.device) -> Tensor:
    """(windows, 1, L, L): APART where two tokens of a window were not next to each other before the shift."""
    numbers = []
    for side, length, moved in zip(sides, window, shift, strict=True):
        places = torch.arange(side)
        behind = (places >= side - length).int() + (places >= side - moved).int()
        numbers.append((behind if moved else torch.zeros_like(behind)).view(-1, length))
    regions = (3 * numbers[0][:, None, :, None] + numbers[1][None, :, None, :]).reshape(-1, window[0] * window[1])
    return torch.where(regions[:, :, None] == regions[:, None], 0.0, APART)[:, None].to(device)
