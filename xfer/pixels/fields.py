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
Four = Annotated[tuple[T, T, T, T], Field(strict=False)]


def _ordered(pair: Pair) -> Pair:
    if pair[0] > pair[1]:
        raise ValueError("expected [low, high] with low <= high")
    return _without_sign_of_0(pair[0]), _without_sign_of_0(pair[1])


def _without_sign_of_0(number: float) -> float:
    """-0.0 as 0.0: NumPy draws from 0.0 to 0.0, and refuses a range from 0.0 to -0.0."""
    return number + 0.0


def _ordered_pairs(bounds: tuple[float, float, float, float]) -> tuple[float, float, float, float]:
    return (*_ordered(bounds[:2]), *_ordered(bounds[2:]))


def _odd(pixels: int) -> int:
    if pixels % 2 == 0:
        raise ValueError("expected an odd number")
    return pixels


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
Probability = Annotated[float, Field(ge=0, le=1), AfterValidator(_without_sign_of_0)]
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
    Annotated[float, Field(ge=0, le=3600), AfterValidator(_without_sign_of_0)]
    | Annotated[Two[Angle], AfterValidator(_ordered)],
    _expect("a number >= 0, or [low, high], low <= high, 3600 at most"),
]
Mean = Annotated[Three[Level], _expect("[red, green, blue], each -10 or more")]
Std = Annotated[Three[Spread], _expect("[red, green, blue], each above 0, 0.0001 at least")]
Pads = Annotated[
    Padding | Two[Padding] | Four[Padding],
    _expect(f"a whole number of pixels, 0 to {MOST_PIXELS:,}, [sides, above and below] or [left, top, right, bottom]"),
]
_Odd = Annotated[int, Field(ge=1, le=255), AfterValidator(_odd)]
Kernel = Annotated[_Odd | Two[_Odd], _expect("an odd number of pixels, 1 to 255, or [width, height]")]
_Sigma = Annotated[float, Field(ge=1e-3, le=1e3)]
Sigma = Annotated[
    _Sigma | Annotated[Two[_Sigma], AfterValidator(_ordered)],
    _expect("a number of pixels, or [low, high], low <= high, in 0.001..1000"),
]
Zoom = Annotated[Two[Shape], AfterValidator(_ordered), _expect("[low, high], 0 < low <= high, in 0.001..1000")]
_Slant = Annotated[float, Field(ge=-89, le=89)]
Shear = Annotated[
    Annotated[float, Field(ge=0, le=89), AfterValidator(_without_sign_of_0)]
    | Annotated[Two[_Slant], AfterValidator(_ordered)]
    | Annotated[Four[_Slant], AfterValidator(_ordered_pairs)],
    _expect("a number of degrees, 0 to 89, [low, high] or [low, high, low, high] of x and y, low <= high, in -89..89"),
]
Interpolation = Literal["nearest", "bilinear", "bicubic"]
