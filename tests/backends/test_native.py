"""The frameworks' own input pipelines against the core: the same pixels, the same distributions, the same batches.

Tolerance of everything that draws nothing, or draws from a range of one value: none, the pixels are the core's.
"""

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
from PIL import Image

from xfer.backend import InputSpec
from xfer.backends import declared
from xfer.data.dataset import open_dataset
from xfer.data.loader import picture_digest
from xfer.data.order import chunks
from xfer.errors import BackendError, DataError
from xfer.pixels.augment import (
    CenterCrop,
    ColorJitter,
    HorizontalFlip,
    Levels,
    Normalize,
    RandomCrop,
    RandomErasing,
    RandomResizedCrop,
    Resize,
    Rotation,
    VerticalFlip,
    apply,
)
from xfer.pixels.images import open_image
from xfer.recipe.load import as_recipe
from xfer.section import Section
from xfer.system.locks import locked
from xfer.testing.delegate import Delegate
from xfer.testing.fixtures import require
from xfer.testing.pictures import write_class_folders
from xfer.training.run import fit, prepare

SIZES = [(61, 83), (83, 61), (64, 64), (17, 120), (33, 32), (391, 32)]  # height, width; the last rounds ill
DRAWS = 400
REFERENCE = 1500
LIMIT = np.sqrt(-np.log(1e-4 / 2) / 2 * (1 / DRAWS + 1 / REFERENCE))
"""Two samples of one law are further apart once in 10,000 times (Kolmogorov and Smirnov)."""


@pytest.fixture(params=declared())
def backend(request):
    """Once for each backend: pictures are read by processors, whatever the device that computes."""
    backend, _ = require(request.param)
    if not hasattr(backend, "native_batches"):
        pytest.skip(f"backend {backend.name} has no input pipeline of its own")
    return backend


@pytest.fixture
def native(backend):
    """The framework's own pipeline, given the fields of an InputSpec."""
    return lambda *fields: backend.native_batches(InputSpec(*fields))


@pytest.fixture(scope="module")
def mixed(tmp_path_factory):
    """Pictures of several sizes, smooth in part and noisy in part; one that EXIF turns, one grey, one transparent."""
    folder, files = tmp_path_factory.mktemp("mixed"), []
    for number, (height, width) in enumerate(SIZES):
        rng = np.random.default_rng((number, 1))
        noise = Image.fromarray(rng.integers(0, 256, (height, width, 3), np.uint8))
        blocks = Image.fromarray(rng.integers(0, 256, (5, 7, 3), np.uint8)).resize((width, height))
        files.append(saved(Image.blend(noise, blocks, 0.7), folder / f"{number}.png"))
    image = Image.open(files[0])
    exif = Image.Exif()
    exif[0x0112] = 6
    image.save(folder / "turned.jpg", exif=exif)
    seen = image.copy()
    seen.putalpha(100)
    return [
        *files,
        str(folder / "turned.jpg"),
        saved(image.convert("L"), folder / "l.png"),
        saved(seen, folder / "a.png"),
    ]


def saved(image, path):
    image.save(path)
    return str(path)


def picture(pixels, path):
    return saved(Image.fromarray(np.asarray(pixels, np.uint8)), path)


def read(native, files, transforms, parts, seed=0, workers=2):
    return list(native(files, np.arange(len(files)), transforms, [np.array(part) for part in parts], seed, workers))


def sample(native, file, transforms, seed=3):
    """DRAWS pictures made of one, (DRAWS, H, W, 3)."""
    parts = chunks(np.arange(DRAWS), 50)
    return np.concatenate([batch.inputs for batch in read(native, [file] * DRAWS, transforms, parts, seed)])


def core_sample(file, transforms, statistic):
    image = open_image(file)
    return [statistic(apply(image, transforms, np.random.default_rng((5, i)))) for i in range(REFERENCE)]


def distance(ours, theirs):
    """Kolmogorov-Smirnov statistic of two samples."""
    a, b = np.sort(ours), np.sort(theirs)
    both = np.concatenate([a, b])
    return np.abs(np.searchsorted(a, both, "right") / len(a) - np.searchsorted(b, both, "right") / len(b)).max()


def assert_same_law(native, file, transforms, statistic):
    """`statistic` makes numbers of a picture; each of them follows the law that it follows in the core."""
    ours = np.array([statistic(pixels) for pixels in sample(native, file, transforms)], float)
    core = np.array(core_sample(file, transforms, statistic), float)
    distances = [distance(a, b) for a, b in zip(ours.T, core.T, strict=True)]
    assert max(distances) < LIMIT, distances


FIXED = {
    "shorter side": [Resize(size=40)],
    "shorter side, larger": [Resize(size=256, interpolation="nearest")],
    "both sides": [Resize(size=[24, 50], interpolation="bicubic")],
    "both sides, nearest": [Resize(size=[90, 33], interpolation="nearest")],
    "the middle": [CenterCrop(size=16)],
    "the middle of less, odd": [CenterCrop(size=97)],
    "the middle of less, even": [CenterCrop(size=[20, 100])],
    "as usual": [Resize(size=37), CenterCrop(size=32)],
    "normalisation is the network's": [Resize(size=37), Normalize(mean=(0.5,) * 3, std=(0.1,) * 3)],
    "no jitter": [ColorJitter(contrast=(1, 1))],
    "brightness": [ColorJitter(brightness=(0.5, 0.5))],
    "contrast": [ColorJitter(contrast=(1.75, 1.75))],
    "saturation": [ColorJitter(saturation=(0.25, 0.25))],
    "hue": [ColorJitter(hue=(0.25, 0.25))],
    "hue, backwards": [ColorJitter(hue=(-0.125, -0.125))],
    "rotation": [Rotation(degrees=(30, 30), fill=[1, 2, 3])],
    "smooth rotation": [Rotation(degrees=(-200, -200), interpolation="bilinear")],
    "cubic rotation": [Rotation(degrees=(90.5, 90.5), interpolation="bicubic", fill=9)],
    "flips": [HorizontalFlip(p=1), VerticalFlip(p=1)],
    "no flips": [HorizontalFlip(p=0), VerticalFlip(p=0), RandomErasing(p=0)],
    "the only crop": [Resize(size=[30, 40]), RandomCrop(size=[36, 46], padding=3, fill=[9, 8, 7])],
    "all, resized": [Resize(size=[60, 80]), RandomResizedCrop(size=32, scale=(1, 1), ratio=(80 / 60, 80 / 60))],
    "all, bicubic": [
        Resize(size=[60, 80]),
        RandomResizedCrop(size=[90, 40], scale=(1, 1), ratio=(80 / 60, 80 / 60), interpolation="bicubic"),
    ],
}


@pytest.mark.parametrize("transforms", FIXED.values(), ids=FIXED)
def test_where_nothing_is_left_to_chance_the_pixels_are_the_cores(native, mixed, transforms):
    batches = read(native, mixed, transforms, [[i] for i in range(len(mixed))])
    for file, batch in zip(mixed, batches, strict=True):
        core = apply(open_image(file), [t for t in transforms if t.op != "Normalize"], np.random.default_rng(0))
        np.testing.assert_array_equal(batch.inputs[0], core)


def map_of(height, width):
    """A picture that says where each of its pixels is: red its column, green its row, blue 200."""
    rows, columns = np.mgrid[:height, :width]
    return np.stack([columns, rows, np.full_like(rows, 200)], 2)


def box(pixels):
    """(area, width / height, top, left) of the part of a map that fills a larger picture, by nearest pixels."""
    left, top, _ = pixels.min((0, 1)).astype(int)
    right, bottom, _ = pixels.max((0, 1)).astype(int)
    height, width = bottom - top + 1, right - left + 1
    return height * width, width / height, top, left


@pytest.mark.parametrize("size", [(72, 48), (30, 70)])
def test_crops_have_the_cores_areas_ratios_and_places(native, tmp_path, size):
    file = picture(map_of(*size), tmp_path / "map.png")
    spec = RandomResizedCrop(size=72, scale=(0.1, 0.9), ratio=(0.25, 3), interpolation="nearest")
    assert_same_law(native, file, [spec], box)


def test_where_no_box_fits_the_middle_is_cropped(native, tmp_path):
    """With nearly the whole area asked for, no shape fits."""
    file = picture(map_of(20, 101), tmp_path / "map.png")
    spec = RandomResizedCrop(size=[101, 101], scale=(0.9999, 1.0), ratio=(0.9, 1.1), interpolation="nearest")
    for pixels in read(native, [file], [spec], [[0]])[0].inputs:
        area, ratio, top, left = box(pixels)
        assert (area, ratio, top) == (20 * 22, 22 / 20, 0)
        assert left in (39, 40)  # the odd column may be on either side


@pytest.mark.parametrize(
    "spec",
    [
        RandomCrop(size=[20, 24]),
        RandomCrop(size=30, padding=6, fill=[255, 254, 7]),
        RandomCrop(size=[50, 60], pad_if_needed=True, fill=255),
    ],
)
def test_crops_of_one_size_lie_where_the_cores_lie(native, tmp_path, spec):
    file = picture(map_of(31, 40), tmp_path / "map.png")

    def place(pixels):
        inside = pixels[:, :, 2] == 200
        assert (pixels[~inside] == spec.fill).all()
        row, column = divmod(inside.argmax(), inside.shape[1])
        return pixels[row, column, 1] - float(row), pixels[row, column, 0] - float(column), inside.sum()

    assert_same_law(native, file, [spec], place)


def test_flips_are_as_frequent_as_asked_and_independent(native, tmp_path):
    file = picture(map_of(8, 8), tmp_path / "map.png")
    made = sample(native, file, [HorizontalFlip(p=0.3), VerticalFlip(p=0.8)])
    across, down = made[:, 0, 0, 0] == 7, made[:, 0, 0, 1] == 7
    for flipped, p in ((across, 0.3), (down, 0.8), (across & down, 0.24)):
        assert abs(flipped.mean() - p) < 4 * np.sqrt(p * (1 - p) / DRAWS)  # one binomial in 16,000 is further off


@pytest.mark.parametrize(
    "spec",
    [
        ColorJitter(brightness=0.6),
        ColorJitter(brightness=1.5),
        ColorJitter(contrast=(0.2, 0.9)),
        ColorJitter(saturation=0.8),
        ColorJitter(hue=0.2),
        ColorJitter(hue=(-0.5, -0.1)),
        ColorJitter(brightness=0.4, contrast=0.4, saturation=0.7, hue=0.1),
    ],
    ids=lambda spec: ",".join(sorted(spec.model_fields_set)),
)
def test_colours_vary_as_the_cores_do(native, tmp_path, spec):
    two = np.array([[[150, 60, 40], [30, 110, 90]]]).repeat(8, 0).repeat(4, 1)
    file = picture(two, tmp_path / "two.png")
    assert_same_law(native, file, [spec], lambda pixels: pixels[0, [0, -1]].ravel())


@pytest.mark.parametrize("degrees", [20, 360, 250, (0, 360), (-30, 500), (100, 170)])
def test_angles_follow_the_cores_law(native, tmp_path, degrees):
    pixels = np.zeros((65, 65, 3))
    pixels[27:38, 47:58] = 255
    file = picture(pixels, tmp_path / "spot.png")

    def angle(pixels):
        rows, columns = np.nonzero(pixels[:, :, 0])
        return (np.degrees(np.arctan2(32 - rows.mean(), columns.mean() - 32)),)

    assert_same_law(native, file, [Rotation(degrees=degrees)], angle)


@pytest.mark.parametrize("value", [0, [10, 20, 30], "random"])
def test_as_much_is_erased_as_in_the_core(native, tmp_path, value):
    """Shares with their zeros, shapes, places, and the colour in the middle."""
    file = picture(np.full((60, 40, 3), 200), tmp_path / "plain.png")
    spec = RandomErasing(p=0.6, scale=(0.05, 0.5), ratio=(0.2, 1.2), value=value)

    def patch(pixels):
        where = np.argwhere((pixels != 200).any(2))
        if not len(where):
            return (0,) * 7
        (top, left), (bottom, right) = where.min(0), where.max(0) + 1
        middle = pixels[(top + bottom) // 2, (left + right) // 2]
        return (bottom - top) * (right - left), (bottom - top) / (right - left), top + 1, left + 1, *middle

    assert_same_law(native, file, [spec], patch)


NOISY = [
    RandomResizedCrop(size=24),
    HorizontalFlip(),
    VerticalFlip(),
    ColorJitter(brightness=0.5, contrast=0.5, saturation=0.5, hue=0.1),
    Rotation(degrees=30),
    RandomCrop(size=24, padding=2),
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


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    return write_class_folders(tmp_path_factory.mktemp("data") / "pictures", ("ants", "bees", "蜂"), (7, 3))


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
        assert files == [str(file) for file in split.files]
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
