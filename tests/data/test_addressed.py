"""Data sets by their addresses: the same bits as from a folder, fetched once, whole or not at all, no secret told."""

import json
import re
import shutil

import fsspec
import pytest
from opened_sets import facts, refused
from served import serving

from xfer.data.fetched import fetched_sets
from xfer.system import addresses, remote
from xfer.testing.pictures import write_class_folders


@pytest.fixture(autouse=True)
def at_once(monkeypatch):
    monkeypatch.setattr(remote, "PAUSES", (0.0, 0.0))
    monkeypatch.setenv("no_proxy", "127.0.0.1")


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """Class folders, a table of them, and beside them an archive."""
    root = write_class_folders(tmp_path_factory.mktemp("given") / "set", counts=(3, 2), size=(16, 16))
    (root / "labels.csv").write_text(table_of(root, ""))
    shutil.make_archive(str(root.parent / "set"), "zip", root)
    return root


def table_of(root, before, end="\n"):
    files = sorted(root.rglob("*.png"), key=lambda file: (file.name, file.parent.name))
    rows = [f"{before}{file.relative_to(root)},{file.parent.name},{file.parts[-3]}" for file in files]
    return end.join(["path,label,split", *rows, ""])


@pytest.fixture
def server(root):
    with serving() as server:
        server.put(root, "/d")
        server.files["/set.zip"] = root.with_suffix(".zip").read_bytes()
        yield server


@pytest.fixture
def memory(root):
    """A file system in memory, which lists its folders."""
    files = fsspec.filesystem("memory")
    files.store.clear()
    files.pseudo_dirs[:] = [""]
    for file in root.rglob("*.png"):
        files.pipe(f"/b/{file.relative_to(root)}", file.read_bytes())
    return files


def kept(tmp_path):
    """Files that are used, below the cache."""
    return [file for file in (tmp_path / "cache" / "remote").glob("*/files/**/*") if file.is_file()]


def test_an_archive_a_table_and_a_folder_are_what_a_folder_here_is(root, server, memory, opened):
    here = facts(opened(root))
    memory.pipe("/labels.csv", table_of(root, "b/").encode())
    memory.pipe("/b/notes.txt", b"no picture")
    memory.pipe("/b/train/.hidden/x.png", b"no picture")
    for source in (f"{server.url}/set.zip", f"{server.url}/d/labels.csv", "memory://b", "memory://labels.csv",
                   f"file://{root}", f"file://localhost{root}/labels.csv"):  # fmt: skip
        data = opened(source)
        assert facts(data) == here, source
        assert not data.skipped
    assert data.source == str(root / "labels.csv")


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".jsonl", ".parquet"])
def test_a_table_here_of_pictures_elsewhere(root, server, opened, tmp_path, suffix):
    lines = [line.split(",") for line in table_of(root, f"{server.url}/d/").splitlines()]
    lines[1][0] = str(root / lines[1][0].partition("/d/")[2])  # one lies here
    lines[2][0] = "file://" + str(root / lines[2][0].partition("/d/")[2])
    table = tmp_path / f"own{suffix}"
    rows = [dict(zip(lines[0], line, strict=True)) | {"note": "a,b\nc"} for line in lines[1:]]
    if suffix == ".jsonl":
        table.write_text("\n".join(json.dumps(row) for row in rows))
    elif suffix == ".parquet":
        from pyarrow import Table, parquet

        parquet.write_table(Table.from_pylist(rows), table)
    else:
        table.write_text("\n".join(("," if suffix == ".csv" else "\t").join(line) for line in lines))
    data = opened(table)
    assert sorted_facts(data) == sorted_facts(opened(root))
    assert (data.name, data.source) == ("own", str(table))
    assert len(server.asked) == len(rows) - 2


def sorted_facts(data):
    """Files that lie in several places come in the order of these."""
    return [sorted(zip(s.labels.tolist(), map(bytes, s.digests), strict=True)) for s in (data.train, data.val)]


def test_it_is_fetched_once_and_again_where_it_has_changed(root, server, opened):
    before = facts(opened(f"{server.url}/set.zip"))
    opened(f"{server.url}/d/labels.csv")
    server.asked.clear()
    assert facts(opened(f"{server.url}/set.zip")) == facts(opened(f"{server.url}/d/labels.csv")) == before
    assert server.asked == ["/set.zip", "/d/labels.csv"]  # a look at what is there now
    with_more = table_of(root, "") + "other.png,ants,train\n"
    server.files |= {"/d/labels.csv": with_more.encode(), "/d/other.png": server.files["/d/train/ants/0.png"]}
    server.asked.clear()
    assert len(opened(f"{server.url}/d/labels.csv").train.files) == 7
    assert server.asked == ["/d/labels.csv", "/d/labels.csv", "/d/other.png"]


def test_a_folder_has_what_there_is_now(memory, opened):
    one, other = memory.cat("/b/train/ants/0.png"), memory.cat("/b/train/bees/0.png")
    size = max(len(one), len(other))
    for name, content in (("ants", one), ("bees", other)):
        memory.pipe(f"/b/train/{name}/0.png", content.ljust(size, b"\0"))  # what stands behind a picture is not read
    assert len(opened("memory://b").train.files) == 6
    memory.pipe("/b/train/ants/0.png", other.ljust(size, b"\0"))  # as large as it was
    memory.pipe("/b/train/ants/new.png", memory.cat("/b/train/bees/1.png"))
    memory.rm("/b/train/bees/2.png")
    data = opened("memory://b")
    assert [file.rsplit("/", 2)[1:] for file in data.train.files] == [
        ["ants", "0.png"], ["ants", "1.png"], ["ants", "2.png"], ["ants", "new.png"], ["bees", "0.png"],
        ["bees", "1.png"]]  # fmt: skip
    assert {bytes(data.train.digests[i]) for i in (0, 4)} == {bytes(data.train.digests[0])}


def test_where_nobody_answers_any_more_it_is_what_it_was(server, memory, opened):
    sources = [f"{server.url}/set.zip", f"{server.url}/d/labels.csv", "memory://b"]
    before = [facts(opened(source)) for source in sources]
    server.files.clear()
    memory.store.clear()
    memory.pseudo_dirs[:] = [""]
    assert [facts(opened(source)) for source in sources] == before


def test_what_breaks_off_is_begun_anew_and_ends_in_one_line(root, server, opened, tmp_path):
    archive = f"{server.url}/set.zip"
    server.broken["/set.zip"] = ["", "breaks off", "500"]  # the first only asks what is there
    assert facts(opened(archive)) == facts(opened(root))
    assert len(server.asked) == 4
    picture = "/d/train/ants/1.png"
    server.broken[picture] = ["breaks off"] * 3
    line = refused(opened, f"{server.url}/d/labels.csv")
    assert re.fullmatch(rf"{server.url}{picture}: cannot be fetched, tried 3 times \(cut off after \d+ of \d+ bytes\). "
                        "Cure: .*", line)  # fmt: skip
    assert not [file for file in kept(tmp_path) if file.match("ants/1.png")]
    assert not [*(tmp_path / "cache").rglob("parts")]
    got = {file.parts[-3:] for file in kept(tmp_path)}
    server.asked.clear()
    assert facts(opened(f"{server.url}/d/labels.csv")) == facts(opened(root))
    assert picture in server.asked
    assert not {tuple(path.split("/")[-3:]) for path in server.asked} & got  # it goes on where it was


@pytest.mark.parametrize(
    ("how", "expected"),
    [
        ("says more", r"tried 3 times \(cut off after \d+ of \d+ bytes\)"),
        ("500", r"tried 3 times \(500 Internal Server Error\)"),
        ("403", r"cannot be fetched \(403 Forbidden\)"),
        ("404", r"there is nothing \(404 Not Found\)"),
        ("to file:///etc/passwd", r"leads to 'file:///etc/passwd', which is neither http nor https"),
        ("to /set.zip", r"leads on more than 10 times"),
    ],
)
def test_a_server_that_misbehaves(server, opened, tmp_path, how, expected):
    server.broken["/set.zip"] = [how] * 40
    assert re.search(expected, refused(opened, f"{server.url}/set.zip"))
    assert not kept(tmp_path)


def test_what_is_no_fault(root, server, opened):
    server.broken["/set.zip"] = ["no length"] * 2
    server.broken["/there"] = ["to /set.zip"] * 2
    server.files["/there"] = b""
    assert facts(opened(f"{server.url}/set.zip?name=a b")) == facts(opened(root))
    assert facts(opened(f"{server.url}/set.zip")) == facts(opened(root))


def test_a_web_page_is_no_file(server, opened):
    server.files["/x.zip"] = server.files["/x.csv"] = b"<!DOCTYPE html><html>Sign in</html>"
    for name in ("x.zip", "x.csv"):
        assert "sends a web page" in refused(opened, f"{server.url}/{name}")


def test_a_picture_that_is_not_there_goes_as_a_file_that_is_not_there(root, server, opened):
    del server.files["/d/train/ants/1.png"]
    data = opened(f"{server.url}/d/labels.csv")
    assert [skipped.path.rsplit("/", 1)[1] for skipped in data.skipped] == ["1.png"]
    assert "ants/1.png" in refused(opened, f"{server.url}/d/labels.csv", on_bad_image="error")
    server.files = {path: content for path, content in server.files.items() if not path.endswith(".png")}
    server.files["/d/labels.csv"] += b"another.png,ants,train\n"
    shutil.rmtree(data.root)
    assert "nor where any other picture is said to be" in refused(opened, f"{server.url}/d/labels.csv")


@pytest.mark.parametrize("damage", ["shorter", "other bytes", "gone"])
def test_what_is_damaged_here_is_fetched_anew(root, server, opened, tmp_path, damage):
    before = facts(opened(f"{server.url}/d/labels.csv"))
    (file,) = (file for file in kept(tmp_path) if file.match("train/ants/2.png"))
    content = bytearray(file.read_bytes())
    if damage == "gone":
        file.unlink()
    else:
        content[-20] ^= 1
        file.write_bytes(content if damage == "other bytes" else content[:-1])
    server.asked.clear()
    assert facts(opened(f"{server.url}/d/labels.csv")) == before
    assert server.asked == ["/d/labels.csv", "/d/train/ants/2.png"]


def test_a_file_that_was_only_touched_is_not(server, opened, tmp_path):
    opened(f"{server.url}/d/labels.csv")
    for file in kept(tmp_path):
        file.touch()
    server.asked.clear()
    opened(f"{server.url}/d/labels.csv")
    assert server.asked == ["/d/labels.csv"]


@pytest.mark.parametrize(
    ("variable", "value", "expected"),
    [
        ("XFER_LIMIT_REMOTE_FILE", "100", r"more than XFER_LIMIT_REMOTE_FILE allows"),
        ("XFER_LIMIT_REMOTE", "1500", r"more than 1,500 bytes in all. Cure: XFER_LIMIT_REMOTE"),
        ("XFER_LIMIT_REMOTE_FILES", "9", r"files. Cure: XFER_LIMIT_REMOTE_FILES"),
    ],
)
def test_limits(server, memory, opened, monkeypatch, variable, value, expected):
    monkeypatch.setenv(variable, value)
    for source in (f"{server.url}/d/labels.csv", "memory://b"):
        assert re.search(expected, refused(opened, source)), source


SECRET = "geheim"


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("http://me:geheim@host/x.zip?id=3", "http://***@host/x.zip?id=3"),
        ("https://geheim@host/x.zip", "https://***@host/x.zip"),
        ("s3://key:geheim@bucket/x.zip", "s3://***@bucket/x.zip"),
        ("abfs://container@account.host/x.zip", "abfs://container@account.host/x.zip"),
        ("https://host/x.zip?X-Amz-Signature=geheim&a=b", "https://host/x.zip?X-Amz-Signature=***&a=b"),
        ("https://host/x.zip?a=b&sig=geheim", "https://host/x.zip?a=b&sig=***"),
        ("https://host/x@2.zip?api_key=geheim#x", "https://host/x@2.zip?api_key=***#x"),
        ("https://host/x.zip?monkey=3&design=4", "https://host/x.zip?monkey=3&design=4"),
    ],
)
def test_what_is_shown_of_an_address(address, shown):
    assert addresses.public(address) == addresses.public(shown) == shown
    assert SECRET not in addresses.without_secrets(f"cannot open {address}", address)
    assert addresses.given(addresses.remember(address)) == address


def test_a_password_opens_the_door_and_is_told_to_nobody(root, server, opened, tmp_path):
    server.login = f"me:{SECRET}"
    named = server.url.replace("//", f"//me:{SECRET}@")
    data = opened(f"{named}/d/labels.csv")
    assert facts(data) == facts(opened(root))
    assert data.source == server.url.replace("//", "//***@") + "/d/labels.csv"
    assert facts(opened(data.source)) == facts(data)
    wrong = refused(opened, f"{server.url.replace('//', '//me:falsch@')}/set.zip")
    assert "401" in wrong
    assert "falsch" not in wrong
    for entry in fetched_sets(tmp_path / "cache"):
        assert SECRET not in entry.about
    for file in (tmp_path / "cache").rglob("*"):
        assert SECRET not in file.name
        assert file.is_dir() or SECRET.encode() not in file.read_bytes()


ODD = {
    "unknown protocol": ("foo://host/x.zip", r"unknown protocol 'foo'\. Expected one of .*memory"),
    "no driver": ("oci://bucket/x.zip", r"driver of oci is missing \(Install ocifs.*Cure: install it"),
    "one in another": ("simplecache::memory://b", r"does not exist"),
    "two": ("memory://a.zip::memory://b.zip", r"leads to one address through another"),
    "a wrapper": ("reference://x/y.zip", r"leads to one address through another"),
    "control characters": ("http://host/\x1b[31mx.zip", r"control characters in it"),
    "too long": ("http://host/" + "x" * 10_000 + ".zip", r"characters, expected at most"),
    "a broken host": ("http://me:geheim@[host/x.zip", r"'http://\*\*\*@\[host/x\.zip': no host"),
    "a broken port": ("http://host:port/x.zip", r"no port"),
    "nothing": ("http://", r"names nothing"),
    "a folder of the web": ("http://host/folder/", r"http lists no folders\. Cure: an archive"),
    "another machine": ("file://host/folder", r"names another machine"),
    "nothing there": ("memory://no/such", r"there is nothing"),
    "no pictures": ("memory://empty", r"no pictures in it"),
}


@pytest.mark.parametrize("name", ODD)
def test_odd_addresses(name, memory, opened):
    memory.pipe("/empty/x.txt", b"x")
    source, expected = ODD[name]
    line = refused(opened, source)
    assert re.search(expected, line), line
    assert SECRET not in line
    assert line.isprintable() or source in line  # the command line shows names as text


@pytest.mark.parametrize(
    "cell", ["/etc/x.png", "file:///etc/x.png", "memory://b/x.png", "a\\b.png", "C:\\x.png", "foo://host/x.png"]
)
def test_a_table_from_elsewhere_names_nothing_of_this_machine(server, opened, cell):
    server.files["/own.csv"] = f"path,label\nd/train/ants/0.png,ants\n{cell},bees\n".encode()
    assert "line 3" in (line := refused(opened, f"{server.url}/own.csv"))
    assert "which is refused" in line


def test_names_stay_below_the_folder_of_the_set(root, server, opened, tmp_path):
    names = ["../../../../d/train/ants/0.png", "%2e%2e/x.png", "d/train/bees/0.png"]
    server.files["/%252e%252e/x.png"] = server.files["/d/train/bees/1.png"]
    server.files["/own.csv"] = b"path,label\n" + "".join(f"{n},{'ab'['bees' in n]}\n" for n in names).encode()
    data = opened(f"{server.url}/own.csv", val_fraction=0.5)
    assert len(data.train.files) + len(data.val.files) == 3
    remote_folder = (tmp_path / "cache" / "remote").resolve()
    assert all(str(remote_folder) in file for split in (data.train, data.val) for file in split.files)
    assert not [file for file in tmp_path.rglob("*.png") if remote_folder not in file.resolve().parents]


def test_a_name_that_no_folder_takes_is_refused(memory, opened):
    memory.store["/b/train/ants/" + "x" * 300 + ".png"] = memory.store["/b/train/ants/0.png"]
    assert "is no name of a file here" in refused(opened, "memory://b")


@pytest.mark.parametrize("end", ["\n", "\n\n"])
def test_a_message_names_the_line_of_the_table_that_was_given(server, opened, tmp_path, end):
    table = tmp_path / "own.csv"
    rows = ["path,label,note", f'{server.url}/d/train/ants/0.png,ants,"a\nb"', f"{server.url}/d/val/bees/0.png,,x"]
    table.write_text(end.join(rows))
    line = 4 if end == "\n" else 6
    assert f"line {line} has no label" in refused(opened, table)
