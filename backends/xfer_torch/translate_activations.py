"""torch's activations as nodes: see `xfer_torch.translate`."""

from __future__ import annotations

import math
from typing import Any

from xfer.graphs.kinds import MOST_FLOAT
from xfer_torch.sheet import Ref, Sheet, needs
from xfer_torch.translate import part_of


def gelu(sheet: Sheet, input: Ref, approximate: str = "none") -> Ref:
    """By the error function; or by tanh, x / 2 (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))), which is no kind."""
    if approximate == "none":
        return sheet.node("gelu", input)
    needs(approximate == "tanh", f"gelu approximate = {approximate}")

    def part(kind: str, *inputs: Ref, **attributes: Any) -> Ref:
        return sheet.part(f"{sheet.name}.{kind}", sheet.shapes, kind, *inputs, **attributes)

    cube = part("mul", part("mul", input, input), input)
    inner = part("mul", part("add", input, part("mul", cube, value=0.044715)), value=math.sqrt(2 / math.pi))
    return sheet.node("mul", part("mul", input, value=0.5), part("add", part("tanh", inner), value=1.0))


def leaky_relu(sheet: Sheet, input: Ref, negative_slope: float = 0.01, inplace: bool = False) -> Ref:
    return sheet.node("leaky_relu", input, slope=negative_slope)


def elu(
    sheet: Sheet, input: Ref, alpha: float = 1.0, scale: Any = 1.0, input_scale: float = 1.0, inplace: bool = False
) -> Ref:
    """`scale` and `input_scale` are ATen's. In functional.elu the first is `inplace`, which says nothing."""
    needs(input_scale == 1, "elu with an input_scale")
    if isinstance(scale, bool) or scale == 1:
        return sheet.node("elu", input, alpha=alpha)
    return sheet.node("mul", part_of(sheet, "elu", "elu", input, alpha=alpha), value=scale)


def selu(sheet: Sheet, input: Ref, inplace: bool = False) -> Ref:
    """Of Klambauer et al. 2017, "Self-normalizing neural networks", whose numbers these are."""
    return elu(sheet, input, 1.6732632423543772, 1.0507009873554805)


def celu(sheet: Sheet, input: Ref, alpha: float = 1.0, inplace: bool = False) -> Ref:
    """alpha elu(x / alpha)."""
    bent = part_of(sheet, "elu", "elu", part_of(sheet, "scaled", "mul", input, value=1 / alpha), alpha=1.0)
    return sheet.node("mul", bent, value=alpha)


def softplus(sheet: Sheet, input: Ref, beta: float = 1.0, threshold: float = 20.0) -> Ref:
    """log(1 + exp(beta x)) / beta; from the threshold on torch gives x, which is 2e-9 from it."""
    needs(threshold >= 20, f"softplus with threshold = {threshold}")
    if beta == 1:
        return sheet.node("softplus", input)
    soft = part_of(sheet, "softplus", "softplus", part_of(sheet, "scaled", "mul", input, value=float(beta)))
    return sheet.node("mul", soft, value=1 / beta)


def mish(sheet: Sheet, input: Ref, inplace: bool = False) -> Ref:
    """x tanh(log(1 + exp(x))) (Misra 2019)."""
    return sheet.node("mul", input, part_of(sheet, "tanh", "tanh", part_of(sheet, "softplus", "softplus", input)))


def hardtanh(sheet: Sheet, input: Ref, min_val: float = -1.0, max_val: float = 1.0, inplace: bool = False) -> Ref:
    return clamp(sheet, input, min_val, max_val)


def clamp(sheet: Sheet, input: Ref, min: Any = None, max: Any = None) -> Ref:
    needs(all(end is None or isinstance(end, int | float) for end in (min, max)), "clamp to a tensor")
    if (min, max) == (0, 6):
        return sheet.node("relu6", input)
    if (min, max) == (0, None):
        return sheet.node("relu", input)
    low, high = (-MOST_FLOAT if min is None else min), (MOST_FLOAT if max is None else max)
    return sheet.node("clamp", input, low=low, high=high)


def prelu(sheet: Sheet, input: Ref, weight: Ref) -> Ref:
    """max(x, 0) - slope max(-x, 0), with one slope, or one for each channel."""
    sheet.parameters(weight=weight)
    slopes, count = weight, weight.shapes[0][0]
    if count > 1 and input.rank > 2:
        shape = (count, *[1] * (input.rank - 2))
        slopes = sheet.part(f"{sheet.name}.slopes", (shape,) * len(input.shapes), "reshape", slopes, shape=[*shape])
    below = part_of(sheet, "below", "relu", part_of(sheet, "negative", "mul", input, value=-1.0))
    product = sheet.part(f"{sheet.name}.product", input.shapes, "mul", below, slopes)
    return sheet.node(
        "add", part_of(sheet, "above", "relu", input), part_of(sheet, "scaled", "mul", product, value=-1.0)
    )
