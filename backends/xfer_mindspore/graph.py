"""Graph mode: a computation that is compiled once for batches of every size."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import mindspore as ms
from mindspore import Tensor


class Compiled:
    """A function of tensors, whose first axis is the batch, and of tuples of scalars.

    It is compiled at the first call, for the shapes given there and batches of any size. (MindSpore's `dynamic=1`
    compiles for each of the first sizes it meets, and for every one where an argument is a tuple.) A single sample is
    computed without the graph: a network may have to refuse it (`layers.ONE_VALUE`), which a graph for any size cannot.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function = function
        self.graph: Callable[..., Any] | None = None

    def __call__(self, *arguments: Any) -> Any:
        if len(arguments[0]) == 1:
            return self.function(*arguments)
        if self.graph is None:
            names = inspect.signature(self.function).parameters
            shapes = {
                name: Tensor(shape=(None, *argument.shape[1:]), dtype=argument.dtype)
                for name, argument in zip(names, arguments, strict=True)
                if isinstance(argument, Tensor)
            }
            self.graph = ms.enable_dynamic(**shapes)(ms.jit(self.function))
        return self.graph(*arguments)
