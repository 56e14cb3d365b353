"""Products that are written with letters, as nodes: see `xfer_torch.translate`."""

from __future__ import annotations

from typing import Any

from xfer_torch.sheet import Ref, Sheet, needs


def einsum(sheet: Sheet, equation: str, *operands: Any) -> Ref:
    """Products of matrices: letters that both operands and the result have, one that both have, one that one has."""
    if len(operands) == 1 and isinstance(operands[0], list | tuple):
        operands = tuple(operands[0])
    taken, _, given = equation.replace(" ", "").partition("->")
    terms = taken.split(",")
    needs(len(terms) == len(operands) == 2 and "." not in equation and given != "", f"einsum {equation}")
    a, b = terms
    summed = [letter for letter in a if letter in b and letter not in given]
    batch = [letter for letter in a if letter in b and letter in given]
    left, right = [c for c in a if c not in b], [c for c in b if c not in a]
    plain = all(len(set(term)) == len(term) for term in (a, b, given)) and len(summed) == len(left) == len(right) == 1
    needs(plain and set(given) == {*batch, *left, *right}, f"einsum {equation}")
    first = _ordered(sheet, "left", operands[0], a, [*batch, *left, *summed])
    second = _ordered(sheet, "right", operands[1], b, [*batch, *summed, *right])
    lengths = [dict(zip(a, x, strict=True)) | dict(zip(b, y, strict=True)) for x, y in zip(
        operands[0].shapes, operands[1].shapes, strict=True)]  # fmt: skip
    made = [*batch, *left, *right]
    shapes = tuple(tuple(length[letter] for letter in made) for length in lengths)
    product = sheet.part(f"{sheet.name}.product", shapes, "matmul", first, second)
    return _ordered(sheet, "result", product, "".join(made), list(given))


def _ordered(sheet: Sheet, word: str, input: Ref, has: str, wanted: list[str]) -> Ref:
    """With its axes, one for each letter, in another order."""
    if list(has) == wanted:
        return input
    axes = [has.index(letter) for letter in wanted]
    shapes = tuple(tuple(shape[axis] for axis in axes) for shape in input.shapes)
    return sheet.part(f"{sheet.name}.{word}", shapes, "permute", input, axes=axes)
