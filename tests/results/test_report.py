"""The report: complete, self-contained, and unimpressed by what a class is called."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Mapping, Sequence
from html import unescape
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from xfer.errors import CheckpointError
from xfer.results.report import PICTURES, write_report

HOSTILE = "<script>alert('x')</script> & \"{title}\" 蚂蚁"
RESULT: Mapping[str, Any] = {
    "backend": "torch",
    "device": "cpu",
    "arch": "resnet18",
    "dataset": "ants_bees",
    "classes": ["ants", HOSTILE],
    "n_train": 244,
    "n_val": 153,
    "seed": 7,
    "epochs": 3,
    "best_epoch": 2,
    "val_accuracy": 146 / 153,
    "val_loss": 0.15,
    "train_accuracy": 0.98,
    "seconds_total": 75.0,
    "seconds_features": 3723.0,
    "seconds_training": 8.77,
    "images_per_second": 812.2,
    "batches_digest": "ab" * 32,
    "weights_digest": "cd" * 32,
    "versions": {"torch": "2.14.1"},
}
# Elements that HTML closes by itself.
VOID = {"meta", "img", "br", "hr", "link"}


def png(name: str) -> bytes:
    return b"\x89PNG\r\n\x1a\n" + name.encode()


def make_run(folder: Path, result: Mapping[str, Any] = RESULT) -> Path:
    (folder / "plots").mkdir(parents=True)
    (folder / "result.json").write_text(json.dumps(result), encoding="utf-8")
    rows = [{"epoch": e, "phase": 1, "train_loss": 1 / e, "val_accuracy": 0.5, "lr": 0.01} for e in (1, 2, 3)]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    (folder / "skipped_images.csv").write_text(
        f'path,reason\na.gif,not a picture\n"{HOSTILE.replace(chr(34), "")}",<i>broken</i>\n', "utf-8"
    )
    (folder / "config.toml").write_text('seed = 7\n[data]\nsource = "<b>"\n', encoding="utf-8")
    for name, _ in PICTURES:
        (folder / "plots" / f"{name}.png").write_bytes(png(name))
    return folder


class Page(HTMLParser):
    """The elements and the visible text of a page; fails where a tag is not closed in its turn."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.words = ""
        self.feed(source)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open[-1:] != ["style"]:
            self.words += data

    def of(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


def read(run: Path) -> Page:
    path = write_report(run)
    assert path == run / "report.html"
    return Page(path.read_text(encoding="utf-8"))


def test_the_headline_and_every_key_figure_are_there(tmp_path: Path) -> None:
    words = read(make_run(tmp_path / "run")).words
    assert "resnet18 on ants_bees" in words
    assert "torch on cpu" in words
    assert "95.4 % 146 of 153 validation images right, after epoch 2 of 3" in words
    for shown in ("244", "0.1500", "98.0 %", "1 min 15 s", "1 h 2 min", "8.8 s", "812.2", "ab" * 32, "cd" * 32):
        assert shown in words
    assert "torch 2.14.1" in words
    assert f"ants, {HOSTILE}" in words


def test_a_new_key_figure_is_shown_under_its_name(tmp_path: Path) -> None:
    words = read(make_run(tmp_path / "run", {**RESULT, "energy": "<i>12</i>", "seed": None})).words
    assert "energy<i>12</i>" in words
    assert "Seed–" in words


def test_what_is_shown_are_words_and_units(tmp_path: Path) -> None:
    record = {"peak_memory": 1087479808, "parent": {"path": "a/best.safetensors", "digest": "ef" * 32}}
    resumed = [{"epoch": 2, "step": 5, "backend": "mindspore"}]
    words = read(make_run(tmp_path / "run", {**RESULT, **record, "resumed": resumed, "new_figure": 3})).words
    assert "Peak memory1,037 MiB" in words
    assert "Weights filea/best.safetensors" in words
    assert "Resumedin epoch 2 on mindspore" in words
    assert "new figure3" in words
    for raw in ("peak_memory", "1087479808", "parent", "resumed", "new_figure", "{", "ef" * 32):
        assert raw not in words.replace(HOSTILE, "").replace(HOSTILE.replace('"', ""), "")


def test_what_most_runs_have_none_of_is_left_out(tmp_path: Path) -> None:
    none: Mapping[str, Any] = {"parent": None, "resumed": [], "unvalidated": []}
    words = read(make_run(tmp_path / "none", {**RESULT, **none})).words
    for label in ("Weights file", "Resumed", "Classes without validation images"):
        assert label not in words
    some = read(make_run(tmp_path / "some", {**RESULT, "unvalidated": ["nothing", "bees"]})).words
    assert "Classes without validation imagesnothing, bees" in some


def test_the_file_that_training_starts_from_is_named_once(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", {**RESULT, "parent": {"path": "a/b.pth", "digest": "ef" * 32}})
    (run / "config.toml").write_text('[weights]\nsource = "a/b.pth"\n', encoding="utf-8")
    assert "Weights froma/b.pth" in read(run).words
    assert "Weights file" not in read(run).words
    (run / "config.toml").write_text('[weights]\nsource = "a"\n', encoding="utf-8")
    assert "Weights filea/b.pth" in read(run).words


@pytest.mark.parametrize(("width", "large"), [(1200, False), (1201, True)])
def test_a_picture_too_wide_for_the_page_grows_where_it_is_clicked(tmp_path: Path, width: int, large: bool) -> None:
    run = make_run(tmp_path / "run")
    Image.new("RGB", (width, 8)).save(run / "plots" / "confusion_matrix.png")
    page = read(run)
    images = {str(image["alt"]): image for image in page.of("img")}
    matrix = next(image for alt, image in images.items() if alt.startswith("Each row is a true class"))
    assert (matrix.get("tabindex") == "0") == large == str(matrix["alt"]).endswith(". Click to enlarge")
    assert sum("tabindex" in image for image in images.values()) == large


@pytest.mark.parametrize(
    ("recipe", "shown"),
    [
        ('[weights]\nsource = "imagenet"\n[train]\ntrain_from = "head"\n', ("ImageNet", "all stages before head")),
        ('[weights]\nsource = "random"\n[train]\ntrain_from = "stem"\n', ("random numbers", "nothing")),
        (
            '[weights]\nsource = "a/b.pth"\npartial = true\n[train]\ntrain_from = "head"\n'
            '[[phases]]\nepochs = 1\n[[phases]]\nepochs = 2\ntrain_from = "layer3"\n',
            ("a/b.pth, what fits", "all stages before head in phase 1; all stages before layer3 in phase 2"),
        ),
    ],
)
def test_where_weights_are_from_and_what_was_frozen(tmp_path: Path, recipe: str, shown: tuple[str, str]) -> None:
    run = make_run(tmp_path / "run")
    (run / "config.toml").write_text(recipe, encoding="utf-8")
    (run / "log.txt").write_text("2026-01-02 03:04:05 epoch   1\n2026-01-02 03:06:07 epoch   2\n", encoding="utf-8")
    source, frozen = shown
    assert f"Weights from{source}Frozen{frozen}Last epoch at2026-01-02 03:06" in read(run).words


@pytest.mark.parametrize("recipe", ["seed = 1\n", "= broken"])
def test_a_recipe_that_does_not_tell_leaves_facts_out(tmp_path: Path, recipe: str) -> None:
    run = make_run(tmp_path / "run")
    (run / "config.toml").write_text(recipe, encoding="utf-8")
    words = read(run).words
    for label in ("Weights from", "Frozen", "Last epoch at"):
        assert label not in words


def test_digests_are_folded_away(tmp_path: Path) -> None:
    write_report(make_run(tmp_path / "run"))
    source = (tmp_path / "run" / "report.html").read_text(encoding="utf-8")
    (folded,) = (part for part in re.findall(r"<details>.*?</details>", source, re.S) if "ab" * 32 in part)
    assert folded.startswith("<details><summary>Digests</summary>")
    assert "cd" * 32 in folded
    assert source.count("ab" * 32) == source.count("cd" * 32) == 1


def test_each_class_has_its_precision_recall_and_pictures(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run")
    rows = [("ants", "ants"), ("ants", "ants"), ("ants", "bees"), ("ants", "bees"), ("bees", "bees")]
    lines = "".join(f"{i}.jpg,{label},{guess},0.9,0.9,0.1,0\n" for i, (label, guess) in enumerate(rows))
    (run / "predictions.csv").write_text(
        "file,label,predicted,probability,p_ants,p_bees,p_<b>\n" + lines, encoding="utf-8"
    )
    read(run)
    table = re.findall(r"<tr><th>([^/]*?)</th>(<td>.*?)</tr>", (run / "report.html").read_text(encoding="utf-8"))
    cells = {name: re.findall(r"<td>(.*?)</td>", row) for name, row in table}
    assert cells == {
        "ants": ["100.0 %", "50.0 %", "66.7 %", "4", "2"],
        "bees": ["33.3 %", "100.0 %", "50.0 %", "1", "1"],
        "&lt;b&gt;": ["–", "–", "–", "0", "0"],
    }


@pytest.mark.parametrize(("count", "folded"), [(30, False), (31, True)])
def test_a_long_table_of_classes_is_folded(tmp_path: Path, count: int, folded: bool) -> None:
    run = make_run(tmp_path / "run")
    columns = ",".join(f"p_c{i}" for i in range(count))
    (run / "predictions.csv").write_text(f"file,label,predicted,probability,{columns}\n", encoding="utf-8")
    words = read(run).words
    assert "Validation by class" in words
    assert (f"Validation by class ({count}), lowest recall first" in words) == folded
    assert f"c{count - 1}–––00" in words


def predicted_run(folder: Path, classes: int, rows: Sequence[tuple[str, str]]) -> Path:
    """A run whose predictions.csv has these rows of class and prediction, of the classes c0, c1, ..."""
    run = make_run(folder)
    header = ",".join(f"p_c{i}" for i in range(classes))
    lines = "".join(f"{i}.jpg,{label},{guess},0.9\n" for i, (label, guess) in enumerate(rows))
    (run / "predictions.csv").write_text(f"file,label,predicted,probability,{header}\n{lines}", encoding="utf-8")
    return run


def test_a_long_table_of_classes_begins_with_the_worst(tmp_path: Path) -> None:
    rows = [("c0", "c0"), ("c4", "c4"), ("c4", "c2"), ("c7", "c0")]
    words = read(predicted_run(tmp_path / "run", 31, rows)).words
    places = [
        words.index(line)
        for line in ("c7–0.0 %0.0 %10", "c4100.0 %50.0 %66.7 %21", "c050.0 %100.0 %66.7 %11", "c1–––00")
    ]
    assert places == sorted(places)


def test_the_pairs_that_are_confused_most_are_named(tmp_path: Path) -> None:
    rows = [("c1", "c2")] * 3 + [("c1", "c1")] + [("c8", "c0")] * 2 + [("c5", "c5")]
    words = read(predicted_run(tmp_path / "many", 9, rows)).words
    assert "Most confusedtrue classwas taken forpicturesof its classc1c2375.0 %c8c02100.0 %Validation by class" in words
    assert "Most confused" not in read(predicted_run(tmp_path / "right", 9, [("c1", "c1")])).words
    assert "Most confused" not in read(predicted_run(tmp_path / "few", 8, [("c1", "c0")])).words


def test_no_matrix_is_made_of_more_classes_than_can_be_shown(tmp_path: Path) -> None:
    assert "Most confused" not in read(predicted_run(tmp_path / "run", 5001, [("c1", "c0")])).words


def test_a_long_list_of_confused_pairs_is_cut_short(tmp_path: Path) -> None:
    rows = [(f"c{i}", f"c{i + 1}") for i in range(29) for _ in range(29 - i)]
    words = read(predicted_run(tmp_path / "run", 30, rows)).words.split("Validation by class")[0]
    assert "c19c2010100.0 %" in words
    assert "c20c21" not in words


def test_pictures_are_inlined_in_order(tmp_path: Path) -> None:
    sources = [str(image["src"]) for image in read(make_run(tmp_path / "run")).of("img")]
    inlined = [base64.b64decode(s.removeprefix("data:image/png;base64,")) for s in sources]
    names = ("curves", "confusion_matrix", "samples", "predictions", "top_losses", "explained", "against_random")
    assert inlined == [png(n) for n in names]


def test_nothing_is_fetched_and_nothing_runs(tmp_path: Path) -> None:
    page = read(make_run(tmp_path / "run"))
    tags = {tag for tag, _ in page.elements}
    assert not tags & {"script", "link", "iframe", "object", "embed", "base", "a", "b", "i"}
    for _, attributes in page.elements:
        assert not any(name.startswith("on") for name in attributes)
        assert "href" not in attributes
        assert (attributes.get("src") or "data:").startswith("data:")
    source = (tmp_path / "run" / "report.html").read_text(encoding="utf-8")
    assert not re.search(r"https?:|url\(|@import", source)


def test_hostile_names_are_only_text(tmp_path: Path) -> None:
    result = {**RESULT, "arch": HOSTILE, "dataset": HOSTILE, "device": HOSTILE, "best_epoch": HOSTILE, HOSTILE: HOSTILE}
    run = make_run(tmp_path / "run", result)
    page = read(run)
    assert HOSTILE in page.words
    assert not page.of("script")
    source = (run / "report.html").read_text(encoding="utf-8")
    assert "<script" not in source
    assert HOSTILE in unescape(source)


def test_names_that_are_no_unicode_are_shown_as_codes(tmp_path: Path) -> None:
    assert r"bad\udcff" in read(make_run(tmp_path / "run", {**RESULT, "classes": ["ants", "bad\udcff"]})).words


def test_the_best_epoch_is_marked_and_gaps_are_dashes(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run")
    page = read(run)
    assert "Epochs (3)" in page.words
    rows = re.findall(r"<tr(.*?)</tr>", (run / "report.html").read_text(encoding="utf-8"))[1:]
    assert ["best" in row for row in rows] == [False, True, False]
    assert [row.count("<td>") for row in rows] == [9, 9, 9]
    assert ["<td>–</td>" in row for row in rows] == [True, True, True]


def test_skipped_images_are_counted_and_listed(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run")
    words = read(run).words
    assert "Skipped images (2)" in words
    assert "a.gif: not a picture" in words
    many = "".join(f"{i}.jpg,broken\n" for i in range(10_000))
    (run / "skipped_images.csv").write_text("path,reason\n" + many, encoding="utf-8")
    words = read(run).words
    assert "Skipped images (10000)" in words
    assert "and 9500 more, in skipped_images.csv" in words


def test_a_hundred_classes_are_cut_short(tmp_path: Path) -> None:
    words = read(make_run(tmp_path / "run", {**RESULT, "classes": [f"c{i}" for i in range(100)]})).words
    assert "c29 and 70 more" in words
    assert "c30" not in words


def test_whatever_is_missing_is_left_out(tmp_path: Path) -> None:
    (tmp_path / "result.json").write_text("{}", encoding="utf-8")
    page = read(tmp_path)
    assert page.of("h1")
    for tag in ("img", "figure", "details", "dd"):
        assert not page.of(tag)


def test_no_skipped_images_and_no_epochs_leave_no_trace(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run")
    (run / "skipped_images.csv").write_text("path,reason\n", encoding="utf-8")
    (run / "metrics.jsonl").write_text("", encoding="utf-8")
    words = read(run).words
    assert "Skipped" not in words
    assert "Epochs (" not in words


@pytest.mark.parametrize("content", [None, "{"])
def test_a_folder_without_a_result_is_refused(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / "result.json").write_text(content, encoding="utf-8")
    with pytest.raises(CheckpointError, match=re.escape(str(tmp_path))):
        write_report(tmp_path)
    assert not (tmp_path / "report.html").exists()


def test_a_report_that_cannot_be_written_is_an_error_of_the_family(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run")
    (run / "report.html").mkdir()
    with pytest.raises(CheckpointError, match="cannot be written"):
        write_report(run)
    assert not list(run.glob(".report*")), "nothing half-written is left"
