"""Masks are a function of the seed, the epoch and the sample: of no batch, no framework and no other node."""

from zlib import crc32

import numpy as np
import pytest
from small_graphs import Builder, convolutional_head, residual

from xfer.graphs.shapes import shapes_of
from xfer.graphs.stages import arch_of
from xfer.training.masks import Masks, masks_of

SIZE, SEED, EPOCH = (32, 32), 3, 5
INDICES = np.array([7, 0, 12, 3])


def dropping(modes=("row", "row"), p=(0.25, 0.5)):
    """Something is dropped in each of two stages, behind them, and right before the head."""
    b = Builder()
    b.conv("conv1", 4, 3, stride=2)
    before = b.add("relu1", "relu")
    for number in (1, 2):
        b.conv(f"down{number}", 4, 4, before, stride=2)
        last = b.add(f"down{number}.relu", "relu")
        b.conv(f"block{number}", 4, 4)
        b.add(f"depth{number}", "stochastic_depth", p=p[number - 1], mode=modes[number - 1])
        before = b.add(f"sum{number}", "add", f"depth{number}", last)
    b.add("pool", "adaptive_avg_pool", size=[1, 1])
    b.add("flat", "flatten", start=1)
    b.add("inner", "dropout", p=0.4)
    b.linear("hidden", 6, 4)
    b.add("hidden.relu", "relu")
    b.add("before", "dropout", p=0.9)
    b.linear("fc", 3, 6)
    return b.graph("fc")


def drawn(graph, cut="stem", dropout=0.2, indices=INDICES, size=SIZE):
    return masks_of(graph, size, cut, dropout).draw(SEED, EPOCH, indices)


def rng(index, *more):
    return np.random.default_rng((SEED, EPOCH, int(index), *more))


def kept(numbers, p):
    return ((numbers >= p) / (1 - p)).astype(np.float32)


def test_all_masks_and_their_order():
    masks = drawn(dropping())
    assert {node: (mask.shape, mask.dtype) for node, mask in masks.items()} == {
        "fc": ((4, 6), np.float32),
        "inner": ((4, 4), np.float32),
        "depth1": ((4, 1, 1, 1), np.float32),
        "depth2": ((4, 1, 1, 1), np.float32),
    }
    assert next(iter(masks)) == "fc"


@pytest.mark.parametrize("dropout", [0.1, 0.5])
def test_the_heads_mask_has_the_bytes_of_every_version_before(dropout):
    wanted = np.stack([kept(rng(i, 2).random(8), dropout) for i in INDICES])
    assert drawn(residual(), dropout=dropout)["fc"].tobytes() == wanted.tobytes()


def test_the_mask_of_a_head_that_takes_maps_is_for_each_of_their_values():
    graph = convolutional_head()
    _, *shape = shapes_of(graph, SIZE)["drop"]
    wanted = np.stack([kept(rng(i, 2).random(shape), 0.3) for i in INDICES])
    masks = drawn(graph, dropout=0.3)
    assert len(shape) == 3
    assert {node: mask.tobytes() for node, mask in masks.items()} == {"head": wanted.tobytes()}


def test_inner_dropout_is_drawn_by_the_name_of_its_node():
    wanted = np.stack([kept(rng(i, 4, crc32(b"inner")).random(4), 0.4) for i in INDICES])
    assert np.array_equal(drawn(dropping())["inner"], wanted)


def test_stochastic_depth_has_one_draw_for_each_sample_and_node():
    numbers = np.stack([rng(i, 3).random(2) for i in INDICES])
    masks = drawn(dropping())
    for place, p in enumerate((0.25, 0.5)):
        assert np.array_equal(masks[f"depth{place + 1}"][:, 0, 0, 0], kept(numbers[:, place], p))


def test_stochastic_depth_by_batch_has_one_draw_for_all():
    many = np.arange(40)
    masks = drawn(dropping(modes=("batch", "row")), indices=many)
    first = kept(rng(0, 3).random(2)[:1], 0.25)
    assert (masks["depth1"] == first).all()
    assert np.array_equal(masks["depth2"], drawn(dropping(), indices=many)["depth2"])
    assert len(np.unique(masks["depth2"])) == 2


def test_a_samples_masks_are_the_same_in_every_batch():
    whole = drawn(dropping())
    for place, index in enumerate(INDICES):
        alone = drawn(dropping(), indices=np.array([index]))
        assert all(np.array_equal(alone[node][0], mask[place]) for node, mask in whole.items())


@pytest.mark.parametrize("changed", [(4, 5), (3, 6)], ids=["seed", "epoch"])
def test_another_seed_or_epoch_draws_others(changed):
    masks, many = masks_of(dropping(), SIZE, "stem", 0.2), np.arange(50)
    before, after = masks.draw(SEED, EPOCH, many), masks.draw(*changed, many)
    assert not any(np.array_equal(before[node], after[node]) for node in before)


@pytest.mark.parametrize(
    ("cut", "active"),
    [
        ("layer1", {"fc", "inner", "depth1", "depth2"}),
        ("layer2", {"fc", "inner", "depth2"}),
        ("hidden", {"fc", "inner"}),  # which begins with the dropout
        ("head", {"fc"}),
    ],
)
def test_only_what_lies_behind_the_cut_is_dropped_and_draws_stay_the_same(cut, active):
    graph, whole = dropping(), drawn(dropping())
    masks = drawn(graph, cut=cut)
    assert set(masks) == active
    assert all(np.array_equal(mask, whole[node]) for node, mask in masks.items())


def test_dropout_right_before_the_head_is_the_heads_and_as_strong_as_it_was_asked_for():
    assert "before" not in drawn(dropping())
    assert set(drawn(dropping(), dropout=0.0)) == {"inner", "depth1", "depth2"}
    masks = drawn(dropping(), dropout=0.2, indices=np.arange(500))
    assert np.unique(masks["fc"]).tolist() == [0, 1.25]
    assert (masks["fc"] == 0).mean() == pytest.approx(0.2, abs=0.03)


def test_dropout_before_the_head_may_be_moved_about_first():
    b = Builder()
    b.conv("conv1", 2, 3, stride=2)
    b.add("pool", "adaptive_avg_pool", size=[1, 1])
    b.add("before", "dropout", p=0.5)
    b.add("flat", "flatten", start=1)
    b.linear("fc", 3, 2)
    graph = b.graph("fc")
    assert arch_of("mine", graph).dropout == 0.5
    for cut in ("stem", "head"):
        assert {node: mask.shape for node, mask in drawn(graph, cut, 0.5).items()} == {"fc": (4, 2)}
    assert drawn(graph, "stem", 0.0) == {}


def test_a_share_of_nothing_is_no_mask_and_keeps_its_place_out_of_the_draws():
    masks = drawn(dropping(p=(0.0, 0.5)))
    assert "depth1" not in masks
    assert np.array_equal(masks["depth2"][:, 0, 0, 0], kept(np.array([rng(i, 3).random(1)[0] for i in INDICES]), 0.5))


def test_where_everything_is_dropped_nothing_is_left_and_nothing_is_divided_by_zero():
    masks = drawn(dropping(p=(1.0, 0.5)))
    assert (masks["depth1"] == 0).all()


def test_shapes_are_those_of_the_pictures():
    b = Builder()
    b.conv("conv1", 2, 3, stride=2)
    b.add("inner", "dropout", p=0.5)
    b.conv("conv2", 4, 2, stride=2)
    b.add("pool", "mean", axes=[2, 3], keep=False)
    b.linear("fc", 3, 4)
    graph = b.graph("fc")
    assert drawn(graph, dropout=0, size=(8, 6))["inner"].shape == (4, 2, 4, 3)
    assert drawn(graph, dropout=0, size=(16, 6))["inner"].shape == (4, 2, 8, 3)


def test_a_network_without_any_and_no_samples():
    assert masks_of(residual(), SIZE, "stem", 0.0) == Masks()
    assert Masks().draw(SEED, EPOCH, INDICES) == {}
