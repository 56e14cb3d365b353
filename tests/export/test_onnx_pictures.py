"""ONNX models against torch on pictures of a folder: `python -m tests.onnx_pictures` on a small network, and all."""

import os
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("onnx", reason="onnx is not installed")
pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
if None in map(find_spec, ("torch", "torchvision")):
    pytest.skip("it compares with torch", allow_module_level=True)

from tests import onnx_pictures
from tests.cuts_all import FAMILIES
from xfer.nets.net import PREDICT_BATCH
from xfer.testing.pictures import write_class_folders

PHOTOGRAPHS = "XFER_TEST_DATA"
ALIKE = pytest.mark.xfail(strict=True, reason="2.2e-4: its random logits tell pictures apart by 0.4 % of their size")


@pytest.fixture(autouse=True, scope="module")
def declare_everywhere():
    """Backends are those that are installed: what torch gives is asked for."""


@pytest.fixture(autouse=True)
def no_process(monkeypatch):
    """A network is compared in this one: threads of torch that other tests have started do not survive a fork."""
    monkeypatch.setattr(onnx_pictures, "in_own_process", lambda work: work())


def call(capsys, folder, *words):
    code = onnx_pictures.main(["--images", str(folder), "convnet", *words])
    said = capsys.readouterr()
    return code, said.out.splitlines()[:1] or said.err.splitlines()


def test_labels_of_all_pictures_are_torchs(tmp_path, capsys):
    """Of more pictures than a batch, which lie in folders."""
    folder, table = write_class_folders(tmp_path, "abcdef", (0, 6), (60, 90)) / "val", tmp_path / "table.md"
    code, (line,) = call(capsys, folder, "--table", str(table))
    assert code == 0, line
    (row,) = table.read_text(encoding="utf-8").splitlines()[2:]
    name, size, same, labels, apart = row.strip("| ").split(" | ")
    assert (name, size, same) == ("`convnet`", "224", "36 of 36")
    assert PREDICT_BATCH < 36
    assert int(labels) >= 5
    assert 0 < float(apart) < 1e-5, "the two add in another order"


def test_a_difference_and_another_label_fail(tmp_path, capsys, monkeypatch):
    folder = write_class_folders(tmp_path, "abcdef", (0, 2), (60, 90)) / "val"
    logits_of = onnx_pictures.logits_of

    def moved(written, spec):
        run = logits_of(written, spec)
        return lambda images: run(images) * np.float32(1.001)

    def turned(written, spec):
        run = logits_of(written, spec)
        return lambda images: np.roll(run(images), 1, axis=1)

    monkeypatch.setattr(onnx_pictures, "logits_of", moved)
    code, (line,) = call(capsys, folder)
    assert code == 1
    assert line.endswith("  BEYOND 0.0001")
    monkeypatch.setattr(onnx_pictures, "logits_of", turned)
    code, (line,) = call(capsys, folder)
    assert code == 1
    assert line.endswith("  12 OTHER LABELS")


def test_pictures_that_are_not_told_apart_prove_nothing(tmp_path, capsys):
    for number, colour in enumerate([(9, 99, 199)] * 4 + [(250, 99, 9)]):
        Image.new("RGB", (60, 90), colour).save(tmp_path / f"{number}.png")
    code, (line,) = call(capsys, tmp_path)
    assert code == 1
    assert line.endswith(" px  2 LABELS IN ALL")


def test_a_folder_without_pictures_is_one_line(tmp_path, capsys):
    code, (line,) = call(capsys, tmp_path)
    assert code == 2
    assert "expected a file, a folder with pictures" in line


@pytest.mark.skipif(PHOTOGRAPHS not in os.environ, reason=f"{PHOTOGRAPHS} is not set")
def test_a_small_network_on_photographs():
    row = onnx_pictures.compare("shufflenet_v2_x0_5", photographs())
    assert (row.pictures, row.wrong()) == (153, [])


@pytest.mark.long
@pytest.mark.skipif(PHOTOGRAPHS not in os.environ, reason=f"{PHOTOGRAPHS} is not set")
@pytest.mark.parametrize("family", [pytest.param(name, marks=ALIKE if name == "vgg11_bn" else ()) for name in FAMILIES])
def test_every_family_on_photographs(family):
    assert onnx_pictures.main(["--images", str(photographs()), family]) == 0


def photographs():
    return Path(os.environ[PHOTOGRAPHS]) / "hymenoptera_data" / "val"
