"""Whole groups dealt out: none in two parts, every class where it has to be, shares as near as groups allow."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from xfer.data.files import Files
from xfer.data.grouped import deal
from xfer.data.split import Split, divide

PICTURES = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 8)), min_size=1, max_size=60)


def arrays(pictures):
    labels, groups = np.array(pictures, np.int64).T
    return np.unique(labels, return_inverse=True)[1].reshape(-1).astype(np.int64), groups


@given(PICTURES, st.integers(2, 4), st.integers(0, 3))
def test_folds_hold_whole_groups_and_no_class_lies_in_one_alone(pictures, count, seed):
    labels, groups = arrays(pictures)
    parts = deal(labels, groups, [1 / count] * count, [False] * count, seed)
    if parts is None:
        return
    for group in np.unique(groups):
        assert len(set(parts[groups == group])) == 1
    for label in np.unique(labels):
        assert len(set(parts[labels == label])) > 1
    if len(np.unique(groups)) >= count:
        assert set(parts) == set(range(count)), "no fold is empty"
    assert np.array_equal(deal(labels, groups, [1 / count] * count, [False] * count, seed), parts)


@given(PICTURES, st.floats(0.05, 0.6), st.integers(0, 3))
def test_what_is_split_off_leaves_every_class_to_train_on(pictures, fraction, seed):
    labels, groups = arrays(pictures)
    whole = Split(Files.below("/", map(str, range(len(labels)))), labels, groups=groups)
    train, val = divide(whole, fraction, seed)
    assert not set(train.groups.tolist()) & set(val.groups.tolist())
    assert sorted([*train.files, *val.files]) == sorted(whole.files)
    assert set(train.labels.tolist()) == set(labels.tolist())
    pure = all(len(set(labels[groups == group])) == 1 for group in groups)
    for label in np.unique(labels) if pure else ():
        assert (label in val.labels) == (len(set(groups[labels == label])) > 1)


def test_equal_groups_give_the_shares_themselves():
    labels, groups = np.repeat([0, 1], [40, 20]), np.repeat(np.arange(30), 2)
    for seed in range(5):
        parts = deal(labels, groups, [0.2] * 5, [False] * 5, seed)
        assert [np.bincount(labels[parts == part]).tolist() for part in range(5)] == [[8, 4]] * 5
        parts = deal(labels, groups, [0.7, 0.3], [True, False], seed)
        assert np.bincount(labels[parts == 1]).tolist() == [12, 6]
    others = deal(labels, groups, [0.2] * 5, [False] * 5, 5)
    assert not np.array_equal(others, deal(labels, groups, [0.2] * 5, [False] * 5, 6)), "the seed decides"


def test_large_groups_go_first_and_small_ones_fill_up():
    sizes = [1, 1, 4, 1, 2, 1, 2]
    groups = np.repeat(np.arange(len(sizes)), sizes)
    for seed in range(5):
        parts = deal(np.zeros(12, np.int64), groups, [0.5, 0.5], [False, False], seed)
        assert np.bincount(parts).tolist() == [6, 6]


def test_a_class_that_would_not_be_validated_gives_its_smallest_group():
    labels, groups = np.repeat([0, 1], [40, 11]), np.concatenate([np.repeat(np.arange(20), 2), [20] * 6, [21] * 5])
    whole = Split(Files.below("/", map(str, range(len(labels)))), labels, groups=groups)
    train, val = divide(whole, 0.1, 0)
    assert (set(train.groups[train.labels == 1]), set(val.groups[val.labels == 1])) == ({20}, {21})
