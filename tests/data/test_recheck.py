"""What was found out of pictures is kept, is told of files that are as they were, and never changes a result."""

import json
import os
import shutil
from dataclasses import replace
from io import BytesIO
from types import SimpleNamespace

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from xfer.cli.main import main
from xfer.data import checked, files, recheck
from xfer.data.dataset import open_dataset
from xfer.data.recheck import Earlier, inspect_changed
from xfer.data.scan import inspect_all, scan
from xfer.progress import silent
from xfer.results.run import choose


@pytest.fixture(autouse=True)
def kept(monkeypatch):
    monkeypatch.delenv("XFER_LIMIT_CHECKED")


N = 21  # usable pictures of the set


def noise(seed, mode="RGB"):
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (8, 8, 3), np.uint8)).convert(mode)


@pytest.fixture
def pictures(tmp_path):
    """Two classes: 16-bit and float pictures, flaws, copies, and three that cannot be used."""
    root = tmp_path / "set"
    for name in ("a", "b"):
        (root / name / "inside").mkdir(parents=True)
        for i in range(8):
            noise(10 * ord(name) + i).save(root / name / f"{i}.png")
        Image.fromarray(np.full((8, 8), 3000 + ord(name), np.uint16)).save(root / name / "deep.png")
    Image.fromarray(np.linspace(-3, 70, 64, dtype=np.float32).reshape(8, 8)).save(root / "a" / "inside" / "float.tif")
    jpeg = BytesIO()
    noise(1).save(jpeg, "JPEG")
    (root / "b" / "inside" / "cut.jpg").write_bytes(jpeg.getvalue()[:-2])
    shutil.copy(root / "a" / "1.png", root / "b" / "copy.png")
    (root / "a" / "empty.png").touch()
    (root / "b" / "bad.png").write_bytes((root / "b" / "1.png").read_bytes()[:70])
    (root / "b" / "text.png").write_bytes(b"text")
    return root


@pytest.fixture
def settled(monkeypatch):
    """All files have been as they are for long."""
    monkeypatch.setattr(recheck, "SETTLED", -(10**12))


@pytest.fixture
def read(monkeypatch):
    """How many pictures each asking for pictures was about."""
    counts = []

    def counted(split, workers, progress):
        counts.append(len(split.files))
        return inspect_all(split, workers, progress)

    monkeypatch.setattr(recheck, "inspect_all", counted)
    return counts


def opened(root, **options):
    return open_dataset(str(root), workers=1, cache=root.parent / "cache", **options)


def place(root):
    return checked.place_of(root.parent / "cache", str(root))


def told(data):
    """Everything that a data set says."""
    parts = [
        (list(part.files), part.labels.tolist(), part.digests.tolist(), part.stamps.tolist())
        for part in (data.train, data.val)
    ]
    facts = (data.classes, data.skipped, data.flawed, data.levels, data.misfit, data.wrong)
    return parts, facts, list(data.leaks.rows()), list(data.leaks.dropped()), list(data.warnings())


def afresh(root, **options):
    return told(opened(root, remember=False, **options))


@pytest.mark.usefixtures("settled")
@pytest.mark.parametrize("on_leak", ["warn", "drop"])
def test_cold_warm_and_partly_stale_give_what_reading_all_gives(pictures, read, on_leak):
    whole = afresh(pictures, on_leak=on_leak)
    assert len(whole[1][1]) >= 3
    assert whole[1][2]
    assert whole[1][3]
    assert not place(pictures).exists()
    del read[:]
    assert told(opened(pictures, on_leak=on_leak)) == whole
    assert read == [0, N + 3]
    del read[:]
    assert told(opened(pictures, on_leak=on_leak)) == whole
    assert read == [16, 3]  # of those that are known a sample; those that could not be used may be usable now
    noise(99).save(pictures / "a" / "2.png")
    noise(98).save(pictures / "a" / "empty.png")
    noise(97).save(pictures / "b" / "0new.png")
    (pictures / "b" / "deep.png").unlink()
    (pictures / "a" / "3.png").write_bytes(b"no longer")
    (pictures / "a" / "4.png").rename(pictures / "b" / "4.png")
    whole = afresh(pictures, on_leak=on_leak)
    del read[:]
    assert told(opened(pictures, on_leak=on_leak)) == whole
    assert read == [16, 7]
    assert told(opened(pictures, on_leak=on_leak)) == whole
    assert read[3] == 3


@pytest.mark.usefixtures("settled")
def test_parts_of_many_pictures_give_what_few_give(pictures, monkeypatch):
    whole, steps = afresh(pictures), []
    for module, name, value in ((recheck, "MANY", 7), (recheck, "AT_ONCE", 3), (files, "AT_ONCE", 4)):
        monkeypatch.setattr(module, name, value)
    for _ in range(2):
        assert told(opened(pictures, progress=lambda *step: steps.append(step))) == whole
    compared = [step[1:] for step in steps if step[0] == "comparing pictures with an earlier check"]
    assert compared == [(i, N + 3) for i in (7, 14, 21)] * 2
    (pictures / "a" / "0.png").unlink()
    assert told(opened(pictures)) == afresh(pictures)


@pytest.mark.usefixtures("settled")
@pytest.mark.parametrize("bad", ["a/empty.png", "b/bad.png"])
def test_a_bad_picture_is_an_error_however_much_is_known(pictures, bad):
    opened(pictures)
    (pictures / ("b/bad.png" if bad == "a/empty.png" else "a/empty.png")).unlink()
    (pictures / "b/text.png").unlink()
    for _ in range(2):
        with pytest.raises(Exception, match=f"{bad}: cannot be used"):
            opened(pictures, on_bad_image="error")


@pytest.mark.usefixtures("settled")
def test_a_change_that_keeps_size_and_time_is_seen(pictures, read):
    """By the time of the last change of the entry, which nobody can set."""
    file, other = pictures / "a" / "1.png", pictures / "a" / "2.png"
    content = bytes(64)
    for path, last in ((file, b"1"), (other, b"2")):
        Image.frombytes("L", (8, 8), content[:-1] + last).save(path, "BMP")
    assert file.stat().st_size == other.stat().st_size
    opened(pictures)
    times = file.stat().st_atime_ns, file.stat().st_mtime_ns
    file.write_bytes(other.read_bytes())
    os.utime(file, ns=times)
    del read[:]
    assert told(opened(pictures)) == afresh(pictures)
    assert read[1] == 4


def test_what_has_just_changed_is_not_kept(pictures, read):
    """Its next change may fall into the same tick of the clock."""
    for _ in range(2):
        assert opened(pictures).wrong == ()
    assert read == [0, N + 3] * 2
    assert not place(pictures).exists()


@pytest.mark.usefixtures("settled")
def test_nothing_is_known_of_what_the_clock_says_is_yet_to_come(pictures, read, monkeypatch):
    opened(pictures)
    monkeypatch.setattr(recheck, "SETTLED", 10**12)
    del read[:]
    opened(pictures)
    assert read == [0, N + 3]


def forged(table):
    """With other digests: as if each file had been exchanged, and all that tells it put back."""
    return replace(table, digests=table.digests ^ 1)


@pytest.mark.usefixtures("settled")
@pytest.mark.parametrize("command", [False, True])
def test_a_sample_finds_what_no_longer_holds_and_all_are_read(pictures, read, command):
    opened(pictures)
    table = checked.read(place(pictures))
    checked.write(place(pictures), str(pictures), forged(table), np.ones(N, bool))
    whole = afresh(pictures)
    del read[:]
    if command:
        shutil.copytree(
            pictures.parent / "cache" / "checked", os.environ["XFER_CACHE"] + "/checked", dirs_exist_ok=True
        )
        words = ["data", "check", str(pictures), "-q", "--set", "augment.size=8"]
        lines = CliRunner().invoke(main, words).output.splitlines()
        (line,) = [line for line in lines if "not what an earlier check found" in line]
        assert "every picture was read" in line
        assert "Cure" in line or recheck.CURE in line
        assert not [line for line in lines if line.startswith("known")]
    else:
        data = opened(pictures)
        (wrong,) = data.wrong
        assert "is not what an earlier check found there" in wrong
        assert told(replace(data, wrong=())) == whole
        assert next(data.warnings()).startswith(f"warning: {pictures}")
        assert told(opened(pictures)) == whole
    assert read[:2] == [16, N + 3]


@pytest.mark.usefixtures("settled")
def test_whoever_measures_is_told_too(pictures, monkeypatch):
    monkeypatch.setenv("XFER_CACHE", str(pictures.parent / "cache"))

    def chosen():
        return choose(SimpleNamespace(classes=("a", "b"), thresholds=None), pictures, "all", None, silent)

    assert (len(chosen().split.labels), chosen().warnings) == (N, ())
    table = checked.read(place(pictures))
    checked.write(place(pictures), str(pictures), forged(table), np.ones(N, bool))
    (line,) = chosen().warnings
    assert line.startswith(f"warning: {pictures}")
    assert line.endswith(f"every picture was read. Cure: {recheck.CURE}")
    assert chosen().warnings == ()


@pytest.mark.usefixtures("settled")
def test_one_that_changes_while_the_sample_is_read_is_only_read_itself(pictures, monkeypatch):
    opened(pictures)
    monkeypatch.setattr(recheck, "LEAST", 1000)

    changes = [50]

    def changing(split, workers, progress):
        if changes:
            noise(changes.pop()).save(pictures / "a" / "1.png")
        return inspect_all(split, workers, progress)

    monkeypatch.setattr(recheck, "inspect_all", changing)
    data = opened(pictures)
    assert data.wrong == ()
    assert told(data) == afresh(pictures)


@pytest.mark.usefixtures("settled")
def test_one_that_changes_between_looking_and_reading_is_not_kept(pictures, monkeypatch):
    def changing(split, workers, progress):
        noise(50).save(pictures / "a" / "1.png")
        return inspect_all(split, workers, progress)

    monkeypatch.setattr(recheck, "inspect_all", changing)
    opened(pictures)
    assert len(checked.read(place(pictures))) == N - 1


@pytest.mark.usefixtures("settled")
@pytest.mark.parametrize(
    ("share", "least", "most", "size"), [(4, 1, 1000, 5), (100, 7, 1000, 7), (1, 1, 9, 9), (1, 99, 99, N)]
)
def test_how_many_are_read_again(pictures, read, monkeypatch, share, least, most, size):
    opened(pictures)
    for name, value in {"SHARE": share, "LEAST": least, "MOST": most}.items():
        monkeypatch.setattr(recheck, name, value)
    del read[:]
    opened(pictures)
    assert read == [size, 3]


@pytest.mark.usefixtures("settled")
def test_the_sample_is_another_each_time(pictures, monkeypatch):
    opened(pictures)
    monkeypatch.setattr(recheck, "LEAST", 5)
    samples = set()

    def seen(split, workers, progress):
        samples.add(tuple(split.files))
        return inspect_all(split, workers, progress)

    monkeypatch.setattr(recheck, "inspect_all", seen)
    for _ in range(6):
        opened(pictures)
    assert len(samples) > 3  # with the three that are always read


@pytest.mark.usefixtures("settled")
def test_what_is_damaged_is_as_good_as_none_and_replaced(pictures, read):
    whole = told(opened(pictures))
    place(pictures).write_bytes(place(pictures).read_bytes()[:-1])
    del read[:]
    assert told(opened(pictures)) == whole
    assert read == [0, N + 3]
    assert len(checked.read(place(pictures))) == N


@pytest.mark.usefixtures("settled")
@pytest.mark.parametrize("obstacle", ["folder", "pipe", "no folder"])
def test_a_place_that_cannot_be_written_is_no_error(pictures, obstacle):
    path = place(pictures)
    (path.parent if obstacle != "no folder" else path.parent.parent).mkdir(parents=True)
    if obstacle == "folder":
        path.mkdir()
        (path / "file").touch()
    elif obstacle == "pipe":
        os.mkfifo(path)
    else:
        path.parent.touch()
    assert told(opened(pictures)) == told(opened(pictures)) == afresh(pictures)


@pytest.mark.usefixtures("settled")
@pytest.mark.parametrize("change", ["code", "Pillow", "limit"])
def test_other_code_other_decoders_and_other_limits_know_nothing(pictures, read, monkeypatch, change):
    opened(pictures)
    if change == "code":
        monkeypatch.setattr(checked, "_sources", lambda: b"edited")
    elif change == "Pillow":
        monkeypatch.setattr(checked, "_decoders", lambda: ("0.1",))
    else:
        monkeypatch.setattr(checked, "picture_limits", lambda: (1, 2))
    del read[:]
    opened(pictures)
    assert read == [0, N + 3]


@pytest.mark.usefixtures("settled")
@pytest.mark.parametrize("off", ["limit", "argument"])
def test_nothing_is_taken_and_nothing_kept_where_nobody_wants_it(pictures, read, monkeypatch, off):
    opened(pictures)
    before = place(pictures).read_bytes()
    noise(3).save(pictures / "a" / "1.png")
    if off == "limit":
        monkeypatch.setenv("XFER_LIMIT_CHECKED", "0")
    del read[:]
    opened(pictures, remember=off == "limit")
    assert read == [N + 3]
    assert place(pictures).read_bytes() == before


@pytest.mark.usefixtures("settled")
def test_a_check_that_is_killed_has_kept_what_it_had_read(pictures, monkeypatch, read):
    monkeypatch.setattr(recheck, "SAVED_EVERY", -1.0)
    split, _ = scan(pictures, ("a", "b"), (".png", ".jpg", ".tif"))
    earlier = Earlier(pictures.parent / "cache")
    pictures_ = inspect_changed(split, 1, silent, earlier)
    assert [next(pictures_).reason for _ in range(6)] == [None] * 6
    assert earlier.known == 0
    pictures_.close()
    again = Earlier(pictures.parent / "cache")
    assert list(inspect_changed(split, 1, silent, again)) == list(inspect_all(split, 1, silent))
    assert again.known == 5
    assert read == [0, N + 3, 5, N + 3 - 5]


@pytest.mark.usefixtures("settled")
def test_progress_goes_on_from_those_that_are_known(pictures):
    opened(pictures)
    steps = []
    opened(pictures, progress=lambda *step: steps.append(step))
    assert [step[1:] for step in steps if step[0] == "checking pictures"] == [(i, N + 3) for i in (N + 1, N + 2, N + 3)]
    for name in ("a/empty.png", "b/bad.png", "b/text.png"):
        (pictures / name).unlink()
    steps.clear()
    opened(pictures, progress=lambda *step: steps.append(step))
    assert [step for step in steps if step[0] == "checking pictures"] == [("checking pictures", N, N)]


@pytest.mark.usefixtures("settled")
def test_commands_say_what_was_known_list_it_and_remove_it(pictures):
    words = ["data", "check", str(pictures), "-q", "--set", "augment.size=8"]

    def run(*more):
        result = CliRunner().invoke(main, [*words, *more] if more[:1] != ("cache",) else list(more))
        assert result.exit_code in (0, 1), result.output
        return result.output

    first = run()
    assert "known" not in first
    second = run()
    assert [line for line in second.splitlines() if line not in first.splitlines()] == [
        f"known     {N} pictures from an earlier check: by size and times they are as they were then"
    ]
    assert json.loads(run("--json"))["n_known"] == N
    assert "known" not in run("--set", "data.cache=false")
    about = f"what is known of {N} pictures in {pictures}"
    assert about in run("cache", "ls")
    entries = json.loads(run("cache", "ls", "--json"))["checked"]["entries"]
    assert about in [entry["about"] for entry in entries]
    run("cache", "prune", "--all")
    assert json.loads(run("cache", "ls", "--json"))["checked"]["entries"] == []
    assert "known" not in run()
