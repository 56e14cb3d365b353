"""Layers of a network that is a graph, and what the weights in them are called."""

from __future__ import annotations

from collections.abc import Mapping

MAP_NORM = "map_norm"
"""A layer norm over the channels of maps: one with a permutation before and after it, taken together."""

NORMS = ("batch_norm", "layer_norm", "group_norm", MAP_NORM)

PARTITION = "partition_attention"
"""Attention in windows whose weights have the names that MaxViT gives them, other than Swin's."""

_PLAIN = {"weight": "weight", "bias": "bias"}
_TABLE = "relative_position_bias_table"
_IN_AND_OUT = {
    "qkv_weight": "qkv.weight", "qkv_bias": "qkv.bias", "proj_weight": "proj.weight", "proj_bias": "proj.bias",
}  # fmt: skip
LEAVES: Mapping[str, Mapping[str, str]] = {
    "conv": _PLAIN,
    "linear": _PLAIN,
    "layer_norm": _PLAIN,
    "group_norm": _PLAIN,
    MAP_NORM: _PLAIN,
    "batch_norm": _PLAIN | {"running_mean": "running_mean", "running_var": "running_var"},
    "attention": {
        "in_weight": "in_proj_weight", "in_bias": "in_proj_bias",
        "out_weight": "out_proj.weight", "out_bias": "out_proj.bias",
    },
    "window_attention": {**_IN_AND_OUT, "table": _TABLE},
    PARTITION: {
        "qkv_weight": "to_qkv.weight", "qkv_bias": "to_qkv.bias",
        "proj_weight": "merge.weight", "proj_bias": "merge.bias", "table": _TABLE,
    },
    "cosine_window_attention": {
        **_IN_AND_OUT, "logit_scale": "logit_scale", "mlp_in_weight": "cpb_mlp.0.weight",
        "mlp_in_bias": "cpb_mlp.0.bias", "mlp_out_weight": "cpb_mlp.2.weight",
    },
}  # fmt: skip
"""Kind of layer -> slot -> what the canonical name of the weight in it ends with."""
