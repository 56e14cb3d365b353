"""Cells that written source brings along, and the names that are taken in MindSpore's cells."""

from __future__ import annotations

import re
from collections.abc import Container, Iterator, Mapping

from xfer.porting import window_helpers

HELPERS: Mapping[str, str] = {
    "Tanh": '''class Tanh(nn.Cell):
    """By a sigmoid, as on a CPU ops.tanh is off by 2e-5."""

    def construct(self, x):
        return 2 * ops.sigmoid(2 * x) - 1
''',
    "elu": '''def elu(x, alpha):
    """By expm1, as ops.elu knows no other alpha than 1."""
    return ops.where(x > 0, x, alpha * ops.expm1(ops.minimum(x, 0.0)))
''',
    "softplus": '''def softplus(x):
    """log(1 + exp(x)), without overflow."""
    return ops.relu(x) + ops.log1p(ops.exp(-ops.abs(x)))
''',
    "Permute": """class Permute(nn.Cell):
    def __init__(self, *axes):
        super().__init__()
        self.axes = axes

    def construct(self, x):
        return x.transpose(self.axes)
""",
    "LayerNorm2d": '''class LayerNorm2d(nn.Cell):
    """Layer normalisation over the channels of maps (N, C, H, W)."""

    def __init__(self, channels, epsilon):
        super().__init__()
        self.normalise = ops.LayerNorm(-1, -1, epsilon)
        self.gamma = Parameter(initializer("ones", (channels,), ms.float32))
        self.beta = Parameter(initializer("zeros", (channels,), ms.float32))

    def construct(self, x):
        return self.normalise(x.transpose(0, 2, 3, 1), self.gamma, self.beta)[0].transpose(0, 3, 1, 2)
''',
    "SelfAttention": '''class SelfAttention(nn.Cell):
    """(N, L, width) -> (N, L, width)."""

    def __init__(self, width, heads):
        super().__init__()
        self.heads = heads
        self.in_proj_weight = Parameter(initializer("xavier_uniform", (3 * width, width), ms.float32))
        self.in_proj_bias = Parameter(initializer("zeros", (3 * width,), ms.float32))
        self.out_proj = nn.Dense(width, width)

    def construct(self, x):
        batch, length, width = x.shape
        depth = width // self.heads
        qkv = ops.dense(x, self.in_proj_weight, self.in_proj_bias)
        qkv = qkv.reshape(batch, length, 3, self.heads, depth).transpose(2, 0, 3, 1, 4)
        query, key, value = qkv[0], qkv[1], qkv[2]
        shares = ops.softmax(ops.matmul(query, key.swapaxes(2, 3)) * depth**-0.5, -1)
        mixed = ops.matmul(shares, value).transpose(0, 2, 1, 3)
        return self.out_proj(mixed.reshape(batch, length, width))
''',
    "Parts": '''class Parts(nn.Cell):
    """Layers and parameters of one name, which the cell around it uses one by one."""

    def __init__(self, **parts):
        super().__init__()
        for name, part in parts.items():
            setattr(self, name, part)
''',
    **window_helpers.HELPERS,
}
"""Name -> class, or function. Source has those that it uses, and those that they use, which come before them."""


def used_in(body: str) -> list[str]:
    """The text of the helpers that source needs, in order."""
    return list(_used(body))[::-1]


def _used(body: str) -> Iterator[str]:
    for name, text in reversed(list(HELPERS.items())):
        if re.search(rf"\b{name}[()]", body):
            body += text
            yield text


_NAMES = """
IGNORE_LIST T_destination add_flags add_flags_recursive append apply arguments_key bprop_debug buffers
cast_inputs cell_init_args cell_list cell_type cells cells_and_names check_names check_names_and_refresh_name
cls_name compile compile_and_run compile_cache compile_phase compiled construct create_time enable_backward_hook
exist_names exist_objs extend extend_repr generate_scope global_cells grad_ops_label has_bprop bprop
init_parameters_data insert insert_child_to_cell insert_param_to_cell is_top_cell jit_config_dict
load_state_dict name name_cells named_buffers offload param_prefix parameter_layout_dict parameters_and_names
parameters_broadcast_dict parameters_dict phase phase_cache pipeline_segment pipeline_stage recompute
remove_redundant_parameters requires_grad run_construct self shard state_dict to to_empty to_float
total_instance_count trainable_params training untrainable_params
"""
NAMES_OF_CELLS = frozenset(_NAMES.split())
"""Attributes that MindSpore's cells have themselves: no layer can be one."""
PREFIXES_OF_CELLS = ("set_", "get_", "register_", "update_", "parallel_", "mixed_precision_", "_")
"""And what the names of others begin with."""


def free_name(name: str, taken: Container[str], before_number: str = "") -> str:
    """The name, or else the first with a number behind it that is not taken."""
    number, free = 1, name
    while free in taken:
        number += 1
        free = f"{name}{before_number}{number}"
    return free
