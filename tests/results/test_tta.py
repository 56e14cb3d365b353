"""Predicting with several views of each picture: means of what a network says of each, on every backend."""

import json

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

import xfer
from xfer.backends import declared
from xfer.cli.main import main
from xfer.data.dataset import open_dataset
from xfer.errors import ConfigError
from xfer.metrics import cross_entropy, mean_over_views, probabilities
from xfer.pixels.augment import Resize, apply
from xfer.testing.fixtures import require
from xfer.testing.numpy_backend import NumpyBackend
from xfer.testing.pictures import write_class_folders

SIZE, LARGER = 32, (37, 45)  # of the middle, and of the pictures it is cut from
EVAL = [{"op": "Resize", "size": list(LARGER)}, {"op": "CenterCrop", "size": SIZE}]
RESIZE_ALONE = [{"op": "Resize", "size": [SIZE, SIZE]}]


@pytest.fixture(scope="module", params=["numpy", *declared()])
def backend(request):
    return NumpyBackend() if request.param == "numpy" else require(request.param)[0]


@pytest.fixture(scope="module")
def run(tmp_path_factory, backend):
    return trained(tmp_path_factory.mktemp("tta"), backend, EVAL)


def trained(folder, backend, transforms):
    data, arch = write_class_folders(folder / "pictures"), "tiny" if backend.name == "numpy" else "convnet"
    fields = {"data": str(data), "weights": "random", "arch": arch, "size": SIZE, "epochs": 1, "lr": 0.1}
    changes = {"augment.eval": transforms, "train.train_from": "stem"}
    return xfer.train(None, backend, output=folder / "run", set=changes, **fields)


def photo():
    rng = np.random.default_rng(4)
    blocks = Image.fromarray(rng.integers(0, 256, (6, 9, 3)).astype(np.uint8)).resize((90, 60))
    return np.asarray(blocks)


def views_by_hand(picture):
    """What each kind of views is, in slices: the middle, then four corners."""
    whole = apply(Image.fromarray(picture), [Resize(size=LARGER)])
    top, left = (round((side - SIZE) / 2) for side in LARGER)
    middle = whole[top : top + SIZE, left : left + SIZE]
    corners = [
        whole[rows, columns]
        for rows in (slice(SIZE), slice(-SIZE, None))
        for columns in (slice(SIZE), slice(-SIZE, None))
    ]
    five = [middle, *corners]
    return {"flip": [middle, middle[:, ::-1]], "five": five, "ten": five + [view[:, ::-1] for view in five]}


@pytest.mark.parametrize(("tta", "count"), [("flip", 2), ("five", 5), ("ten", 10)])
def test_a_prediction_is_the_mean_of_the_probabilities_of_each_view(run, backend, tta, count):
    picture, net = photo(), run.checkpoint.net(backend, "cpu")
    views = np.ascontiguousarray(views_by_hand(picture)[tta])
    assert len({view.tobytes() for view in views}) == len(views) == count
    each = probabilities(net.predict_step()(views))
    assert np.ptp(each, axis=0).max() > 1e-4  # or else any of them would do
    (row,) = run.predict(picture, backend=backend, device="cpu", tta=tta).probabilities
    np.testing.assert_allclose(row, each.astype(float).mean(0), rtol=0, atol=2e-6)


def test_an_evaluation_is_that_of_the_means_and_of_many_pictures_in_order(run, backend):
    plain = run.evaluate(backend=backend, device="cpu")
    for tta in ("flip", "five", "ten"):
        result = run.evaluate(backend=backend, device="cpu", tta=tta)
        files = run.predict(run.path.parent / "pictures", backend=backend, device="cpu", tta=tta)
        row_of = dict(zip(files.files, files.probabilities, strict=True))
        split = open_dataset(str(run.path.parent / "pictures"), seed=0).val
        np.testing.assert_allclose(result.probabilities, [row_of[str(file)] for file in split.files], rtol=0, atol=2e-6)
        np.testing.assert_array_equal(result.labels, plain.labels)
        assert result.loss == pytest.approx(cross_entropy(result.logits, result.labels).mean())
        assert result.accuracy == (result.probabilities.argmax(1) == result.labels).mean()
        assert np.abs(result.logits - plain.logits).max() > 1e-4


@pytest.mark.parametrize("backend", declared(), indirect=True)
def test_the_command_says_what_was_asked_for(run, backend):
    words = ["evaluate", str(run.path), "--backend", backend.name, "--json"]
    result = CliRunner().invoke(main, [*words, "--tta", "five", "--device", "cpu"])
    answer = json.loads(result.stdout)
    expected = run.evaluate(backend=backend, device="cpu", tta="five")
    assert (answer["tta"], answer["accuracy"], answer["loss"]) == ("five", expected.accuracy, expected.loss)
    assert "tta" not in json.loads(CliRunner().invoke(main, [*words, "--device", "cpu"]).stdout)


def test_crops_without_a_crop_to_take_the_place_of_are_refused(tmp_path):
    run = trained(tmp_path, NumpyBackend(), RESIZE_ALONE)
    with pytest.raises(
        ConfigError, match=r"augment\.eval ends in Resize, expected the CenterCrop .* Cure: tta = 'flip'"
    ):
        run.evaluate(backend=NumpyBackend(), tta="ten")
    assert run.evaluate(backend=NumpyBackend(), tta="flip").logits.shape[1] == 2
    with pytest.raises(ConfigError, match=r"tta = 'flop': expected one of flip, five, ten\. Did you mean 'flip'\?"):
        run.predict(photo(), backend=NumpyBackend(), tta="flop")


def test_means_of_probabilities_near_0_keep_their_logarithms():
    logits = np.array([[0, -900], [0, -900], [0, 0], [0, -2000]], np.float32)
    found = mean_over_views(logits, 2)
    np.testing.assert_allclose(found, [[0, -900], [np.log(0.75), np.log(0.25)]], rtol=1e-6, atol=1e-6)
    assert found.dtype == np.float32
    assert not np.isfinite(mean_over_views(np.array([[0, np.nan], [0, 1]], np.float32), 2)).any()
