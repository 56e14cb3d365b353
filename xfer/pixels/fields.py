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


MOST_PIXELS = 20_000
"""Of a side, and of what is added to it: more than any camera gives, and a picture of that size takes 1.6 GB."""

Pixels = Annotated[int, Field(ge=1, le=MOST_PIXELS)]
Padding = Annotated[int, Field(ge=0, le=MOST_PIXELS)]
Byte = Annotated[int, Field(ge=0, le=255)]
Probability = Annotated[float, Field(ge=0, le=1)]
Shape = Annotated[float, Field(ge=1e-3, le=1e3)]
Factor = Annotated[float, Field(ge=0, le=1e3)]
Angle = Annotated[float, Field(ge=-3600, le=3600)]
Level = Annotated[float, Field(ge=-10)]
Spread = Annotated[float, Field(ge=1e-4)]
Turns = Annotated[float, Field(ge=-0.5, le=0.5)]
Size = Annotated[Pixels | Two[Pixels], _expect(f"a whole number of pixels, 1 to {MOST_PIXELS:,}, or [height, width]")]
Fill = Annotated[Byte | Three[Byte], _expect("a whole number in 0..255, or [red, green, blue]")]
Paint = Annotated[Fill | Literal["random"], _expect('a whole number in 0..255, [red, green, blue], or "random"')]
Scale = Annotated[
    Two[Annotated[float, Field(gt=0, le=1)]], AfterValidator(_ordered), _expect("[low, high], 0 < low <= high <= 1")
]
Ratio = Annotated[Two[Shape], AfterValidator(_ordered), _expect("[low, high], 0 < low <= high, in 0.001..1000")]
Strength = Annotated[
    Factor | Annotated[Two[Factor], AfterValidator(_ordered)],
    _expect("a number >= 0, or [low, high], 0 <= low <= high, 1000 at most"),
]
Hue = Annotated[
    Annotated[float, Field(ge=0, le=0.5)] | Annotated[Two[Turns], AfterValidator(_ordered)],
    _expect("a number in 0..0.5, or [low, high], -0.5 <= low <= high <= 0.5"),
]
Degrees = Annotated[
    Annotated[float, Field(ge=0, le=3600)] | Annotated[Two[Angle], AfterValidator(_ordered)],
    _expect("a number >= 0, or [low, high], low <= high, 3600 at most"),
]
Mean = Annotated[Three[Level], _expect("[red, green, blue], each -10 or more")]
Std = Annotated[Three[Spread], _expect("[red, green, blue], each above 0, 0.0001 at least")]
Interpolation = Literal["nearest", "bilinear", "bicubic"]
