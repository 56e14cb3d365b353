"""Pictures that processes read: the same bits as by threads, the same errors, and nothing that stays."""

import os
import signal
import warnings
from contextlib import ExitStack, closing, contextmanager, nullcontext
from unittest.mock import Mock

import numpy as np
import pytest
from PIL import Image, ImageFile

from xfer.data import readers
from xfer.data.dataset import open_dataset
from xfer.data.files import Files
from xfer.data.given import read_given
from xfer.data.lists import Skipped
from xfer.data.loader import read_batches
from xfer.data.order import chunks, sample_order
from xfer.data.scan import inspect_all
from xfer.data.split import Split
from xfer.errors import ConfigError, DataError, XferError
from xfer.pixels.augment import ColorJitter, HorizontalFlip, Levels, RandomCrop, RandomResizedCrop, default_eval
from xfer.progress import silent
from xfer.system import worker_pool
from xfer.system.shared import CAN_SHARE
from xfer.testing.pictures import write_class_folders

pytestmark = pytest.mark.skipif(not CAN_SHARE, reason="this system has no memory and no counters without a name")

N = 23
RANDOM = (RandomResizedCrop(size=12), HorizontalFlip(), ColorJitter(brightness=0.5, hue=0.2))


@pytest.fixture(scope="module", autouse=True)
def no_process_stays():
    yield
    worker_pool.close_idle()


@pytest.fixture
def eager(monkeypatch):
    """`auto` takes processes."""
    monkeypatch.setattr(readers, "ENOUGH_WORKERS", 1)
    monkeypatch.setattr(readers, "ENOUGH_PICTURES", 0)


@pytest.fixture(scope="module")
def split(tmp_path_factory):
    root, rng = tmp_path_factory.mktemp("pictures"), np.random.default_rng(0)
    for i in range(N):
        height, width = rng.integers(14, 40, 2)
        Image.fromarray(rng.integers(0, 256, (height, width, 3), np.uint8)).save(
            root / f"{i:02d}.{'jpg' if i % 2 else 'png'}"
        )
    names = (f"{i:02d}.{'jpg' if i % 2 else 'png'}" for i in range(N))
    return Split(Files.below(str(root), names), rng.integers(0, 3, N))


def read(split, by, transforms=RANDOM, order=None, batch_size=5, workers=2, **kinds):
    """Of each batch its pixels, labels and digests."""
    parts = chunks(np.arange(len(split.labels)) if order is None else order, batch_size)
    given = {"seed": 3, "view": 1, "workers": workers, "readers": by, **kinds}
    with closing(read_batches(split, transforms, parts, **given)) as batches:
        return [(batch.inputs.copy(), batch.labels, digests) for batch, digests in batches]


def assert_same(batches, others):
    for batch, other in zip(batches, others, strict=True):
        for array, another in zip(batch, other, strict=True):
            np.testing.assert_array_equal(array, another)


@pytest.mark.parametrize(
    ("named", "asked", "processes"),
    [
        (None, "auto", False),
        (None, "processes", True),
        ("auto", "processes", True),
        ("threads", "processes", False),
        ("processes", "threads", True),
        ("processes", "auto", True),
    ],
)
def test_the_environment_goes_before_what_is_asked_for(named, asked, processes, monkeypatch):
    monkeypatch.setattr(readers, "pool_of", lambda *given: nullcontext(Mock()))
    monkeypatch.setenv(readers.VARIABLE, named or "")
    with ExitStack() as held:
        assert (readers.pool_for(held, asked, 1, 1) is not None) is processes


def test_another_word_in_the_environment_is_refused(split, monkeypatch):
    monkeypatch.setenv(readers.VARIABLE, "thread")
    with pytest.raises(ConfigError, match=r"^XFER_READERS = 'thread': expected one of auto, threads, processes\. Did"):
        read(split, "processes")


@pytest.mark.parametrize(("workers", "batch_size"), [(1, 5), (2, 1), (2, 100), (3, 7)])
def test_processes_read_the_same_bits(split, workers, batch_size):
    for order in (None, sample_order(N, 3, 1)):
        by_threads = read(split, "threads", order=order, batch_size=batch_size)
        assert_same(read(split, "processes", order=order, batch_size=batch_size, workers=workers), by_threads)


@pytest.mark.parametrize(
    ("transforms", "draft"), [((Levels(depth=12), *default_eval(12)), False), (default_eval(4), True)]
)
def test_whatever_is_done_to_them(split, transforms, draft):
    assert_same(read(split, "processes", transforms, draft=draft), read(split, "threads", transforms, draft=draft))


def test_there_may_be_no_batch(split):
    assert list(read_batches(split, RANDOM, [], seed=0, view=0, workers=2, readers="processes")) == []


def test_batches_that_are_kept_keep_their_pixels(split):
    """However many: memory that is used again would show the pictures of later batches."""
    parts = chunks(np.tile(np.arange(N), 10), 3)
    with closing(read_batches(split, RANDOM, parts, seed=3, view=1, workers=2, readers="processes")) as batches:
        kept = [batch.inputs[:, ::-1] for batch, _ in batches]
    expected = read(split, "threads", order=np.tile(np.arange(N), 10), batch_size=3)
    for pixels, (other, _, _) in zip(kept, expected, strict=True):
        np.testing.assert_array_equal(pixels, other[:, ::-1])


def test_two_readings_may_go_on_at_once(split):
    parts = chunks(np.arange(N), 4)
    given = {"seed": 3, "view": 1, "workers": 2, "readers": "processes"}
    with (
        closing(read_batches(split, RANDOM, parts, **given)) as one,
        closing(read_batches(split, RANDOM, parts, **given)) as two,
    ):
        for (a, _), (b, _) in zip(one, two, strict=True):
            np.testing.assert_array_equal(a.inputs, b.inputs)


def test_descriptors_and_processes_are_given_back(split):
    read(split, "processes")
    before = len(os.listdir("/proc/self/fd"))
    for size in (3, 8):
        with closing(read_batches(split, RANDOM, chunks(np.arange(N), size), seed=0, view=0, workers=2,
                                  readers="processes")) as batches:  # fmt: skip
            next(batches)
        with pytest.raises(DataError):
            read(split, "processes", [RandomCrop(size=64)], batch_size=size)
    assert len(os.listdir("/proc/self/fd")) <= before + worker_pool._idle[0].rooms.MOST
    worker_pool.close_idle()
    assert len(os.listdir("/proc/self/fd")) < before - 8  # 4 sockets, memory and 4 counters, at the least


def test_errors_are_those_of_threads(tmp_path):
    root = write_class_folders(tmp_path / "set", counts=(6, 1))
    data = open_dataset(str(root))
    victim, another = root / "train/bees/1.png", root / "train/ants/0.png"
    for spoil in (lambda: victim.write_bytes(another.read_bytes()), lambda: victim.write_bytes(b""), victim.unlink):
        spoil()
        said = []
        for by in ("threads", "processes"):
            with pytest.raises(DataError) as caught:
                read(data.train, by, default_eval(16))
            said.append(str(caught.value))
        assert said[0] == said[1]
        assert str(victim) in said[0]


def test_a_process_that_is_killed_is_named_with_its_file(split, monkeypatch):
    pools = []

    @contextmanager
    def seen(*how):
        with worker_pool.pool_of(*how) as pool:
            pools.append(pool)
            yield pool

    monkeypatch.setattr(readers, "pool_of", seen)
    parts = chunks(np.arange(N), 2)
    with closing(read_batches(split, RANDOM, parts, seed=0, view=0, workers=2, readers="processes")) as batches:
        next(batches)
        for process in pools[0]._processes:
            os.kill(process.pid, signal.SIGKILL)
        with pytest.raises(XferError, match=r"(\.(png|jpg): its reader|process that reads) was killed by SIGKILL"):
            list(batches)
    read(split, "processes")  # by others


def test_large_pictures_share_the_memory_of_all_processes(tmp_path, monkeypatch):
    """Two of 24 million pixels at a time do not fit: each waits for the other, and both are read."""
    monkeypatch.setenv("XFER_LIMIT_PICTURE_MEMORY", "130MiB")
    worker_pool.close_idle()
    readers.picture_limits.cache_clear()
    for i in range(4):
        Image.new("L", (6000, 4000), i).save(tmp_path / f"{i}.png")
    split = Split(Files.below(str(tmp_path), [f"{i}.png" for i in range(4)]), np.zeros(4, np.int64))
    try:
        ((pixels, _, _),) = read(split, "processes", default_eval(8))
        assert pixels[:, 0, 0, 0].tolist() == [0, 1, 2, 3]
    finally:
        readers.picture_limits.cache_clear()
        worker_pool.close_idle()


def test_where_no_process_can_be_started_threads_read_and_a_line_says_so(split, monkeypatch):
    def refuse(*args):
        raise OSError(24, "Too many open files")

    worker_pool.close_idle()
    monkeypatch.setattr(readers, "WorkerPool", refuse)
    with pytest.warns(UserWarning, match=r"^pictures are read by threads: .*\(Too many open files\)"):
        batches = read(split, "processes")
    assert_same(batches, read(split, "threads"))


def test_where_processes_end_as_they_start_threads_read(split, monkeypatch):
    """As where Python does not find xfer by itself; it would be so again."""
    worker_pool.close_idle()
    monkeypatch.setattr(readers._Count, "failed", False)
    monkeypatch.setattr(readers, "MODULE", "xfer.no_such_module")
    before = len(os.listdir("/proc/self/fd"))
    with pytest.warns(UserWarning, match=r"no processes to read them \(a process that reads died with exit code 1\)"):
        batches = read(split, "processes")
    assert_same(batches, read(split, "threads"))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        read(split, "processes")
    assert len(os.listdir("/proc/self/fd")) <= before


def test_processes_hold_pictures_against_what_this_one_does(tmp_path, monkeypatch):
    """Whatever the environment says since, and what a program sets of Pillow's."""
    Image.effect_noise((60, 60), 80).save(tmp_path / "0.jpg")
    (tmp_path / "0.jpg").write_bytes((tmp_path / "0.jpg").read_bytes()[:-300])
    split = Split(Files.below(str(tmp_path), ["0.jpg"]), np.zeros(1, np.int64))
    readers.picture_limits()
    monkeypatch.setenv("XFER_LIMIT_PICTURE_PIXELS", "1000")
    worker_pool.close_idle()
    for by in ("threads", "processes"):
        with pytest.raises(DataError, match="truncated"):
            read(split, by)
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    said = []
    for by in ("threads", "processes"):
        try:
            said.append(read(split, by)[0][0].tobytes())
        except DataError as error:
            said.append(str(error))
    assert said[0] == said[1]


@pytest.mark.parametrize(
    ("by", "workers", "before", "pictures", "expected"),
    [
        ("auto", 4, 1500, 500, True),
        ("auto", 4, 1500, 499, False),
        ("auto", 3, 5000, 5000, False),
        ("threads", 16, 5000, 5000, False),
        ("processes", 1, 0, 1, True),
    ],
)
def test_processes_are_taken_for_much_to_read_on_many_processors(monkeypatch, by, workers, before, pictures, expected):
    taken = []
    monkeypatch.setattr(readers, "pool_of", lambda module, count, *how: closing(Taken(taken, count)))
    monkeypatch.setattr(readers._Count, "pictures", before)
    with readers.ExitStack() as held:
        assert (readers.pool_for(held, by, workers, pictures) is not None) is expected
    assert taken == [workers] * expected


class Taken:
    def __init__(self, taken, count):
        taken.append(count)

    def start(self):
        pass

    def close(self):
        pass


def test_files_are_checked_alike(tmp_path, eager, monkeypatch):
    root = write_class_folders(tmp_path / "set", counts=(4, 1))
    (root / "train/ants/empty.png").write_bytes(b"")
    (root / "train/ants/none.png").write_bytes(b"none")
    deep = np.arange(900, dtype=np.uint16).reshape(30, 30)
    Image.fromarray(deep).save(root / "train/bees/deep.png")
    files = sorted(map(str, (root / "train").glob("*/*")))
    split = Split(files, np.zeros(len(files), np.int64))
    by_processes = list(inspect_all(split, 2, silent))
    monkeypatch.setattr(readers, "CAN_SHARE", False)
    assert by_processes == list(inspect_all(split, 2, silent))
    assert len({result.reason for result in by_processes}) == 3


def test_pictures_to_predict_are_read_alike(split, tmp_path, eager, monkeypatch):
    (tmp_path / "none.png").write_bytes(b"none")
    files = [*list(split.files), str(tmp_path / "none.png"), *list(split.files)]
    pictures = [(file, file) for file in files]
    for transforms in (RANDOM, default_eval(12)):
        monkeypatch.setattr(readers, "CAN_SHARE", True)
        by_processes = list(read_given(pictures, transforms, 2))
        monkeypatch.setattr(readers, "CAN_SHARE", False)
        for a, b in zip(by_processes, read_given(pictures, transforms, 2), strict=True):
            if isinstance(a, Skipped):
                assert a == b
            else:
                np.testing.assert_array_equal(a, b)


def test_what_lies_in_memory_stays_there(split, eager):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        pixels, other = read_given([("image 0", np.zeros((20, 20, 3), np.uint8)), ("x", split.files[0])], RANDOM, 2)
    assert pixels.shape == other.shape == (12, 12, 3)
