"""Predicting from Python: what can be given, what comes back, and what a picture that cannot be used does."""

import dataclasses

import numpy as np
import pytest
from PIL import Image

import xfer
from xfer.errors import DataError
from xfer.testing.numpy_backend import NumpyBackend
from xfer.testing.pictures import write_class_folders

BACKEND = NumpyBackend()


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("predict")
    data = write_class_folders(folder / "pictures")
    return xfer.train(
        None, BACKEND, output=folder / "run", data=str(data), weights="random", arch="tiny", size=32, epochs=1
    )


@pytest.fixture
def photo(tmp_path):
    """A JPEG file that is stored lying on its side, larger than the network sees."""
    pixels = np.random.default_rng(0).integers(0, 256, (6, 9, 3)).astype(np.uint8)
    image = Image.fromarray(pixels).resize((90, 60))
    exif = image.getexif()
    exif[274] = 6
    image.save(tmp_path / "photo.jpg", exif=exif)
    return tmp_path / "photo.jpg"


@pytest.fixture
def wide(tmp_path):
    """A 16-bit grey PNG file that is stored upside down: what its values mean depends on the format."""
    image = Image.fromarray(np.linspace(0, 9000, 40 * 40).reshape(40, 40).astype(np.uint16))
    exif = image.getexif()
    exif[274] = 3
    image.save(tmp_path / "wide.png", exif=exif)
    return tmp_path / "wide.png"


def test_an_image_of_pillow_is_predicted_as_its_file_is_and_left_as_it_was(run, photo, wide):
    images = [Image.open(photo), Image.open(wide)]
    before = [image.copy().tobytes() for image in images]
    given, files = run.predict(images, backend=BACKEND), run.predict([photo, wide], backend=BACKEND)
    assert np.array_equal(given.probabilities, files.probabilities)
    assert not np.array_equal(files.probabilities[0], files.probabilities[1])
    assert given.files == ("image 0", "image 1")
    assert files.files == (str(photo), str(wide))
    assert [image.tobytes() for image in images] == before
    assert images[0].getexif()[274] == 6


def test_an_array_is_predicted_as_the_image_of_it(run):
    pixels = np.random.default_rng(1).integers(0, 256, (3, 40, 50, 3)).astype(np.uint8)
    wanted = run.predict([Image.fromarray(p) for p in pixels], backend=BACKEND).probabilities
    assert np.array_equal(run.predict(pixels, backend=BACKEND).probabilities, wanted)
    assert np.array_equal(run.predict(list(pixels), backend=BACKEND).probabilities, wanted)
    assert np.array_equal(run.predict(pixels[1], backend=BACKEND).probabilities, wanted[1:2])
    assert not np.array_equal(run.predict(pixels[..., ::-1], backend=BACKEND).probabilities, wanted)


def test_one_image_given_many_times_is_read_once_by_one_thread_at_a_time(run, photo):
    image = Image.open(photo)
    rows = run.predict([image] * 40, backend=BACKEND).probabilities
    assert rows.shape == (40, 2)
    assert (rows == rows[0]).all()


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (np.zeros((40, 40, 3), np.float32), r"image 0: an array of float32 \(40, 40, 3\): expected uint8 \(H, W, 3\)"),
        (np.zeros((3, 40, 40), np.uint8), r"an array of uint8 \(3, 40, 40\)"),
        (np.zeros((40, 40), np.uint8), r"an array of uint8 \(40, 40\)"),
        (np.zeros((0, 40, 3), np.uint8), r"an array of uint8 \(0, 40, 3\)"),
        ([7], "picture 0 is of type int: expected a path"),
        (7, "picture 0 is of type int: expected a path"),
        ([], "nothing to predict"),
        (np.zeros((0, 40, 40, 3), np.uint8), "nothing to predict"),
    ],
)
def test_what_is_no_picture_is_refused(run, given, words):
    with pytest.raises(DataError, match=words):
        run.predict(given, backend=BACKEND)


def test_a_picture_that_cannot_be_used_raises_unless_it_may_be_skipped(run, photo, tmp_path):
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(photo.read_bytes()[:300])
    given = [broken, photo, np.zeros((2, 2), np.uint8)]
    with pytest.raises(DataError, match=r"broken\.jpg: truncated"):
        run.predict(given, backend=BACKEND)
    predictions = run.predict(given, backend=BACKEND, on_bad_image="skip")
    assert np.array_equal(predictions.probabilities, run.predict(photo, backend=BACKEND).probabilities)
    assert predictions.files == (str(photo),)
    assert [name for name, _ in predictions.skipped] == [str(broken), "image 2"]
    assert predictions.skipped[0].reason == "truncated"
    first, *others = predictions.rows()
    assert (first["file"], first["reason"]) == (str(photo), None)
    assert [set(row) for row in others] == [set(first)] * 2
    assert [(row["file"], row["predicted"]) for row in others] == [(str(broken), None), ("image 2", None)]


def test_where_nothing_can_be_used_it_is_an_error_though_all_may_be_skipped(run, tmp_path):
    for name in ("a.png", "b.png"):
        (tmp_path / name).write_bytes(b"no picture")
    with pytest.raises(DataError, match=r"none of 2 pictures can be used, the first: .*a\.png: not an image"):
        run.predict(tmp_path, backend=BACKEND, on_bad_image="skip")


def test_an_image_whose_file_turns_out_to_be_damaged_is_a_picture_that_cannot_be_used(run, photo, tmp_path):
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(photo.read_bytes()[:-200])
    with pytest.raises(DataError, match="image 0: truncated"):
        run.predict(Image.open(broken), backend=BACKEND)


def test_top_gives_the_most_probable_classes_the_best_first(run, photo):
    predictions = run.predict(photo, backend=BACKEND)
    ((first, second),) = predictions.top(5)
    assert first == (predictions.labels[0], float(predictions.probabilities.max()))
    assert {first[0], second[0]} == {"ants", "bees"}
    assert second[1] == float(predictions.probabilities.min())
    assert predictions.top(1) == [[first]]


def test_what_is_shown_of_a_run_a_checkpoint_and_predictions_fits_a_screen(run, photo, tmp_path):
    assert repr(run) == (
        f"<Run {str(run.path)!r}: tiny on pictures; numpy on cpu; {run.result['val_accuracy']:.2%} of 8 validation "
        f"images, best epoch 1>"
    )
    assert repr(xfer.Run(tmp_path, {})) == f"<Run {str(tmp_path)!r}: None on None; None on None>"
    shown = repr(run.checkpoint)
    assert "tiny, 32 x 32 pixels, " in shown
    assert f"{sum(array.size for array in run.checkpoint.weights.values())} values" in shown.replace(",", "")
    assert shown.endswith("; 2 classes: ants, bees, written by numpy>")
    many = dataclasses.replace(run.checkpoint, classes=tuple("abcdefghij"), record={})
    assert repr(many).endswith("10 classes: a, b, c, d, e and 5 more>")
    predictions = run.predict([*[Image.open(photo)] * 11, photo], backend=BACKEND)
    head, *lines = repr(predictions).splitlines()
    assert head == "<Predictions of 12 pictures, 2 classes: ants, bees"
    assert lines[9].split() == [predictions.labels[9], f"{predictions.probabilities[9].max():.2%}", "image", "9"]
    assert lines[10:] == ["  and 2 more>"]


def test_the_epochs_of_a_run_are_rows_of_a_table(run):
    (row,) = run.history
    assert row["epoch"] == 1
    assert {type(value) for value in row.values()} <= {int, float, str, bool}
