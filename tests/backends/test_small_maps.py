"""Convolutions of small maps on MindSpore: the same bits forward, and the same gradients by other ways."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

pytest.importorskip("xfer_mindspore")  # before MindSpore: it sets what that reads at its import

import mindspore as ms
from mindspore import Parameter, Tensor

from xfer_mindspore.layers import Conv
from xfer_mindspore.small_maps import LARGE, PIXELS, SmallMaps, small_maps_pay

SAME = {"stride": (1, 1), "dilation": (1, 1), "groups": 1, "pad": (1, 1, 1, 1)}
ONE = SAME | {"pad": (0, 0, 0, 0)}


def weight(*shape: int) -> Parameter:
    return Parameter(Tensor(np.random.default_rng(0).standard_normal(shape).astype(np.float32)), "weight")


def computed(conv: Conv, x: np.ndarray, graph: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The output, and the gradients of a weighted sum of it: of the maps, of the weight."""
    factors = Tensor(np.random.default_rng(2).standard_normal(conv(Tensor(x)).shape).astype(np.float32))

    def weighted(maps: Tensor) -> Tensor:
        return (conv(maps) * factors).sum()

    gradient = ms.grad(weighted, 0, ms.ParameterTuple([conv.weight]))
    of_maps, of_weight = (ms.jit(gradient) if graph else gradient)(Tensor(x))
    (of_weight,) = of_weight if isinstance(of_weight, tuple) else (of_weight,)
    return conv(Tensor(x)).asnumpy(), of_maps.asnumpy(), of_weight.asnumpy()


@pytest.mark.parametrize("graph", [False, True], ids=["pynative", "graph"])
@pytest.mark.parametrize(
    ("kernel", "sizes", "maps"),
    [
        ((3, 3), SAME, (2, 2)),
        ((3, 3), SAME, (1, 1)),
        ((3, 5), SAME | {"pad": (1, 1, 2, 2)}, (2, 4)),
        ((5, 3), SAME | {"pad": (2, 2, 1, 1)}, (3, 3)),
        ((1, 1), ONE, (2, 3)),
        ((3, 3), SAME, (4, 5)),  # more pixels than `PIXELS`
    ],
)
def test_gradients_are_those_of_the_plain_convolution(
    kernel: tuple[int, int], sizes: dict[str, Any], maps: tuple[int, int], graph: bool
) -> None:
    x = np.random.default_rng(1).standard_normal((3, 4, *maps)).astype(np.float32)
    small, plain = (made(weight(5, 4, *kernel), weight(5), **sizes) for made in (SmallMaps, Conv))
    (out, *gradients), (same, *expected) = computed(small, x, graph), computed(plain, x, graph)
    assert np.array_equal(out, same)
    for gradient, value in zip(gradients, expected, strict=True):
        np.testing.assert_allclose(gradient, value, rtol=1e-5, atol=1e-5 * abs(value).max())


def test_small_maps_alone_take_the_other_way() -> None:
    conv = SmallMaps(weight(5, 4, 3, 3), None, **SAME)
    taken = list[tuple[int, ...]]()
    conv.at_once.construct = lambda x, weight: taken.append(x.shape) or conv.convolve(x, weight)
    for side in (3, 4):
        conv(Tensor(np.zeros((2, 4, side, side), np.float32)))
    assert PIXELS == 9
    assert taken == [(2, 4, 3, 3)]


@pytest.mark.parametrize(
    ("shape", "sizes", "pays"),
    [
        ((512, 512, 3, 3), SAME, True),
        ((2048, 512, 1, 1), ONE, True),
        ((512, 512, 5, 3), SAME | {"pad": (2, 2, 1, 1)}, True),
        ((256, 256, 3, 3), SAME, False),  # less than LARGE
        ((512, 512, 3, 3), SAME | {"stride": (2, 2)}, False),
        ((512, 512, 3, 3), SAME | {"dilation": (2, 2)}, False),
        ((1024, 512, 3, 3), SAME | {"groups": 2}, False),
        ((512, 512, 3, 3), SAME | {"pad": (0, 0, 0, 0)}, False),  # maps would become smaller
        ((512, 512, 3, 3), SAME | {"pad": (1, 0, 1, 1)}, False),
        ((512, 512, 3, 3), SAME | {"pad": "same"}, False),
        ((2048, 512, 1, 1), ONE | {"pad": (1, 1, 1, 1)}, False),
        ((1024, 512, 1, 3), SAME | {"pad": (0, 0, 1, 1)}, False),  # nothing between pictures
    ],
)
def test_where_it_pays(shape: tuple[int, ...], sizes: dict[str, Any], pays: bool) -> None:
    assert LARGE == 2**20
    assert small_maps_pay(Parameter(Tensor(np.zeros(shape, np.float32)), "weight"), sizes) is pays
