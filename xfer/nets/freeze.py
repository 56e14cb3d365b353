"""The freeze policy, resolved to names: what an optimizer moves, what stays bit-identical, what merely follows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field
from typing import Literal

from xfer.archs import Arch, is_statistic, norm_layers
from xfer.backend import ParamGroup, ParamGroups
from xfer.errors import ConfigError, expected

NormStats = Literal["follow", "update", "freeze"]


@dataclass(frozen=True)
class FreezePolicy:
    """What a recipe says about who moves, and how fast.

    train_from   the first stage that is trained; all before it is frozen
    norm_stats   running statistics: `follow` their stage (frozen with it, updated with it), `update` everywhere
                 (what most tutorials do unawares: statistics drift under frozen weights), or `freeze` everywhere
    head_lr_mult the head's rate, relative to the rest
    weight_decay, decay_norm_and_bias   the decay, and whether it also acts on norm layers and biases
    layer_decay  what the rate is multiplied with for each block between a weight and the head: ELECTRA's layer-wise
                 decay (Clark et al. 2020)
    depths       of every weight, as `xfer.graphs.depth` counts them; without them, `layer_decay` does nothing
    """

    train_from: str
    norm_stats: NormStats = "follow"
    head_lr_mult: float = 1.0
    weight_decay: float = 0.0
    decay_norm_and_bias: bool = True
    layer_decay: float = 1.0
    depths: Mapping[str, int] = field(default_factory=dict)


def resolve(policy: FreezePolicy, arch: Arch, names: Sequence[str]) -> ParamGroups:
    """Sort every name of a network into its group. Raises ConfigError for an unknown stage."""
    stages = stages_from(policy.train_from, arch)
    trained = {name for name in names if arch.stage_of(name) in stages}
    statistics = {name for name in names if is_statistic(name)}
    updating = {"follow": statistics & trained, "update": statistics, "freeze": set()}[policy.norm_stats]
    moved = [name for name in names if name in trained and name not in statistics]
    return ParamGroups(
        trainable=_grouped(policy, arch, moved, frozenset(norm_layers(names))),
        frozen=frozenset(names) - frozenset(moved) - updating,
        updating=frozenset(updating),
    )


def stages_from(stage: str, arch: Arch) -> tuple[str, ...]:
    """The stage and all behind it. Raises ConfigError for an unknown one."""
    if stage not in arch.stage_names:
        raise ConfigError(expected("train_from", stage, arch.stage_names))
    return arch.stage_names[arch.stage_names.index(stage) :]


def _grouped(policy: FreezePolicy, arch: Arch, moved: Sequence[str], norms: Set[str]) -> tuple[ParamGroup, ...]:
    members: dict[tuple[float, float], list[str]] = {}
    spared = frozenset(arch.spared)
    deepest = max(policy.depths.values(), default=0)
    for name in moved:
        in_norm_or_bias = name.endswith(".bias") or name.rpartition(".")[0] in norms or name in spared
        decay = policy.weight_decay if policy.decay_norm_and_bias or not in_norm_or_bias else 0.0
        rate = policy.head_lr_mult if name in arch.head_names else 1.0
        rate *= policy.layer_decay ** (deepest - policy.depths.get(name, deepest))
        members.setdefault((rate, decay), []).append(name)
    return tuple(ParamGroup(tuple(group), rate, decay) for (rate, decay), group in members.items())
