"""Batches: the same pixels whatever the threads, the batches and the order, and nothing left running."""

import os
import threading
import time
from contextlib import closing

import numpy as np
import pytest
from PIL import Image

from xfer.data import loader
from xfer.data.dataset import open_dataset
from xfer.data.files import Files
from xfer.data.loader import read_batches, read_now
from xfer.data.order import chunks, sample_order
from xfer.data.split import Split, joined, take
from xfer.errors import ConfigError, DataError
from xfer.pixels.augment import ColorJitter, HorizontalFlip, RandomCrop, RandomResizedCrop, Resize, apply, default_eval
from xfer.pixels.images import open_image, open_lazily
from xfer.pixels.reading import picture_digest
from xfer.system.parallel import MOST_AT_ONCE, map_ahead
from xfer.testing.pictures import write_class_folders

N = 23
RANDOM = (RandomResizedCrop(size=12), HorizontalFlip(), ColorJitter(brightness=0.5, hue=0.2))


@pytest.fixture(scope="module")
def split(tmp_path_factory):
    root, rng = tmp_path_factory.mktemp("pictures"), np.random.default_rng(0)
    for i in range(N):
        height, width = rng.integers(14, 40, 2)
        Image.fromarray(rng.integers(0, 256, (height, width, 3), np.uint8)).save(root / f"{i:02d}.png")
    return Split(Files.below(str(root), (f"{i:02d}.png" for i in range(N))), rng.integers(0, 3, N))


def read(split, transforms=RANDOM, order=None, batch_size=5, seed=0, view=0, workers=2):
    """Pixels (N, H, W, 3) and digests (N, 16) by position in the split."""
    order = np.arange(len(split.labels)) if order is None else order
    pixels, digests = {}, {}
    for indices, (batch, batch_digests) in zip(
        chunks(order, batch_size),
        read_batches(split, transforms, chunks(order, batch_size), seed=seed, view=view, workers=workers),
        strict=True,
    ):
        assert (batch.inputs.dtype, batch_digests.dtype) == (np.uint8, np.uint8)
        assert batch_digests.shape == (len(indices), 16)
        np.testing.assert_array_equal(batch.labels, split.labels[indices])
        pixels |= dict(zip(indices.tolist(), batch.inputs, strict=True))
        digests |= dict(zip(indices.tolist(), batch_digests, strict=True))
    return np.stack([pixels[i] for i in sorted(pixels)]), np.stack([digests[i] for i in sorted(digests)])


@pytest.mark.parametrize("workers", [0, 1, 2, 7])
@pytest.mark.parametrize("batch_size", [1, 5, 100])
def test_neither_threads_nor_batches_nor_order_change_a_picture(split, workers, batch_size):
    pixels, digests = read(split)
    for order in (None, np.arange(N)[::-1], sample_order(N, 3, 1)):
        again, digests_again = read(split, order=order, batch_size=batch_size, workers=workers)
        np.testing.assert_array_equal(again, pixels)
        np.testing.assert_array_equal(digests_again, digests)


def test_a_part_of_the_split_holds_the_same_pictures(split):
    """As after a resume in mid-epoch: no picture depends on those read before it."""
    whole, _ = read(split)
    few, _ = read(split, order=np.array([17, 4, 9]))
    np.testing.assert_array_equal(few, whole[[4, 9, 17]])


def test_pictures_are_those_of_their_own_generator(split):
    pixels, _ = read(split, seed=11, view=2)
    for i in (0, 7, N - 1):
        rng = np.random.default_rng((11, 2, i))
        np.testing.assert_array_equal(pixels[i], apply(open_image(split.files[i]), RANDOM, rng))


def test_seed_and_view_change_pictures_that_are_random(split):
    base, _ = read(split)
    for pixels in (read(split, seed=1)[0], read(split, view=1)[0]):
        assert all((a != b).any() for a, b in zip(base, pixels, strict=True))


def test_fixed_transforms_make_no_generator(split, monkeypatch):
    base, _ = read(split, default_eval(12))
    monkeypatch.setattr(loader.np.random, "default_rng", None)
    np.testing.assert_array_equal(read(split, default_eval(12), seed=5, view=6)[0], base)


def test_digests_tell_pixels_and_shapes_apart(split):
    pixels, digests = read(split)
    assert [bytes(d) for d in digests] == [picture_digest(p) for p in pixels]
    assert len({bytes(d) for d in digests}) == N
    flat = pixels[0].reshape(6, 24, 3)
    assert picture_digest(flat) != picture_digest(pixels[0])
    changed = pixels[0].copy()
    changed[0, 0, 0] ^= 1
    assert picture_digest(changed) != picture_digest(pixels[0])
    assert picture_digest(pixels[0][:, ::-1]) == picture_digest(pixels[0][:, ::-1].copy())


def test_sample_order():
    orders = [sample_order(50, seed, epoch) for seed in (0, 1) for epoch in (0, 1, 2)]
    assert all(sorted(order) == list(range(50)) for order in orders)
    assert len({order.tobytes() for order in orders}) == 6
    np.testing.assert_array_equal(orders[1], sample_order(50, 0, 1))
    assert orders[0].dtype == np.int64


def test_order_and_pictures_share_no_randomness():
    """NumPy takes (seed, epoch) and (seed, epoch, 0) for the same seed, and the latter is picture 0's."""
    for index in range(3):
        picture = np.random.default_rng((7, 4, index)).permutation(50)
        assert (sample_order(50, 7, 4) != picture).any()


def test_chunks():
    parts = chunks(np.arange(10)[::-1], 4)
    assert [len(p) for p in parts] == [4, 4, 2]
    np.testing.assert_array_equal(np.concatenate(parts), np.arange(10)[::-1])
    assert chunks(np.arange(0), 4) == []


def test_an_empty_list_of_batches_is_no_batch(split):
    assert list(read_batches(split, RANDOM, [], seed=0, view=0, workers=2)) == []


@pytest.mark.parametrize("indices", [[17, 4, 9], [22], list(range(N))])
def test_pictures_that_are_read_now_are_those_of_the_first_view(split, indices):
    for seed in (0, 5):
        pixels = read_now(split, RANDOM, np.array(indices, np.int64), seed)
        assert (pixels.shape, pixels.dtype) == ((len(indices), 12, 12, 3), np.uint8)
        np.testing.assert_array_equal(pixels, read(split, seed=seed)[0][indices])
    fixed = read_now(split, default_eval(12), np.array(indices, np.int64))
    np.testing.assert_array_equal(fixed, read(split, default_eval(12))[0][indices])
    assert not reading_threads()


def test_sizes_that_differ_are_refused_before_any_picture_is_read(split):
    with pytest.raises(ConfigError, match="different sizes"):
        next(read_batches(split, [Resize(size=12)], [np.arange(2)], seed=0, view=0, workers=1))


@pytest.mark.parametrize("break_it", [os.remove, lambda path: open(path, "wb").close()])
def test_a_file_that_broke_since_the_check_is_named(tmp_path, break_it):
    for i in range(6):
        Image.new("RGB", (20, 20)).save(tmp_path / f"{i}.png")
    split = Split(Files.below(str(tmp_path), [f"{i}.png" for i in range(6)]), np.zeros(6, np.int64))
    break_it(tmp_path / "3.png")
    batches = read_batches(split, default_eval(8), chunks(np.arange(6), 2), seed=0, view=0, workers=2)
    assert len(next(batches)[0].labels) == 2  # those before it still come
    with pytest.raises(DataError, match=r"3\.png: (no such file|empty file)"):
        next(batches)


def test_a_file_that_holds_another_picture_since_the_check_is_named(tmp_path):
    """A file that was only touched, or written anew with the same bytes, is as it was."""
    root = write_class_folders(tmp_path / "set", counts=(3, 1))
    data = open_dataset(str(root))
    file, another = root / "train/bees/1.png", root / "train/ants/0.png"
    before = read(data.train, default_eval(32))
    os.utime(file, ns=(1, 1))
    file.write_bytes(file.read_bytes())
    for first, again in zip(before, read(data.train, default_eval(32)), strict=True):
        np.testing.assert_array_equal(first, again)
    for split in (data.train, joined([data.train, data.val]), take(data.train, np.array([4, 0]))):
        kept = file.read_bytes()
        file.write_bytes(another.read_bytes())
        with pytest.raises(DataError, match=r"data .*bees/1\.png: changed since it was checked.*Cure"):
            read(split, default_eval(32))
        file.write_bytes(kept)
        read(split, default_eval(32))


def test_a_picture_too_small_for_its_crop_is_named(split):
    with pytest.raises(DataError, match=r"00\.png: RandomCrop of 64 x 64"):
        read(split, [RandomCrop(size=64)])


def reading_threads():
    return [t for t in threading.enumerate() if t.name.startswith("xfer-read")]


def test_closing_early_stops_the_threads(split):
    batches = read_batches(split, RANDOM, chunks(np.arange(N), 2), seed=0, view=0, workers=3)
    next(batches)
    assert reading_threads()
    batches.close()
    assert not reading_threads()


def test_so_does_an_error(split):
    with pytest.raises(DataError):
        read(split, [RandomCrop(size=64)])
    assert not reading_threads()


@pytest.mark.parametrize(("workers", "ahead"), [(4, 6), (1, 6), (2, 40), (1, 70)])
def test_reading_ahead_is_bounded(workers, ahead):
    started = []

    def work(item):
        started.append(item)
        return item

    group = min(max(ahead // (2 * workers), 1), MOST_AT_ONCE)
    with closing(map_ahead(work, iter(range(200)), workers, ahead)) as results:
        for count in range(1, 100):
            assert next(results) == count - 1
            time.sleep(0.001)
            assert count <= len(started) <= count + ahead + group - 1


def test_two_batches_are_read_while_one_is_used(split, monkeypatch):
    count, lock = [0], threading.Lock()

    def counted(*given):
        with lock:
            count[0] += 1
        return open_lazily(*given)

    monkeypatch.setattr("xfer.pixels.reading.open_lazily", counted)
    batches = read_batches(split, RANDOM, chunks(np.arange(N), 4), seed=0, view=0, workers=2)
    next(batches)
    deadline = time.monotonic() + 5
    while count[0] < 12 and time.monotonic() < deadline:
        time.sleep(0.005)
    time.sleep(0.05)
    assert count[0] == 12  # the one in use, and two more
    batches.close()


def test_results_come_in_order_however_long_they_take():
    def slow(item):
        time.sleep(0.02 if item % 3 == 0 else 0)
        return item

    assert list(map_ahead(slow, range(30), workers=6, ahead=10)) == list(range(30))
    assert list(map_ahead(slow, range(30), workers=2, ahead=12)) == list(range(30))


def test_an_error_comes_behind_the_results_before_it_and_ends_the_work():
    started = []

    def work(item):
        started.append(item)
        if item == 5:
            raise DataError("five")
        return item

    results = map_ahead(work, range(1000), workers=1, ahead=8)
    assert [next(results) for _ in range(5)] == [0, 1, 2, 3, 4]
    with pytest.raises(DataError, match="five"):
        next(results)
    assert len(started) < 20
    assert not reading_threads()


def test_closing_does_not_wait_for_all_that_a_thread_was_given():
    started = []

    def work(item):
        started.append(item)
        time.sleep(0.02)
        return item

    with closing(map_ahead(work, range(1000), workers=1, ahead=64)) as results:
        next(results)
        before = len(started)
    assert before >= MOST_AT_ONCE
    assert len(started) <= before + 2
