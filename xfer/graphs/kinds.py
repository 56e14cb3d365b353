"""The kinds of nodes, a closed set: what each takes, its attributes, and the weights in its slots.

N is the batch, maps are (N, C, H, W) and tokens (N, L, D), all float32. Axes count from 0, which is that of the batch.
A backend has a function for each kind, and whatever makes graphs has nothing else to make them of.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

MOST_ENTRIES = 2**31 - 1
"""Of a weight along one axis, and of every size in a graph: what frameworks count in 32 bits."""
MOST_SIDE = 4096
"""Of a kernel, a stride, a padding and what is pooled to: pictures and their maps have no longer sides."""
MOST_WINDOW = 64
"""Of a side of a window of attention: each of its tokens looks at each, 16 million pairs."""
MOST_AXES = 8
MOST_FLOAT = 1e38


@dataclass(frozen=True)
class Values:
    """What an attribute can be: in words, and as a test."""

    text: str
    holds: Callable[[Any], bool]


@dataclass(frozen=True)
class Kind:
    """What a node of a kind has.

    inputs    how many, at least and at most
    required  name -> values, of attributes that every node has; `optional`, of those that may be absent
    slots     slot -> the weight's shape, a letter for each axis: letters that are the same are the same number, 3D is
              three times D, and digits alone are that number. "..." is any shape. Those in `spare` may be absent
    """

    inputs: tuple[int, int]
    required: Mapping[str, Values] = field(default_factory=dict)
    optional: Mapping[str, Values] = field(default_factory=dict)
    slots: Mapping[str, str] = field(default_factory=dict)
    spare: frozenset[str] = frozenset()


def is_integer(value: Any, low: int, high: int) -> bool:
    """A whole number in [low, high]; True and False are none."""
    return type(value) is int and low <= value <= high


def is_number(value: Any) -> bool:
    """What float32 can hold, and no boolean."""
    return type(value) in (int, float) and abs(value) <= MOST_FLOAT


def _integers(length: int, low: int, high: int) -> Values:
    return Values(
        f"a list of {length} integers from {low} to {high:,}",
        lambda v: isinstance(v, list) and len(v) == length and all(is_integer(i, low, high) for i in v),
    )


def _or_same(sides: Values) -> Values:
    return Values(f'{sides.text}, or "same"', lambda v: v == "same" or sides.holds(v))


def _axes(value: Any) -> bool:
    """Each axis once at most."""
    known = isinstance(value, list) and 1 <= len(value) <= MOST_AXES and all(_AXIS.holds(axis) for axis in value)
    return known and len(set(value)) == len(value)


def _order(value: Any) -> bool:
    return _axes(value) and sorted(value) == list(range(len(value)))


def _sizes(value: Any) -> bool:
    """Sizes of a reshape, of which one at most is what is left."""
    if not isinstance(value, list) or not 1 <= len(value) <= MOST_AXES:
        return False
    sizes = [size for size in value if size != -1 or type(size) is not int]
    return len(value) - len(sizes) <= 1 and all(is_integer(size, 1, MOST_ENTRIES) or is_axis_of(size) for size in sizes)


def is_axis_of(size: Any) -> bool:
    """Whether a size of a reshape is that of an axis of its input: "@1"."""
    return isinstance(size, str) and len(size) == 2 and size[0] == "@" and size[1] in "01234567"


_AXIS = Values(f"an axis, 0 to {MOST_AXES - 1}", lambda v: is_integer(v, 0, MOST_AXES - 1))
_BOOL = Values("true or false", lambda v: isinstance(v, bool))
_COUNT = Values(f"an integer from 1 to {MOST_ENTRIES:,}", lambda v: is_integer(v, 1, MOST_ENTRIES))
_PLACE = Values(f"an integer from 0 to {MOST_ENTRIES:,}", lambda v: is_integer(v, 0, MOST_ENTRIES))
_NUMBER = Values("a number that float32 holds", is_number)
_SHARE = Values("a number from 0 to 1", lambda v: is_number(v) and 0 <= v <= 1)
_ABOVE_ZERO = Values("a number above 0, at most 1", lambda v: is_number(v) and 0 < v <= 1)
_WIDTH = Values("a number from 0", lambda v: is_number(v) and v >= 0)
_CHANNELS = Values("1 or 4", lambda v: is_integer(v, 1, 4) and v in (1, 4))
_PAIR = _integers(2, 1, MOST_SIDE)
_PAD_PAIR = _integers(2, 0, MOST_SIDE)
_PADS = _integers(4, 0, MOST_SIDE)
_PAD_PAIR_OR_SAME, _PADDING = _or_same(_PAD_PAIR), _or_same(_PADS)
_WINDOW = _integers(2, 1, MOST_WINDOW)
_SHIFT = _integers(2, 0, MOST_WINDOW - 1)
_AXES = Values("a list of axes, each once", _axes)
_ORDER = Values("a list of all axes, each once", _order)
_SIZES = Values('a list of sizes: integers above 0, "@0" to "@7", and -1 once at most', _sizes)
_MODE = Values('"row" or "batch"', lambda v: v in ("row", "batch"))

_ONE = (1, 1)
_MANY = 20_000

_OF_WINDOWS = {"qkv_weight": "3D D", "qkv_bias": "3D", "proj_weight": "D D", "proj_bias": "D"}
_OF_WAYS = {"mlp_in_weight": "M 2", "mlp_in_bias": "M", "mlp_out_weight": "H M"}

KINDS: Mapping[str, Kind] = {
    # The normalised picture (N, 3, H, W): the first node, of the same name; with `channels`, of 1 or 4 (N, C, H, W).
    "image": Kind((0, 0), optional={"channels": _CHANNELS}),
    # A parameter by itself: a class token, a position embedding, the scale of a layer. Its first values are all `fill`,
    # or of a normal distribution around 0 of the standard deviation `std`.
    "table": Kind((0, 0), optional={"fill": _NUMBER, "std": _WIDTH}, slots={"value": "..."}),
    # Padding is of zeros: top, bottom, left, right; "same" is TensorFlow's, whose odd pixel is at the end.
    "conv": Kind(
        _ONE,
        {"stride": _PAIR, "padding": _PADDING, "dilation": _PAIR, "groups": _COUNT},
        slots={"weight": "O I h w", "bias": "O"},
        spare=frozenset({"bias"}),
    ),
    # On the last axis.
    "linear": Kind(_ONE, slots={"weight": "O I", "bias": "O"}, spare=frozenset({"bias"})),
    # On axis 1. Momentum is the share of the batch in running statistics.
    "batch_norm": Kind(
        _ONE,
        {"eps": _ABOVE_ZERO, "momentum": _SHARE},
        slots={"weight": "C", "bias": "C", "running_mean": "C", "running_var": "C"},
    ),
    # Over the last axis.
    "layer_norm": Kind(_ONE, {"eps": _ABOVE_ZERO}, slots={"weight": "D", "bias": "D"}),
    # Each picture by itself: axis 1 in `groups` parts of one mean and variance each, over all axes behind it too.
    "group_norm": Kind(_ONE, {"groups": _COUNT, "eps": _ABOVE_ZERO}, slots={"weight": "C", "bias": "C"}),
    # (N, L, D) -> (N, L, D): self-attention as torch.nn.MultiheadAttention(batch_first=True) has it.
    "attention": Kind(
        _ONE,
        {"heads": _COUNT},
        slots={"in_weight": "3D D", "in_bias": "3D", "out_weight": "D D", "out_bias": "D"},
    ),
    # Self-attention within windows of (N, ..., H, W, D), as Swin's: `window` is (height, width) of one. Zeros behind
    # rows and columns fill up the last windows, and are tokens as any other. The windows lie `shift` further down and
    # right, around the edges, and what was not next to each other does not look at each other: -100 is added there.
    # An axis that one window covers is not shifted. `table` has a row of biases for each way from one token to another,
    # (2 h - 1) (2 w - 1) of them. Products of queries and keys are multiplied by `scale`.
    "window_attention": Kind(
        _ONE,
        {"heads": _COUNT, "window": _WINDOW, "shift": _SHIFT, "scale": _NUMBER},
        slots={**_OF_WINDOWS, "table": "R H"},
    ),
    # The same with cosines, as Swin V2's: queries and keys have length 1, their product is multiplied by
    # exp(min(logit_scale, log 100)), and the keys' bias is taken as 0. The biases are 16 sigmoid(mlp(way)), the ways on
    # a logarithmic scale.
    "cosine_window_attention": Kind(
        _ONE,
        {"heads": _COUNT, "window": _WINDOW, "shift": _SHIFT},
        slots={**_OF_WINDOWS, "logit_scale": "H 1 1", **_OF_WAYS},
    ),
    # (N, H, W, C) -> (N, H / 2, W / 2, 4 C), sides rounded up with zeros behind them: of each square of four, the upper
    # left one, that below it, the upper right one, and that below it.
    "patch_merge": Kind(_ONE),
    "relu": Kind(_ONE),
    "relu6": Kind(_ONE),
    "gelu": Kind(_ONE),  # exact, with erf
    "silu": Kind(_ONE),
    "hardswish": Kind(_ONE),
    "hardsigmoid": Kind(_ONE),
    "sigmoid": Kind(_ONE),
    "tanh": Kind(_ONE),
    "leaky_relu": Kind(_ONE, {"slope": _NUMBER}),  # of negative values
    "elu": Kind(_ONE, {"alpha": _NUMBER}),
    "softplus": Kind(_ONE),
    "clamp": Kind(_ONE, {"low": _NUMBER, "high": _NUMBER}),
    "softmax": Kind(_ONE, {"axis": _AXIS}),
    # torch's meaning of `ceil`: a last window that begins inside of the map or its left padding. Padding is on both
    # sides, of minus infinity; of zeros for `avg_pool`, where `count_pad` is whether they count. "same" is as above,
    # for windows without dilation, and leaves nothing to `ceil`.
    "max_pool": Kind(
        _ONE, {"kernel": _PAIR, "stride": _PAIR, "padding": _PAD_PAIR_OR_SAME, "dilation": _PAIR, "ceil": _BOOL}
    ),
    "avg_pool": Kind(_ONE, {"kernel": _PAIR, "stride": _PAIR, "padding": _PAD_PAIR, "ceil": _BOOL, "count_pad": _BOOL}),
    # Bins are torch's: floor(i * H / h) .. ceil((i + 1) * H / h).
    "adaptive_avg_pool": Kind(_ONE, {"size": _PAIR}),
    "mean": Kind(_ONE, {"axes": _AXES, "keep": _BOOL}),
    "max": Kind(_ONE, {"axes": _AXES, "keep": _BOOL}),  # several that are the same share the gradient
    "pad": Kind(_ONE, {"padding": _PADS}),  # of maps, with zeros: top, bottom, left, right
    # Two tensors that broadcast, or one and a number.
    "add": Kind((1, 2), optional={"value": _NUMBER}),
    "mul": Kind((1, 2), optional={"value": _NUMBER}),
    "matmul": Kind((2, 2)),  # of the last two axes
    "cat": Kind((1, _MANY), {"axis": _AXIS}),
    "slice": Kind(_ONE, {"axis": _AXIS, "start": _PLACE, "stop": _COUNT}),
    "permute": Kind(_ONE, {"axes": _ORDER}),
    # An integer is a size, -1 what is left, and "@i" the size of axis i of the input.
    "reshape": Kind(_ONE, {"shape": _SIZES}),
    # All axes from `start` on become one.
    "flatten": Kind(_ONE, {"start": _AXIS}),
    # The first has one entry on axis 0, and is repeated as often as the second has entries there.
    "expand": Kind((2, 2)),
    # Nothing happens in these by themselves: in training the core gives what their input is multiplied with.
    "dropout": Kind(_ONE, {"p": _SHARE}),
    "stochastic_depth": Kind(_ONE, {"p": _SHARE, "mode": _MODE}),
}
