"""The notebook's form of a run, a checkpoint and predictions: safe HTML, with pictures inside, or else nothing."""

import base64
import dataclasses
import io
import re
import subprocess
import sys
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image

import xfer
from xfer.results import notebook
from xfer.results.predict import Predictions
from xfer.testing.numpy_backend import NumpyBackend
from xfer.testing.pictures import write_class_folders

EVIL = '<img src=x onerror="alert(1)">$a$'


class Page(HTMLParser):
    """The text of each cell by row, and the pictures, of well-formed HTML without anything that runs."""

    def __init__(self, html):
        super().__init__()
        self.rows, self.images, self.open = [], [], []
        self.feed(html)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        assert tag in {"div", "strong", "table", "tbody", "tr", "th", "td", "img", "p"}
        assert {name for name, _ in attrs} <= {"class", "style", "alt", "src"}
        if tag == "img":
            self.images.append(dict(attrs)["src"])
            return
        self.open.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in ("th", "td"):
            self.rows[-1].append("")

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open[-1] in ("th", "td"):
            self.rows[-1][-1] += data


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("notebook")
    data = write_class_folders(folder / "pictures")
    small = {"weights": "random", "arch": "tiny", "size": 8, "epochs": 2}
    return xfer.train(None, NumpyBackend(), output=folder / "run", data=data, **small)


def test_a_run_shows_its_figures_and_its_curves(run):
    page = Page(run._repr_html_())
    rows = dict(page.rows)
    assert rows["Validation accuracy"] == f"{100 * run.result['val_accuracy']:.1f} %"
    assert rows["Best epoch"] == str(run.result["best_epoch"])
    assert (rows["Classes"], rows["Validation images"]) == ("ants, bees", "8")
    assert rows["Folder"] == str(run.path)
    (curves,) = page.images
    kind, _, data = curves.partition(",")
    assert kind == "data:image/png;base64"
    assert base64.b64decode(data) == (run.path / "plots" / "curves.png").read_bytes()


def test_a_run_without_its_picture_or_of_another_version_does_not_fail(run, tmp_path):
    elsewhere = xfer.Run(tmp_path, run.result)
    assert Page(elsewhere._repr_html_()).images == []
    (tmp_path / "plots" / "curves.png").mkdir(parents=True)
    assert elsewhere._repr_html_() is None, "a notebook shows the text then"
    assert xfer.Run(tmp_path / "none", {"val_accuracy": "high"})._repr_html_() is None
    assert dict(Page(xfer.Run(tmp_path / "none", {"val_loss": None})._repr_html_()).rows)["Validation loss"] == "–"


def test_a_checkpoint_shows_what_it_is_for(run):
    wide = dataclasses.replace(run.checkpoint.spec, image_size=(8, 16))
    rows = dict(Page(dataclasses.replace(run.checkpoint, spec=wide)._repr_html_()).rows)
    assert rows["Classes"] == "2 classes: ants, bees"
    assert rows["Pictures"].startswith("8 x 16 pixels, mean ")
    assert rows["Written by"] == "numpy"
    assert rows["Epoch"] == str(run.result["best_epoch"])
    count = sum(array.size for array in run.checkpoint.weights.values())
    assert rows["Weights"] == f"{count:,} values in {len(run.checkpoint.weights)} tensors"


def test_predictions_show_their_files_with_classes_and_thumbnails(run, tmp_path):
    Image.new("RGB", (300, 150), (250, 0, 0)).save(tmp_path / "red.jpg")
    Image.new("RGB", (10, 20), (0, 0, 250)).save(tmp_path / "blue.png")
    (tmp_path / "broken.png").write_bytes(b"none")
    given = [tmp_path / "red.jpg", tmp_path / "blue.png", tmp_path / "broken.png", np.zeros((9, 9, 3), np.uint8)]
    predictions = run.predict(given, backend=NumpyBackend(), on_bad_image="skip")
    page = Page(predictions._repr_html_())
    head, *rows = page.rows
    assert head == ["", "picture", "class", "probability"]
    assert [row[1] for row in rows] == [str(given[0]), str(given[1]), "image 3", str(given[2])]
    assert [row[2] for row in rows] == [*predictions.labels, "not used: not an image"]
    assert rows[0][3] == f"{predictions.probabilities[0].max():.2%}"
    assert rows[3][3] == ""
    red, blue = (Image.open(io.BytesIO(base64.b64decode(image.partition(",")[2]))) for image in page.images)
    assert (red.size, blue.size) == ((64, 32), (32, 64))
    assert red.getpixel((30, 16))[0] > 240
    assert blue.getpixel((16, 30))[2] > 240


def test_many_predictions_are_cut(run):
    files = tuple(f"nowhere/{i}.jpg" for i in range(25))
    many = Predictions(files, ("a", "b"), np.tile(np.float32([0.25, 0.75]), (25, 1)))
    html = many._repr_html_()
    assert [row[1:] for row in Page(html).rows[1:]] == [[file, "b", "75.00%"] for file in files[:10]]
    assert "<p>and 15 more</p>" in html


def test_a_large_file_and_what_lay_in_memory_have_no_thumbnail(tmp_path, monkeypatch):
    Image.new("RGB", (8, 8)).save(tmp_path / "image 0", "PNG")
    (tmp_path / "image 0").rename(tmp_path / "a.png")
    monkeypatch.chdir(tmp_path)
    assert notebook.thumbnail("a.png").startswith("<img ")
    (tmp_path / "image 0").write_bytes((tmp_path / "a.png").read_bytes())
    assert notebook.thumbnail("image 0") == ""
    with (tmp_path / "a.png").open("ab") as file:
        file.truncate(2**20 + 1)
    assert notebook.thumbnail("a.png") == ""


def test_names_are_text_and_never_markup(run, tmp_path):
    classes = (EVIL, "b")
    folder = tmp_path / "<b>"
    result = {**run.result, "classes": list(classes), "dataset": EVIL, "arch": EVIL, "backend": EVIL}
    checkpoint = dataclasses.replace(
        run.checkpoint, name=EVIL, classes=classes, record={"backend": EVIL, "epoch": EVIL}
    )
    predictions = Predictions((f"{EVIL}.jpg", "\udcff.jpg"), classes, np.float32([[1, 0], [1, 0]]), ((EVIL, EVIL),))
    for shown in (xfer.Run(folder, result), checkpoint, predictions):
        html = shown._repr_html_()
        assert Page(html).images == []
        assert "&lt;img src=x onerror=&quot;alert(1)&quot;&gt;$a$" in html
        assert html.startswith('<div class="tex2jax_ignore mathjax_ignore">')
        html.encode()  # a file's name need not be Unicode, and a notebook is
    assert "\\udcff.jpg" in html


def test_what_is_imported_to_begin_with_draws_nothing():
    code = "import sys, xfer; print(sorted({'matplotlib', 'rich', 'IPython'} & sys.modules.keys()))"
    shown = "import sys, xfer; xfer.Run('r', {})._repr_html_(); print('matplotlib' in sys.modules)"
    outputs = [subprocess.run([sys.executable, "-c", c], capture_output=True, text=True).stdout for c in (code, shown)]
    assert outputs == ["[]\n", "False\n"]


def test_the_history_of_a_run_is_what_a_table_is_made_of(run):
    """`pandas.DataFrame(run.history)`: of a list of records pandas makes a row each, and a column of each key."""
    history = run.history
    assert isinstance(history, list)
    assert {type(record) for record in history} == {dict}
    columns = {key: [record[key] for record in history] for key in history[0]}
    assert all(record.keys() == columns.keys() for record in history)
    kinds = {key: {type(value) for value in values} for key, values in columns.items()}
    assert kinds.pop("best") == {bool}
    assert kinds.pop("batches_digest") == {str}
    assert {key for key, types in kinds.items() if types == {int}} == {"epoch", "phase"}
    assert {key for key, types in kinds.items() if types == {float}} == {
        *("train_loss", "train_accuracy", "val_loss", "val_accuracy", "lr", "seconds", "images_per_second"),
    }
    assert columns["epoch"] == [1, 2]
    best = columns["val_accuracy"][run.result["best_epoch"] - 1]
    assert best == run.result["val_accuracy"]
    assert all(re.fullmatch(r"[0-9a-f]{64}", digest) for digest in columns["batches_digest"])
