"""The frameworks' own input pipelines in a run: the same batches, errors of one line, and no worker that stays."""

import multiprocessing
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from native_pictures import picture, read
from PIL import Image

from xfer.data.dataset import open_dataset
from xfer.data.order import chunks
from xfer.errors import BackendError, DataError
from xfer.pixels.augment import (
    CenterCrop,
    ColorJitter,
    GaussianBlur,
    HorizontalFlip,
    Levels,
    RandAugment,
    RandomApply,
    RandomChoice,
    RandomCrop,
    RandomErasing,
    RandomResizedCrop,
    Resize,
    Rotation,
    Sharpness,
    TrivialAugmentWide,
    VerticalFlip,
    apply,
)
from xfer.pixels.images import open_image
from xfer.pixels.reading import picture_digest
from xfer.recipe.load import as_recipe
from xfer.section import Section
from xfer.system.locks import locked
from xfer.testing.delegate import Delegate
from xfer.training.run import fit, prepare

NOISY = [
    RandomResizedCrop(size=24),
    HorizontalFlip(),
    VerticalFlip(),
    ColorJitter(brightness=0.5, contrast=0.5, saturation=0.5, hue=0.1),
    Rotation(degrees=30),
    RandomCrop(size=24, padding=2),
    RandAugment(),
    RandomApply(transforms=[Sharpness(sharpness_factor=2, p=0.9), GaussianBlur(kernel_size=3)]),
    RandomChoice(transforms=[TrivialAugmentWide(), Rotation(degrees=5)]),
    RandomErasing(value="random"),
]


def test_a_pictures_luck_is_in_the_seed_and_its_index_alone(native, mixed):
    files = mixed * 3
    together = read(native, files, NOISY, [list(range(len(files)))], seed=1)[0]
    order = np.random.default_rng(0).permutation(len(files))
    apart = read(native, files, NOISY, chunks(order, 4), seed=1, workers=1)
    pixels, labels = (np.concatenate([getattr(b, name) for b in apart]) for name in ("inputs", "labels"))
    np.testing.assert_array_equal(pixels, together.inputs[order])
    np.testing.assert_array_equal(labels, order)
    reseeded = read(native, files, NOISY, [list(range(len(files)))], seed=2)[0]
    assert all((a != b).any() for a, b in zip(together.inputs, reseeded.inputs, strict=True))
    assert len({picture_digest(image) for image in together.inputs}) == len(files)


def test_the_callers_random_numbers_are_left_alone(native, mixed):
    torch = sys.modules.get("torch")  # only where it is the backend

    def states():
        return random.getstate(), np.random.get_state()[1].tolist(), torch and torch.get_rng_state().tolist()

    before = states()
    read(native, mixed, NOISY, [[0, 1], [2, 3]])
    assert states() == before


def test_batches_come_in_order_and_only_what_they_name_is_read(native, tmp_path):
    files = [picture(np.full((9, 7, 3), 20 * i), tmp_path / f"{i}.png") for i in range(6)] + ["missing.png"]
    parts = [[5, 0], [3], [1, 4, 2]]
    labels = np.array([3, 1, 4, 1, 5, 9, 2])
    batches = list(native(files, labels, [CenterCrop(size=[6, 5])], [np.array(p) for p in parts], 0, 0))
    for part, batch in zip(parts, batches, strict=True):
        assert batch.inputs.shape == (len(part), 6, 5, 3)
        assert (batch.inputs.dtype, batch.labels.dtype) == (np.uint8, np.int64)
        assert batch.inputs.flags.c_contiguous
        assert batch.inputs[:, 0, 0, 0].tolist() == [20 * i for i in part]
        assert batch.labels.tolist() == labels[part].tolist()
    assert list(native(files, labels, [CenterCrop(size=5)], [], 0, 2)) == []


def test_wide_values_have_the_range_that_training_decided_on(native, tmp_path):
    values = np.linspace(0, 0.9, 64, dtype=np.float32).reshape(8, 8)
    Image.fromarray(values).save(tmp_path / "x.tif")
    levels = Levels(floats=(0.0, 1.8))
    (batch,) = native([str(tmp_path / "x.tif")], np.zeros(1, int), [levels, CenterCrop(size=8)], [np.array([0])], 0, 1)
    right = np.rint(values.astype(np.float64) * (255 / 1.8))
    np.testing.assert_array_equal(batch.inputs[0], np.repeat(right[..., None], 3, axis=2))


@pytest.mark.parametrize("name", ["broken.jpg", "broken\udcff.jpg"])
def test_a_bad_picture_is_named(native, mixed, tmp_path, name):
    (tmp_path / name).write_bytes(b"no picture")
    parts = [np.array([0]), np.array([0, 1])]
    batches = native([mixed[0], str(tmp_path / name)], np.arange(2), [CenterCrop(size=8)], parts, 0, 2)
    assert next(batches).labels.tolist() == [0]
    with pytest.raises(DataError) as caught:
        next(batches)
    assert str(caught.value) == f"{tmp_path / name}: not an image"


def test_a_picture_smaller_than_its_crop_is_named_with_the_cure(native, mixed):
    with pytest.raises(DataError) as caught:
        read(native, mixed, [RandomCrop(size=60, padding=4)], [[0], [3]])
    assert str(caught.value) == f"{mixed[3]}: {RandomCrop(size=60, padding=4).too_small(17, 120)}"


def test_an_augmentation_it_does_not_know_is_refused(native, mixed):
    class Swirl(Section):
        op: str = "Swirl"

    with pytest.raises(BackendError, match=r"no Swirl. Cure: data\.pipeline = 'core'"):
        read(native, mixed, [Swirl()], [[0]])


def running():
    """Threads and child processes of this process."""
    return len(os.listdir("/proc/self/task")), len(multiprocessing.active_children())


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="the system does not list threads in /proc")
@pytest.mark.parametrize("how", ["closed", "failed"])
def test_all_workers_end_with_a_loop_that_ends_early(native, mixed, how):
    count, transforms = 2000, [CenterCrop(size=8)]
    read(native, mixed, transforms, [[0], [1]])  # threads that a framework keeps for good begin here
    before = running()
    files = [mixed[0]] * 8 + ["missing.png"] + [mixed[0]] * (count - 9)
    batches = native(files, np.zeros(count, np.int64), transforms, chunks(np.arange(count), 8), 0, 2)
    next(batches)
    assert running() > before
    if how == "closed":
        batches.close()
    else:
        with pytest.raises(DataError) as caught:
            next(batches)
        assert caught.traceback  # which holds on to what was in use
    deadline = time.monotonic() + 10
    while running() > before and time.monotonic() < deadline:
        time.sleep(0.05)
    assert running() <= before


class Listening(Delegate):
    """Keeps the training pictures and labels that the native pipeline gives."""

    def __init__(self, inner):
        super().__init__(inner)
        self.calls = []

    def native_batches(self, spec):
        self.calls.append((spec.files, []))
        for batch in self.inner.native_batches(spec):
            self.calls[-1][1].extend(zip(map(picture_digest, batch.inputs), batch.labels.tolist(), strict=True))
            yield batch


def recipe(folders, **changes):
    data = {"data": str(folders), "data.pipeline": "native", "data.workers": 2, "views": "fresh", "batch_size": 4}
    return as_recipe(None, data | {"arch": "convnet", "weights": "random", "size": 32, "epochs": 1} | changes)


def test_an_epoch_gives_every_picture_once(backend, folders):
    resize = [{"op": "Resize", "size": [32, 32]}]
    changes = {"augment.train": resize, "augment.eval": resize, "train.train_from": "stem"}
    heard, data = Listening(backend), open_dataset(str(folders))
    *_, last = fit(prepare(recipe(folders, **changes), heard))
    assert np.isfinite([last.epoch.train_loss, last.epoch.val_loss]).all()
    assert len(heard.calls) == 2
    for split, (files, given) in zip((data.train, data.val), heard.calls, strict=True):
        assert list(files) == list(split.files)
        core = [picture_digest(apply(open_image(file), [Resize(size=[32, 32])])) for file in files]
        assert Counter(given) == Counter(zip(core, split.labels.tolist(), strict=True))


def test_the_boundary_cache_changes_no_native_picture(backend, folders):
    """Kept features are made in another order and in other batches than training sees them in."""
    changes = {"epochs": 2, "views": 2, "train.train_from": "head"}
    kept, made = (
        list(fit(prepare(recipe(folders, **changes, **{"features.cache": cache}), backend))) for cache in (True, False)
    )
    assert kept[-1].epoch.batches_digest == made[-1].epoch.batches_digest
    assert kept[0].epoch.batches_digest != kept[1].epoch.batches_digest


NATIVE_RUN = """
import os, sys
import xfer
record, output, data = sys.argv[1:]
def progress(what, done, total):
    if what.startswith("epoch") and done >= 1:
        open(record, "a").write("training\\n")
xfer.train(
    None, "torch", data=data, arch="convnet", weights="random", size=32, epochs=200, batch_size=4, views="fresh",
    set={"data.pipeline": "native", "data.workers": 2}, output=output, resume="auto", progress=progress,
    checkpoint_every=1e-9,
)
"""


def started(tmp_path, folders):
    """A training by torch's own pipeline, in a process of its own, and the workers that it has started."""
    (tmp_path / "told").unlink(missing_ok=True)
    words = [sys.executable, "-c", NATIVE_RUN, str(tmp_path / "told"), str(tmp_path / "run"), str(folders)]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 120
    while not ((tmp_path / "told").exists() and (workers := children(process.pid))):
        assert time.monotonic() < deadline
        assert process.poll() is None, process.communicate()
        time.sleep(0.01)
    return process, workers


def children(pid):
    found = []
    with suppress(OSError):  # it has just ended
        for task in Path(f"/proc/{pid}/task").iterdir():
            found += map(int, (task / "children").read_text().split())
    return found


def gone(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


on_linux = pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="processes are looked up in /proc")


@on_linux
def test_a_killed_run_leaves_no_worker_and_no_lock(backend, folders, tmp_path):
    if backend.name != "torch":
        pytest.skip("MindSpore's workers are threads")
    process, workers = started(tmp_path, folders)
    process.kill()
    process.communicate()
    with locked(tmp_path / "run" / "run.lock"):  # at once: workers have never held it
        pass
    deadline = time.monotonic() + 10
    while not all(map(gone, workers)):
        assert time.monotonic() < deadline, "workers live on"
        time.sleep(0.01)


@on_linux
def test_a_killed_worker_is_one_line(backend, folders, tmp_path):
    if backend.name != "torch":
        pytest.skip("MindSpore's workers are threads")
    process, _ = started(tmp_path, folders)
    while process.poll() is None:  # those of one epoch end with it: whichever is there now
        for worker in children(process.pid):
            with suppress(ProcessLookupError):
                os.kill(worker, signal.SIGKILL)
        time.sleep(0.01)
    _, errors = process.communicate(timeout=60)
    last = errors.splitlines()[-1]
    assert last.startswith(
        "xfer.errors.BackendError: data.pipeline = 'native': a process that reads pictures was killed"
    )
    assert "Cure: fewer data.workers" in last
