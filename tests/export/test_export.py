"""`xfer export` to ONNX and `xfer predict model.onnx`: the same pictures, the same classes, and nothing that is not."""

import csv
import json
import os
import shutil
import sys

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

pytest.importorskip("onnx", reason="onnx is not installed")
pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")

import onnx
import onnxruntime

import xfer
from xfer.cli.main import main
from xfer.export import kinds
from xfer.export.export import export
from xfer.formats.files import digest
from xfer.results.checkpoint import load_checkpoint
from xfer.testing.numpy_backend import NumpyBackend
from xfer.testing.pictures import write_class_folders

BACKEND = NumpyBackend()
NORMALIZE = {"op": "Normalize", "mean": [0.3, 0.5, 0.6], "std": [0.2, 0.3, 0.4]}
EVAL = [{"op": "Resize", "size": 36}, {"op": "CenterCrop", "size": [32, 30]}, NORMALIZE]


def trained(folder, steps=EVAL):
    data = write_class_folders(folder / "pictures", ("Zürich, été", "bees"), (6, 5), (40, 48))
    recipe = {"data": str(data), "weights": "random", "arch": "tiny", "epochs": 2, "lr": 0.05}
    return xfer.train(None, BACKEND, output=folder / "run", **recipe, **{"augment.eval": steps, "augment.train": steps})


@pytest.fixture(scope="module")
def run(tmp_path_factory, undrawn_module):
    return trained(tmp_path_factory.mktemp("export"))


@pytest.fixture(scope="module")
def model(run):
    path = run.path.parent / "model.onnx"
    xfer_("export", run.path, "-o", path)
    return path


def xfer_(*words, code=0):
    result = CliRunner().invoke(main, [str(word) for word in words])
    assert result.exit_code == code, result.output + result.stderr + str(result.exception)
    return result


def refused(*words, code=2):
    """The one line that a command ends with."""
    (line,) = [line for line in xfer_(*words, code=code).stderr.splitlines() if not line.startswith("checking")]
    return line


def rows(path):
    with path.open(encoding="utf-8", newline="") as lines:
        return list(csv.DictReader(lines))


def test_it_says_what_it_wrote_and_what_it_was_checked_with(run, tmp_path):
    result = xfer_("export", run.path, "-o", tmp_path / "m.onnx")
    written, checked = result.stdout.splitlines()
    assert written.startswith(f"written   {tmp_path / 'm.onnx'}, 0.0 MB")
    assert checked.startswith("checked   10 of 10 validation pictures have the same class, and logits are at most ")
    content = json.loads(xfer_("export", run.path, "-o", tmp_path / "n.onnx", "--pictures", 4, "--json").stdout)
    assert content["format"] == "onnx"
    assert content["bytes"] == (tmp_path / "n.onnx").stat().st_size
    assert {key: content["check"][key] for key in ("kind", "pictures", "same")} == {
        "kind": "validation", "pictures": 4, "same": 4,
    }  # fmt: skip
    assert 0 < content["check"]["difference"] < 1e-6
    assert (tmp_path / "m.onnx").read_bytes() == (tmp_path / "n.onnx").read_bytes(), "the same run, the same bits"


@pytest.mark.parametrize("enters", ["normalised", "pixels", "pictures"])
def test_predicting_with_the_model_is_predicting_with_the_run(run, tmp_path, enters):
    model, pictures = tmp_path / "model.onnx", run.path.parent / "pictures"
    xfer_("export", run.path, "-o", model, "--input", enters)
    xfer_("predict", model, pictures, "-o", tmp_path / "model.csv")
    xfer_("predict", run.path, pictures, "-o", tmp_path / "run.csv")
    ours, theirs = rows(tmp_path / "model.csv"), rows(tmp_path / "run.csv")
    assert len(ours) == 22
    assert [list(row) for row in ours] == [list(row) for row in theirs]
    for a, b in zip(ours, theirs, strict=True):
        assert (a["file"], a["predicted"]) == (b["file"], b["predicted"])
        assert np.allclose(
            [float(a[k]) for k in a if k[:2] == "p_"], [float(b[k]) for k in b if k[:2] == "p_"], atol=1e-6
        )
    assert np.ptp([float(row["probability"]) for row in ours]) > 1e-3


def test_the_file_alone_is_enough_for_a_program_without_xfer(run, model):
    """As docs/export.md shows it: onnxruntime, Pillow and NumPy."""
    session = onnxruntime.InferenceSession(str(model), providers=["CPUExecutionProvider"])
    about = session.get_modelmeta().custom_metadata_map
    classes, mean, std = (json.loads(about[key]) for key in ("classes", "mean", "std"))
    (file,) = (run.path.parent / "pictures" / "val" / classes[0]).glob("0.*")
    image = Image.open(file).convert("RGB")
    for step in json.loads(about["transforms"]):
        if step["op"] == "Resize":
            scale = step["size"] / min(image.size)
            image = image.resize([int(side * scale) for side in image.size], Image.Resampling.BILINEAR)
        if step["op"] == "CenterCrop":
            (height, width), left, top = step["size"], 0, 0
            left, top = round((image.width - width) / 2), round((image.height - height) / 2)
            image = image.crop((left, top, left + width, top + height))
    x = (np.asarray(image, np.float32) / 255 - mean) / std
    images = x.transpose(2, 0, 1)[None].astype(np.float32)
    logits, shares = session.run(["logits", "probabilities"], {"images": images})
    assert logits.shape == (1, 2)
    assert np.allclose(shares, run.predict(file, backend=BACKEND).probabilities, atol=1e-5)
    assert [value.shape for value in session.get_inputs()] == [["batch", 3, 32, 30]]
    assert (about["format"], about["arch"], about["input"]) == ("xfer-onnx-1", "tiny", "normalised")
    assert about["weights_digest"] == digest(run.checkpoint.weights)
    assert about["backend"] == "numpy"


def test_pictures_that_cannot_be_used_are_listed_as_ever(model, run, tmp_path):
    (tmp_path / "broken.png").write_bytes(b"no picture")
    good = next((run.path.parent / "pictures" / "val" / "bees").iterdir())
    result = xfer_("predict", model, good, tmp_path / "broken.png", code=1)
    assert result.stdout.splitlines()[1].startswith("not used: not an image")
    assert "1 of 2 pictures could not be used" in result.stderr


def test_a_checkpoint_alone_and_a_run_without_its_data_are_checked_with_random_pictures(run, tmp_path, undrawn):
    shutil.copy(run.path / "best.safetensors", tmp_path / "best.safetensors")
    result = xfer_("export", tmp_path / "best.safetensors", "-o", tmp_path / "a.onnx")
    assert "32 of 32 random pictures have the same class" in result.stdout
    other = trained(tmp_path)
    shutil.rmtree(tmp_path / "pictures")
    assert "8 of 8 random pictures" in xfer_("export", other.path, "-o", tmp_path / "b.onnx", "--pictures", 8).stdout
    given = xfer_("export", other.path, "-o", tmp_path / "c.onnx", "--data", run.path.parent / "pictures")
    assert "10 of 10 given pictures" in given.stdout


def test_a_model_that_does_something_else_is_not_written_and_what_was_there_stays(run, tmp_path, monkeypatch):
    output = tmp_path / "model.onnx"
    output.write_bytes(b"another")
    monkeypatch.setitem(kinds.KINDS, "relu", kinds.operator("Sigmoid"))
    line = refused("export", run.path, "-o", output, "--overwrite", code=1)
    assert line.startswith(f"error: {output} is not written: against numpy, ")
    assert output.read_bytes() == b"another"
    assert os.listdir(tmp_path) == ["model.onnx"]


def test_a_difference_of_a_thousandth_is_one(run, tmp_path, monkeypatch):
    monkeypatch.setitem(kinds.KINDS, "linear", lambda w, of: w.op("Mul", kinds.linear(w, of), w.constant(1.0003)))
    assert "10 of 10 validation pictures have the same class" in refused(
        "export", run.path, "-o", tmp_path / "m.onnx", code=1
    )


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["-o", "m.bin"], "--output m.bin: expected a name that ends in .onnx, .pt, .pt2, .mindir, .safetensors"),
        (["-o", "m.pt", "--format", "onnx"], "--output m.pt: expected a name that ends in .onnx"),
        (["-o", "m.onnx", "--opset", "12"], "opset = 12: expected 13 to 23. Cure: a larger number"),
        (["-o", "m.onnx", "--opset", "99"], "opset = 99: expected 13 to 23. Cure: a smaller number"),
        (["-o", "m.onnx", "--pictures", "0"], "pictures = 0: expected 1 to 1,000,000. Cure: a larger number"),
        (["-o", "m.onnx", "--data", "nowhere"], "nowhere"),
        (["-o", "m.onnx", "--backend", "nobody"], "backend = 'nobody': expected one of numpy"),
        (["-o", "m.pt"], "backend 'numpy' writes no torchscript. Cure: another --backend or --format"),
        (["-o", "there.onnx"], "there.onnx exists already. Cure: another name, or --overwrite"),
    ],
)
def test_what_cannot_be_meant_is_one_line(run, tmp_path, monkeypatch, words, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "there.onnx").touch()
    assert message in refused("export", run.path, *words)
    assert os.listdir(tmp_path) == ["there.onnx"]


def test_packages_that_are_not_there_are_named_with_the_extra(run, model, tmp_path, monkeypatch):
    for name in ("onnx", "onnxruntime"):
        with monkeypatch.context() as patch:
            patch.setitem(sys.modules, name, None)
            line = refused("export", run.path, "-o", tmp_path / "m.onnx")
            assert line.startswith(f"error: {name} cannot be imported")
            assert line.endswith("Cure: pip install 'xfer-vision[export]'")
            if name == "onnxruntime":
                assert "xfer-vision[export]" in refused("predict", model, run.path.parent / "pictures")
    assert os.listdir(tmp_path) == []


def test_a_model_that_is_run_by_onnxruntime_takes_no_backend(run, model):
    pictures = run.path.parent / "pictures"
    assert "--backend numpy: " in refused("predict", model, pictures, "--backend", "numpy")
    assert "--device cuda: " in refused("predict", model, pictures, "--device", "cuda")
    assert xfer_("predict", model, pictures, "--device", "cpu").stdout.count("\n") == 22


def changed(model, path, **props):
    """The model with other metadata, without those that are None."""
    loaded = onnx.load(model)
    about = {prop.key: prop.value for prop in loaded.metadata_props} | props
    del loaded.metadata_props[:]
    onnx.helper.set_model_props(loaded, {key: value for key, value in about.items() if value is not None})
    onnx.save(loaded, path)
    return path


@pytest.mark.parametrize(
    ("props", "words"),
    [
        ({"format": None}, "does not say which classes it tells apart"),
        ({"classes": None}, "its metadata is damaged (KeyError: 'classes')"),
        ({"classes": "[" * 100_000}, "its metadata is damaged (ValueError: nested too deeply)"),
        ({"classes": "[]"}, "its metadata is damaged (ValueError: no classes)"),
        ({"classes": '["a", "b", "c"]'}, "gives (10, 2) of 10 pictures"),
        ({"image_size": "[32, 32]"}, "its metadata is damaged (ValueError: image_size is not the [32, 30]"),
        ({"transforms": '[{"op": "Shell"}]'}, "its metadata is damaged (ValidationError"),
        ({"mean": "[NaN, 0, 0]"}, "its metadata is damaged"),
        ({"input": "pixels"}, "does not take images of [32, 30, 3] and give logits"),
        ({"input": "sound"}, "its metadata is damaged (ValidationError"),
    ],
)
def test_a_model_of_others_is_one_line(run, model, tmp_path, props, words):
    path = changed(model, tmp_path / "m.onnx", **props)
    line = refused("predict", path, run.path.parent / "pictures" / "val")
    assert line.startswith(f"error: {path}: ")
    assert words in line


def test_bytes_that_are_no_model_are_one_line(run, model, tmp_path):
    path, pictures = tmp_path / "m.onnx", run.path.parent / "pictures"
    content = model.read_bytes()
    for bad in (b"", b"no model", os.urandom(5000), content[:-100], content[:200]):
        path.write_bytes(bad)
        assert refused("predict", path, pictures).startswith(f"error: {path}: ")
    assert "No such file" in refused("predict", tmp_path / "absent.onnx", pictures)
    os.mkfifo(tmp_path / "pipe.onnx")
    assert "a pipe, expected a regular file" in refused("predict", tmp_path / "pipe.onnx", pictures)


def test_a_model_of_whole_pictures_is_checked_with_pictures_of_other_sizes(run, tmp_path):
    shutil.copy(run.path / "best.safetensors", tmp_path / "best.safetensors")
    result = xfer_("export", tmp_path / "best.safetensors", "-o", tmp_path / "a.onnx", "--input", "pictures")
    assert "32 of 32 random pictures have the same class" in result.stdout
    session = onnxruntime.InferenceSession(str(tmp_path / "a.onnx"), providers=["CPUExecutionProvider"])
    assert [value.shape for value in session.get_inputs()] == [["batch", "height", "width", 3]]
    file = next((run.path.parent / "pictures" / "val" / "bees").iterdir())
    pixels = np.asarray(Image.open(file).convert("RGB"))
    (shares,) = session.run(["probabilities"], {"images": np.stack([pixels, pixels[::-1]])})
    wanted = run.predict([pixels, pixels[::-1].copy()], backend=BACKEND).probabilities
    assert np.allclose(shares, wanted, atol=1e-6)
    Image.fromarray(pixels).resize((90, 30)).save(tmp_path / "b.png")
    Image.fromarray(pixels).save(tmp_path / "c.png")
    xfer_("predict", tmp_path / "a.onnx", tmp_path / "b.png", tmp_path / "c.png", "-o", tmp_path / "p.csv")
    wanted = run.predict([tmp_path / "b.png", tmp_path / "c.png"], backend=BACKEND)
    assert [row["predicted"] for row in rows(tmp_path / "p.csv")] == list(wanted.labels)
    found = [float(row["p_bees"]) for row in rows(tmp_path / "p.csv")]
    assert np.allclose(found, wanted.probabilities[:, 1], atol=1e-6)


def test_what_a_model_cannot_do_to_a_picture_is_one_line(tmp_path, undrawn):
    nearest = [{"op": "Resize", "size": [32, 32], "interpolation": "nearest"}]
    other = trained(tmp_path, nearest)
    line = refused("export", other.path, "-o", tmp_path / "m.onnx", "--input", "pictures")
    assert "--input pictures: of Resize(size=(32, 32), interpolation=nearest), a model does CenterCrop" in line
    assert line.endswith("Cure: --input pixels")
    assert not (tmp_path / "m.onnx").exists()
    xfer_("export", other.path, "-o", tmp_path / "m.onnx", "--input", "pixels")


def test_from_python(run, tmp_path):
    done = export(run.path, tmp_path / "m.onnx", backend=BACKEND)
    assert done.path.exists()
    assert done.check.passed
    assert load_checkpoint(run.path).classes == ("Zürich, été", "bees")
