"""Unpacked and drawn sets of pictures: found by content, whole or not there, made by one, bounded, `xfer cache`."""

import json
import multiprocessing
import os
import shutil
import signal
import time
from pathlib import Path

import pytest
from archive_files import CONTENT, TAR_END, make_zip, tar_entry, tree
from click.testing import CliRunner

import xfer.data.made as made_module
from xfer.cli.main import main
from xfer.data.archives import unpack
from xfer.data.made import made, made_sets
from xfer.errors import DataError
from xfer.progress import silent
from xfer.system import kept

PATIENCE = 60.0  # seconds until a test of two processes gives up


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XFER_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture(autouse=True)
def let_go():
    yield
    for _, path in list(kept._in_use):
        kept.let_go(path)


def unpacked(archive, cache, progress=silent):
    return unpack(archive, cache / "unpacked", progress)


def refuse_to_unpack(what, done, total):
    assert what.startswith("reading ")


def names(folder):
    return sorted(os.listdir(folder))


def visible(folder):
    return [name for name in names(folder) if not name.startswith(".")]


# Found by content


def test_of_two_archives_of_one_size_and_time_each_is_what_it_is(tmp_path, cache):
    archive = tmp_path / "x.tar"
    for content in (b"cat", b"dog"):
        archive.write_bytes(tar_entry(content) + TAR_END)
        os.utime(archive, ns=(10**18, 10**18))
        assert tree(unpacked(archive, cache)) == {"x": content}


def test_an_archive_is_known_by_another_name_and_time(tmp_path, cache):
    first = unpacked(make_zip(tmp_path / "x.zip"), cache)
    os.utime(tmp_path / "x.zip", ns=(10**18, 10**18))
    shutil.move(tmp_path / "x.zip", tmp_path / "y.zip")
    assert unpacked(tmp_path / "y.zip", cache, refuse_to_unpack) == first


def test_an_archive_that_is_written_to_meanwhile_is_refused(tmp_path, cache):
    archive = make_zip(tmp_path / "x.zip")

    def meddle(*_):
        with archive.open("ab") as file:
            file.write(b"\0")

    with pytest.raises(DataError, match="was changed while it was read"):
        unpacked(archive, cache, meddle)
    assert names(cache / "unpacked") == []


# Whole or not there


def remove(folder):
    (folder / "set/a/1.png").unlink()


def cut(folder):
    (folder / "set/a/1.png").write_bytes(b"one")


def edit(folder):
    content = (folder / "set/a/1.png").read_bytes()
    (folder / "set/a/1.png").write_bytes(b"two" + content[3:])


def add(folder):
    (folder / "set/a/new.png").write_bytes(b"")


def rename(folder):
    (folder / "set/a").rename(folder / "set/z")


def lose_the_record(folder):
    (folder.parent / "made.json").unlink()


def damage_the_record(folder):
    (folder.parent / "made.json").write_text("[" * 100_000)


def lose_all(folder):
    shutil.rmtree(folder)


def link_elsewhere(folder):
    (folder / "set/b").rename(folder.parent / "b")
    (folder / "set/b").symlink_to(folder.parent / "b")


DAMAGES = (remove, cut, edit, add, rename, lose_the_record, damage_the_record, lose_all, link_elsewhere)


@pytest.mark.parametrize("damage", DAMAGES)
def test_what_is_no_longer_what_it_was_is_unpacked_anew(tmp_path, cache, damage):
    archive = make_zip(tmp_path / "x.zip")
    folder = unpacked(archive, cache)
    time.sleep(0.01)
    damage(folder)
    assert unpacked(archive, cache) == folder
    assert tree(folder) == CONTENT
    assert visible(cache / "unpacked") == [folder.parent.name]
    assert unpacked(archive, cache, refuse_to_unpack) == folder


def test_a_damaged_set_whose_archive_is_damaged_too_stays_as_it_is(cache):
    place = cache / "datasets" / "x"
    made(place, lambda folder: (folder / "a").touch(), "a set", silent)
    (place / "files" / "b").touch()

    def fail(folder):
        (folder / "half").touch()
        raise DataError("no network")

    with pytest.raises(DataError, match="no network"):
        made(place, fail, "a set", silent)
    assert visible(cache / "datasets") == ["x"]
    assert visible(place / "files") == ["a", "b"]


def test_what_never_stays_as_it_was_made_is_a_line(tmp_path, cache, monkeypatch):
    monkeypatch.setattr(made_module, "_is_whole", lambda place: False)
    with pytest.raises(DataError, match=r"is changed as often as it is made\. Cure: set XFER_CACHE"):
        unpacked(make_zip(tmp_path / "x.zip"), cache)


def test_a_forked_child_does_not_give_back_what_its_parent_uses(tmp_path, cache):
    archive = make_zip(tmp_path / "x.zip")
    folder = unpacked(archive, cache)
    process = multiprocessing.get_context("fork").Process(target=kept.let_go, args=(folder.parent,))
    process.start()
    assert ended(process) == 0
    assert ended(spawned(pruning)) == 0
    assert tree(folder) == CONTENT


def pruning():
    assert "0 entries removed" in cache_("prune", "--all")


def test_a_cache_that_may_only_be_read_is_read(tmp_path, cache):
    if os.geteuid() == 0:
        pytest.skip("root may write anywhere")
    archive = make_zip(tmp_path / "x.zip")
    folder = unpacked(archive, cache)
    kept.let_go(folder.parent)
    (cache / "unpacked").chmod(0o555)
    try:
        assert unpacked(archive, cache) == folder
    finally:
        (cache / "unpacked").chmod(0o755)


# Several processes


def waits_for(path):
    end = time.monotonic() + PATIENCE
    while not path.exists():
        assert time.monotonic() < end, f"{path} never came"
        time.sleep(0.01)


def spawned(function, *arguments):
    process = multiprocessing.get_context("spawn").Process(target=function, args=arguments)
    process.start()
    return process


def ended(process):
    process.join(PATIENCE)
    return process.exitcode


def unpacking(archive, cache, folder):
    """Unpack, and not end before another process was seen to wait."""

    def progress(what, done, total):
        if what.startswith("unpacking"):
            (folder / f"unpacked-{os.getpid()}").touch()
            waits_for(folder / "waiting")

    assert tree(unpacked(archive, cache, progress)) == tree_of_content()


def tree_of_content():
    return json.loads(os.environ["CONTENT"], object_hook=lambda d: {k: bytes.fromhex(v) for k, v in d.items()})


def wanting(archive, cache, folder):
    def progress(what, done, total):
        if "another process" in what:
            (folder / "waiting").touch()
        elif what.startswith("unpacking"):
            (folder / f"unpacked-{os.getpid()}").touch()

    assert tree(unpacked(archive, cache, progress)) == tree_of_content()


@pytest.fixture
def content(monkeypatch):
    monkeypatch.setenv("CONTENT", json.dumps({name: data.hex() for name, data in CONTENT.items()}))


def test_of_two_processes_one_unpacks_and_the_other_waits_for_it(tmp_path, cache, content):
    archive = make_zip(tmp_path / "x.zip")
    first = spawned(unpacking, archive, cache, tmp_path)
    waits_for(tmp_path / f"unpacked-{first.pid}")
    second = spawned(wanting, archive, cache, tmp_path)
    assert [ended(process) for process in (first, second)] == [0, 0]
    assert [path.name for path in tmp_path.glob("unpacked-*")] == [f"unpacked-{first.pid}"]
    assert tree(unpacked(archive, cache)) == CONTENT


def using(archive, cache, folder):
    unpacked(archive, cache)
    (folder / "using").touch()
    waits_for(folder / "done")


def test_what_another_process_uses_stays_until_it_ends(tmp_path, cache):
    archive = make_zip(tmp_path / "x.zip")
    process = spawned(using, archive, cache, tmp_path)
    waits_for(tmp_path / "using")
    assert "0 entries removed" in cache_("prune", "--all")
    assert len(made_sets(cache)) == 1
    os.kill(process.pid, signal.SIGKILL)
    ended(process)
    assert "1 entries removed" in cache_("prune", "--all")
    assert names(cache / "unpacked") == []


def test_a_damaged_set_that_another_process_uses_is_not_waited_for_for_ever(tmp_path, cache, monkeypatch):
    archive = make_zip(tmp_path / "x.zip")
    process = spawned(using, archive, cache, tmp_path)
    waits_for(tmp_path / "using")
    remove(made_sets(cache)[0].path / "files")
    monkeypatch.setattr(kept, "PATIENCE", 0.3)
    with pytest.raises(DataError, match=r"is damaged, and in use\. Cure: wait until the process that uses it ends"):
        unpacked(archive, cache)
    (tmp_path / "done").touch()
    assert ended(process) == 0
    assert tree(unpacked(archive, cache)) == CONTENT


def dying(archive, cache, moment):
    """Be killed while unpacking: in the midst of it, or when all is written, just before it appears."""

    def kill(what, *_):
        if not str(what).startswith("reading"):
            os.kill(os.getpid(), signal.SIGKILL)

    if moment == "whole":
        made_module._flush = kill
    unpacked(archive, cache, kill if moment == "half" else silent)


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="Windows has no SIGKILL")
@pytest.mark.parametrize("moment", ["half", "whole"])
@pytest.mark.parametrize("sweeper", ["the same archive", "another archive", "xfer cache prune"])
def test_a_process_killed_while_unpacking_leaves_nothing_that_counts(tmp_path, cache, moment, sweeper):
    archive, other = make_zip(tmp_path / "x.zip"), make_zip(tmp_path / "y.zip", {"y": b"y"})
    assert ended(spawned(dying, archive, cache, moment)) == -signal.SIGKILL
    left = names(cache / "unpacked")
    assert {Path(name).suffix for name in left} == {".part", ".lock"}
    assert made_sets(cache) == []
    if sweeper == "xfer cache prune":
        cache_("prune")
        assert names(cache / "unpacked") == []
    elif sweeper == "another archive":
        unpacked(other, cache)
        assert not set(left) & set(names(cache / "unpacked"))
    else:
        assert tree(unpacked(archive, cache)) == CONTENT
        assert not [name for name in names(cache / "unpacked") if name.endswith(".part")]


# Bounded, listed, pruned


def cache_(*words, code=0):
    result = CliRunner().invoke(main, ["cache", *words])
    assert result.exit_code == code, result.output
    return result.output


def three(tmp_path, cache):
    """Three archives of 1000 bytes, unpacked in this order, and no longer in use."""
    places = []
    for number in range(3):
        archive = make_zip(tmp_path / f"{number}.zip", {"x": bytes([number]) * 1000})
        places.append(unpacked(archive, cache).parent)
        os.utime(places[-1], ns=(number, number))
        kept.let_go(places[-1])
    return places


def test_making_keeps_within_the_limit_and_what_is_in_use(tmp_path, cache, monkeypatch):
    first, second, third = three(tmp_path, cache)
    monkeypatch.setenv("XFER_LIMIT_DATA_CACHE", "3000")
    unpacked(tmp_path / "1.zip", cache)  # used now
    fourth = unpacked(make_zip(tmp_path / "3.zip", {"x": b"3" * 1000}), cache).parent
    assert {entry.path for entry in made_sets(cache)} == {second, third, fourth}
    monkeypatch.setenv("XFER_LIMIT_DATA_CACHE", "10")
    fifth = unpacked(make_zip(tmp_path / "4.zip", {"x": b"4" * 1000}), cache).parent
    assert {entry.path for entry in made_sets(cache)} == {second, fourth, fifth}, "all three are in use"
    assert not first.exists()


def test_sets_and_downloads_are_listed(tmp_path, cache):
    places = three(tmp_path, cache)
    (cache / "weights").mkdir()
    (cache / "weights" / "resnet18.pth").write_bytes(bytes(2000))
    (places[1] / "made.json").unlink()
    os.utime(places[1], ns=(1, 1))
    lines = cache_("ls").splitlines()
    assert [line.split()[0] for line in lines[:4]] == [*(place.name[:12] for place in places), "resnet18.pth"]
    assert lines[0].endswith(str(tmp_path / "0.zip"))
    assert lines[1].endswith("damaged")
    assert "2.0 kB" in lines[3]
    assert lines[3].endswith("downloaded")
    assert lines[4].startswith("0 entries, 0 bytes of at most")
    assert lines[5] == f"3 sets of pictures, 3.0 kB of at most 100.0 GB, and 1 downloads, 2.0 kB, in {cache}"
    listing = json.loads(cache_("ls", "--json"))
    assert listing["sets"]["total"] == 3000
    assert [entry["path"] for entry in listing["sets"]["entries"]] == list(map(str, places))
    assert listing["sets"]["entries"][2]["about"] == str(tmp_path / "2.zip")
    assert listing["downloads"]["entries"][0]["bytes"] == 2000


def test_prune_keeps_to_the_limit_a_size_or_nothing(tmp_path, cache, monkeypatch):
    places = three(tmp_path, cache)
    (cache / "downloads").mkdir()
    (cache / "downloads" / "x.zip").write_bytes(bytes(500))
    assert cache_("prune").startswith("0 entries removed, 0 bytes; 4 left, 3.5 kB")
    monkeypatch.setenv("XFER_LIMIT_DATA_CACHE", "2500")
    assert cache_("prune").startswith("1 entries removed, 1.0 kB; 3 left")
    assert [entry.path for entry in made_sets(cache)] == sorted(places[1:])
    assert cache_("prune", "--to", "1500").startswith("1 entries removed, 1.0 kB; 2 left, 1.5 kB")
    assert (cache / "downloads" / "x.zip").exists(), "it came last"
    assert "0 left" in cache_("prune", "--all")
    assert [names(cache / name) for name in ("unpacked", "downloads")] == [[], []]


def test_prune_sweeps_downloads_too(cache):
    (cache / "weights").mkdir(parents=True)
    (cache / "weights" / ".x.pth.99999999.part").write_bytes(b"half")
    (cache / "weights" / ".x.pth.lock").write_bytes(b"")
    (cache / "weights" / ".mine").write_bytes(b"")
    cache_("prune")
    assert names(cache / "weights") == [".mine"]
