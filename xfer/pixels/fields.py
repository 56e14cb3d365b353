"""The types of what stands in an augmentation spec: one sentence says what each expects.

All are strict, as every section of a recipe is: no number is read out of a string, no true is a 1.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeVar

from pydantic import AfterValidator, Field, ValidationError, ValidatorFunctionWrapHandler, WrapValidator
from pydantic_core import PydanticCustomError

Pair = tuple[float, float]
HeightWidth = tuple[int, int]

T = TypeVar("T")
Two = Annotated[tuple[T, T], Field(strict=False)]  # a list will do as well as a tuple
Three = Annotated[tuple[T, T, T], Field(strict=False)]


def _ordered(pair: Pair) -> Pair:
    if pair[0] > pair[1]:
        raise ValueError("expected [low, high] with low <= high")
    return pair


def _expect(words: str) -> WrapValidator:
    """One complaint for a value with several forms, in place of one for each form."""

    def check(value: Any, handler: ValidatorFunctionWrapHandler) -> Any:
        try:
            return handler(value)
        except ValidationError:
            raise PydanticCustomError("expected", "expected {words}", {"words": words}) from None

    return WrapValidator(check)


Pixels = Annotated[int, Field(ge=1)]
Byte = Annotated[int, Field(ge=0, le=255)]
Probability = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[float, Field(gt=0)]
Factor = Annotated[float, Field(ge=0)]
Turns = Annotated[float, Field(ge=-0.5, le=0.5)]
Size = Annotated[Pixels | Two[Pixels], _expect("a whole number of pixels, 1 or more, or [height, width]")]
Fill = Annotated[Byte | Three[Byte], _expect("a whole number in 0..255, or [red, green, blue]")]
Paint = Annotated[Fill | Literal["random"], _expect('a whole number in 0..255, [red, green, blue], or "random"')]
Scale = Annotated[
    Two[Annotated[float, Field(gt=0, le=1)]], AfterValidator(_ordered), _expect("[low, high], 0 < low <= high <= 1")
]
Ratio = Annotated[Two[Positive], AfterValidator(_ordered), _expect("[low, high], 0 < low <= high")]
Strength = Annotated[
    Factor | Annotated[Two[Factor], AfterValidator(_ordered)],
    _expect("a number >= 0, or [low, high], 0 <= low <= high"),
]
Hue = Annotated[
    Annotated[float, Field(ge=0, le=0.5)] | Annotated[Two[Turns], AfterValidator(_ordered)],
    _expect("a number in 0..0.5, or [low, high], -0.5 <= low <= high <= 0.5"),
]
Degrees = Annotated[
    Factor | Annotated[Two[float], AfterValidator(_ordered)], _expect("a number >= 0, or [low, high], low <= high")
]
Mean = Annotated[Three[float], _expect("[red, green, blue]")]
Std = Annotated[Three[Positive], _expect("[red, green, blue], each above 0")]
Interpolation = Literal["nearest", "bilinear", "bicubic"]
