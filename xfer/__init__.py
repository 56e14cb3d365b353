"""Transfer learning for image classification, written once, run on PyTorch or MindSpore."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from xfer.api import cross_validate as cross_validate
    from xfer.api import find_lr as find_lr
    from xfer.api import train as train
    from xfer.comparison.compare import compare as compare
    from xfer.errors import XferError as XferError
    from xfer.porting.parity import parity as parity
    from xfer.porting.port import port as port
    from xfer.recipe.load import load_recipe as load_recipe
    from xfer.recipe.recipe import Recipe as Recipe
    from xfer.results.run import Run as Run
    from xfer.studies.study import study as study

__version__ = "0.1.0"
__all__ = [
    "Recipe", "Run", "XferError", "compare", "cross_validate", "find_lr", "load_recipe", "parity", "port", "study",
    "train",
]  # fmt: skip

_HOMES = {
    "Recipe": "xfer.recipe.recipe",
    "Run": "xfer.results.run",
    "XferError": "xfer.errors",
    "compare": "xfer.comparison.compare",
    "cross_validate": "xfer.api",
    "find_lr": "xfer.api",
    "load_recipe": "xfer.recipe.load",
    "parity": "xfer.porting.parity",
    "port": "xfer.porting.port",
    "study": "xfer.studies.study",
    "train": "xfer.api",
}


def __getattr__(name: str) -> Any:
    # Imported when first used (PEP 562), so that `xfer --help` does not wait for NumPy, Pillow and pydantic.
    if name not in _HOMES:
        raise AttributeError(f"module 'xfer' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    """The public names, for whoever presses Tab, though none has been imported yet."""
    return sorted({*__all__, *(name for name in globals() if name.startswith("__"))})
