"""Weights by canonical name: first values, and strict loading."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from zlib import crc32

import numpy as np

from xfer.archs import is_variance, norm_layers
from xfer.arrays import Float32, Weights
from xfer.errors import WeightsError
from xfer.graphs.graph import Graph, Node
from xfer.nets.first_rules import FirstRules, draws
from xfer.nets.guess import guess_arch

Shapes = Mapping[str, tuple[int, ...]]


# First values


def init_weights(shapes: Shapes, seed: int, graph: Graph | None = None, rules: FirstRules | None = None) -> Weights:
    """First values for every name; those of one name depend on the seed, that name, its shape and its kind only.

    Convolutions: normal, std sqrt(2 / fan_out) (He et al. 2015, "Delving Deep into Rectifiers", eq. 14, for ReLU; as in
    torchvision's residual networks). fan_out = out * kh * kw; depthwise (one input channel per group): kh * kw, the
    count of outputs that one input really reaches. Linear weights, and all biases: uniform within 1 / sqrt(fan_in)
    (LeCun et al. 1998, "Efficient BackProp", as torch's layers). Normalisation layers: the identity. What attention
    makes of its inputs: uniform within sqrt(6 / (fan_in + fan_out)) (Glorot and Bengio 2010, eq. 16, as torch's), its
    biases 0. Tables: as their node says, a value or the width of a normal distribution; else 0. Attention in windows:
    normal, std 0.02, its biases 0 and the logarithm of its scale log(10), as torchvision's Swin and MaxViT.

    `graph`: the network, where it is one; names and shapes tell what the weights of the others are. `rules`: of its
    family, for its convolutions and linear layers.
    """
    norms = frozenset(norm_layers(shapes))
    slots = {} if graph is None else {name: (n, slot) for n in graph.nodes for slot, name in n.weights.items()}
    by_rule = {} if graph is None or rules is None else draws(rules, graph)

    def first(name: str) -> Float32:
        if name not in by_rule:
            return _init(name, shapes, norms, seed, *slots.get(name, (None, "")))
        draw, weight = by_rule[name]
        return draw.values(shapes[name], weight, _generator(seed, name))

    return {name: first(name) for name in shapes}


def _generator(seed: int, name: str) -> np.random.Generator:
    """By name: the head is the same whatever the rest is."""
    return np.random.default_rng((seed, crc32(name.encode())))


def _init(name: str, shapes: Shapes, norms: frozenset[str], seed: int, node: Node | None, slot: str) -> Float32:
    shape, kind = shapes[name], "" if node is None else node.kind
    layer, _, leaf = name.rpartition(".")
    if layer in norms or kind in ("layer_norm", "group_norm"):
        return np.full(shape, 1.0 if leaf in ("weight", "running_var") else 0.0, np.float32)
    if kind == "attention" and slot.endswith("bias"):
        return np.zeros(shape, np.float32)
    if node is not None and kind in ("window_attention", "cosine_window_attention"):
        return _of_windows(slot, shape, _generator(seed, name))
    if node is not None and (kind == "table" or slot == "in_weight"):
        return _of_table(node, shape, _generator(seed, name))
    weight = shapes.get(f"{layer}.weight", ())
    if leaf not in ("weight", "bias") or len(weight) not in (2, 4):
        raise WeightsError(f"no rule for first values of {name} {shape}: expected a convolution, linear or norm layer")
    rng = _generator(seed, name)
    if leaf == "weight" and len(shape) == 4:
        fan_out = math.prod(shape[2:]) * (1 if shape[1] == 1 else shape[0])
        return (rng.standard_normal(shape) * math.sqrt(2 / fan_out)).astype(np.float32)
    bound = 1 / math.sqrt(math.prod(weight[1:]))
    return rng.uniform(-bound, bound, shape).astype(np.float32)


def _of_table(node: Node, shape: tuple[int, ...], rng: np.random.Generator) -> Float32:
    if node.kind == "attention":
        bound = math.sqrt(6 / sum(shape))
        return rng.uniform(-bound, bound, shape).astype(np.float32)
    if "std" in node.attributes:
        return (rng.standard_normal(shape) * float(node.attributes["std"])).astype(np.float32)
    return np.full(shape, float(node.attributes.get("fill", 0)), np.float32)


def _of_windows(slot: str, shape: tuple[int, ...], rng: np.random.Generator) -> Float32:
    if slot in ("qkv_bias", "proj_bias", "mlp_in_bias"):
        return np.zeros(shape, np.float32)
    if slot == "logit_scale":
        return np.full(shape, math.log(10), np.float32)
    return (rng.standard_normal(shape) * 0.02).astype(np.float32)


# What can be used


def unusable(weights: Mapping[str, Float32]) -> str:
    """What is wrong with the numbers themselves: values that are not finite, variances below 0; else empty."""
    faults = {
        "hold values that are not finite": [n for n, array in weights.items() if not np.isfinite(array).all()],
        "hold a variance below 0": [n for n, array in weights.items() if is_variance(n) and (array < 0).any()],
    }
    for fault, names in faults.items():
        if names:
            rest = f" and {len(names) - 1} more tensors" if len(names) > 1 else ""
            return f"{names[0]}{rest} {fault if rest else fault.replace('hold', 'holds', 1)}"
    return ""


def refuse_unusable(weights: Mapping[str, Float32], source: str) -> None:
    """Raises WeightsError, naming the source and the first tensor, for numbers that no network can go on from."""
    if fault := unusable(weights):
        raise WeightsError(f"{source}: {fault}. Cure: another file")


# Strict loading


def merge(
    shapes: Shapes,
    loaded: Mapping[str, Float32],
    head: Sequence[str],
    init: Mapping[str, Float32],
    source: str,
    *,
    keep_head: bool = False,
) -> Weights:
    """The weights a model starts from: every name of `shapes`, from `loaded`, except the head.

    The head (its weight's and bias's names) is taken from `init`, whatever `loaded` has there; with `keep_head` (to
    predict, or to go on training) it is held to the rule of the others: present, and of the same shape. A name that
    `shapes` lacks is refused. Raises WeightsError, naming `source` and the first tensors that do not fit.
    """
    replaced = () if keep_head else head
    wanted = [name for name in shapes if name not in replaced]
    faults = {
        "missing": [name for name in wanted if name not in loaded],
        "unexpected": [name for name in loaded if name not in shapes and name not in replaced],
        "of another shape": [
            f"{name} is {loaded[name].shape}, expected {tuple(shapes[name])}"
            for name in wanted
            if name in loaded and loaded[name].shape != tuple(shapes[name])
        ],
    }
    if any(faults.values()):
        summary = "; ".join(f"{len(names)} {fault}: {_first(names)}" for fault, names in faults.items() if names)
        raise WeightsError(f"{source} does not fit the network: {summary}. {_cure(shapes, loaded, not keep_head)}")
    return {name: init[name] if name in replaced else loaded[name] for name in shapes}


def _first(names: list[str]) -> str:
    rest = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(names[:3]) + rest


def _cure(shapes: Shapes, loaded: Mapping[str, Float32], to_train: bool) -> str:
    partly = ", or in a recipe weights.partial = true, to take what fits" if to_train else ""
    arch = guess_arch({name: array.shape for name, array in loaded.items()})
    if arch and arch != guess_arch(shapes):
        return f"The file looks like {arch}. Cure: use that architecture, or weights of this one{partly}"
    return f"Cure: use weights of this architecture{partly}"
