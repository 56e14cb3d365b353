"""Backends that have an input pipeline of their own, and pictures of every sort to be read by it."""

import numpy as np
import pytest
from native_pictures import SIZES, saved
from PIL import Image

from xfer.backend import InputSpec
from xfer.backends import declared
from xfer.testing.fixtures import require
from xfer.testing.pictures import write_class_folders


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


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    return write_class_folders(tmp_path_factory.mktemp("data") / "pictures", ("ants", "bees", "蜂"), (7, 3))
