"""PyTorch's format without PyTorch: round trips, refusals, and damage. Files that torch itself wrote are read in
tests/backends/test_formats_torch.py."""

from __future__ import annotations

import os
import pickle
import struct
import tracemalloc
import zipfile
from collections.abc import Callable, Mapping
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from xfer.errors import WeightsError
from xfer.formats import pickles
from xfer.formats.pth import parse_pth, read_checkpoint, read_pth, write_pth

Arrays = dict[str, NDArray[Any]]
ARRAYS: Arrays = {
    "conv.weight": np.arange(6, dtype=np.float32).reshape(2, 3),
    "bn.num_batches_tracked": np.array(7, np.int64),
    "empty": np.zeros((0, 3), np.float32),
}


def zipped(arrays: Mapping[str, NDArray[Any]], tmp_path: Path) -> bytes:
    write_pth(tmp_path / "zipped.pth", arrays)
    return (tmp_path / "zipped.pth").read_bytes()


def records_of(data: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(BytesIO(data)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def archive_of(records: Mapping[str, bytes], compression: int = zipfile.ZIP_STORED) -> bytes:
    buffer = BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        for name, content in records.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def legacy(arrays: Mapping[str, NDArray[Any]], tmp_path: Path) -> bytes:
    """The five pickles of the legacy format, then size and numbers of each storage."""
    content = records_of(zipped(arrays, tmp_path))["archive/data.pkl"]
    keys = [str(key) for key in range(len(arrays))]
    head, tail = (0x1950A86A20F9469CFC6C, 1001, {"little_endian": True}), b""
    for array in arrays.values():
        tail += struct.pack("<q", array.size) + array.tobytes()
    return b"".join(pickle.dumps(item, 2) for item in head) + content + pickle.dumps(keys, 2) + tail


def edited(tmp_path: Path, old: bytes, new: bytes) -> bytes:
    """The file of one (2, 3) float32 tensor, its pickle changed in one place, its checksums right."""
    records = records_of(zipped({"w": ARRAYS["conv.weight"]}, tmp_path))
    assert records["archive/data.pkl"].count(old) == 1
    return archive_of(records | {"archive/data.pkl": records["archive/data.pkl"].replace(old, new)})


def integers(*numbers: int) -> bytes:
    return b"".join(b"\x8a\x08" + struct.pack("<q", number) for number in numbers)


def tuple_of(*numbers: int) -> bytes:
    return b"(" + integers(*numbers) + b"t"


def assert_equal(actual: Mapping[str, NDArray[Any]], wanted: Mapping[str, NDArray[Any]]) -> None:
    assert list(actual) == list(wanted)
    for name, array in wanted.items():
        assert (actual[name].dtype, actual[name].shape) == (array.dtype.newbyteorder("="), array.shape), name
        np.testing.assert_array_equal(actual[name], array, err_msg=name)


@pytest.mark.parametrize("dtype", ["float64", "float32", "float16", "int64", "int32", "int16", "int8", "uint8", "bool"])
@pytest.mark.parametrize("shape", [(), (1,), (3, 4), (2, 1, 3), (0,), (2, 0)])
def test_a_file_gives_back_what_was_written(dtype: str, shape: tuple[int, ...], tmp_path: Path) -> None:
    array = (np.random.default_rng(0).standard_normal(shape) * 100).astype(dtype)
    assert_equal(parse_pth(zipped({"a": array, "b": array}, tmp_path)), {"a": array, "b": array})


def test_memory_layout_and_byte_order_do_not_matter(tmp_path: Path) -> None:
    base = np.arange(12, dtype=np.float32).reshape(3, 4)
    arrays = {"transposed": base.T, "strided": base[:, ::2], "reversed": base[::-1], "big": base.astype(">f4")}
    assert_equal(parse_pth(zipped(arrays, tmp_path)), arrays)


def test_arrays_are_writable_copies(tmp_path: Path) -> None:
    array = parse_pth(zipped(ARRAYS, tmp_path))["conv.weight"]
    assert array.flags.writeable
    assert array.flags.owndata or array.base.flags.owndata
    assert array.flags.c_contiguous


def test_the_same_arrays_give_the_same_file(tmp_path: Path) -> None:
    assert zipped(ARRAYS, tmp_path) == zipped(ARRAYS, tmp_path)


def test_the_legacy_format_is_read(tmp_path: Path) -> None:
    assert_equal(parse_pth(legacy(ARRAYS, tmp_path)), ARRAYS)


def test_numbers_of_a_big_endian_machine_are_read(tmp_path: Path) -> None:
    array = ARRAYS["conv.weight"]
    records = records_of(zipped({"w": array}, tmp_path))
    big = {"archive/byteorder": b"big", "archive/data/0": array.astype(">f4").tobytes()}
    assert_equal(parse_pth(archive_of(records | big)), {"w": array})


def test_bfloat16_becomes_float32(tmp_path: Path) -> None:
    upper_halves = np.array([0x3F80, -0x4000, 0x7F80], np.int16)
    records = records_of(zipped({"w": upper_halves}, tmp_path))
    pickled = records["archive/data.pkl"].replace(b"ShortStorage", b"BFloat16Storage")
    assert_equal(
        parse_pth(archive_of(records | {"archive/data.pkl": pickled})), {"w": np.array([1, -2, np.inf], np.float32)}
    )


def test_an_unsupported_number_type_is_refused_on_writing(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"w is complex64, expected one of .*float32"):
        write_pth(tmp_path / "a.pth", {"w": np.zeros(2, np.complex64)})


@pytest.mark.parametrize("key", ["state_dict", "model_state_dict", "model"])
def test_a_state_dict_is_taken_out_of_its_container(key: str, tmp_path: Path) -> None:
    records = records_of(zipped(ARRAYS, tmp_path))
    inner = records["archive/data.pkl"][2:-1]  # without protocol and stop
    entries = [b"X\x05\x00\x00\x00epochK\x03", b"X" + struct.pack("<I", len(key)) + key.encode() + inner]
    outer = b"\x80\x02}(" + b"".join(entries) + b"u."
    assert_equal(parse_pth(archive_of(records | {"archive/data.pkl": outer})), ARRAYS)


class Evil:
    """Unpickled, it would make a folder."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[..., None], tuple[str]]:
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("protocol", [2, 4, 5])
@pytest.mark.parametrize("container", ["zip", "legacy"])
def test_nothing_is_executed(protocol: int, container: str, tmp_path: Path) -> None:
    evil = pickle.dumps({"w": Evil(tmp_path / "made")}, protocol)
    data = archive_of({"a/data.pkl": evil})
    if container == "legacy":
        plain = legacy({}, tmp_path)
        data = plain.replace(records_of(zipped({}, tmp_path))["archive/data.pkl"], evil)
    path = tmp_path / "evil.pth"
    path.write_bytes(data)
    with pytest.raises(WeightsError, match=r"evil\.pth: .*'posix\.mkdir'.*Cure: "):
        read_pth(path)
    assert not (tmp_path / "made").exists()


def checkpoint(entries: Mapping[str, bytes], tmp_path: Path) -> bytes:
    """The zip of ARRAYS, its pickle a dictionary of these pickled values; "STATE" stands for the state dict."""
    records = records_of(zipped(ARRAYS, tmp_path))
    state = records["archive/data.pkl"][2:-1]  # without protocol and stop
    items = b"".join(b"X" + struct.pack("<I", len(key)) + key.encode() + value for key, value in entries.items())
    outer = b"\x80\x02}(" + items.replace(b"STATE", state) + b"u."
    return archive_of(records | {"archive/data.pkl": outer})


@pytest.mark.parametrize("protocol", [2, 4, 5])
def test_an_object_beside_the_weights_is_never_made(protocol: int, tmp_path: Path) -> None:
    evil = pickle.dumps(Evil(tmp_path / "made"), protocol)[:-1]
    for key in ("args", "optimizer", "model_ema", "a"):
        assert_equal(parse_pth(checkpoint({key: evil, "state_dict": b"STATE"}, tmp_path)), ARRAYS)
    assert not (tmp_path / "made").exists()


def test_an_object_in_the_place_of_weights_is_refused(tmp_path: Path) -> None:
    evil = pickle.dumps(Evil(tmp_path / "made"), 2)[2:-1]
    for entries in ({"model": evil, "args": evil}, {"args": evil}):
        with pytest.raises(ValueError, match=r"under '\w+' it asks for 'posix\.mkdir'"):
            parse_pth(checkpoint(entries, tmp_path))
    tensor = records_of(zipped({"t": ARRAYS["empty"]}, tmp_path))["archive/data.pkl"][4:-2]  # one item, for SETITEMS
    with pytest.raises(ValueError, match=r"under 'w' it asks for 'posix\.mkdir'"):
        parse_pth(checkpoint({"state_dict": b"}(" + tensor + b"X\x01\x00\x00\x00w" + evil + b"u"}, tmp_path))
    assert not (tmp_path / "made").exists()


@pytest.mark.parametrize(
    ("entries", "place"),
    [
        ({"net": b"STATE"}, ("net", "")),
        ({"weights": b"STATE", "ema": b"G\x3f\xf0\x00\x00\x00\x00\x00\x00"}, ("weights", "")),  # ema: a rate of 1.0
        ({"params": b"STATE", "model": b"}X\x01\x00\x00\x00aK\x01s"}, ("params", "")),  # model: its options
        ({"model": b"STATE", "model_ema": b"STATE"}, ("model_ema", "model")),
        ({"state_dict": b"STATE", "state_dict_ema": b"STATE"}, ("state_dict_ema", "state_dict")),
        ({"model": b"STATE", "ema": b"}X\x06\x00\x00\x00moduleSTATEs"}, ("ema.module", "model")),
        ({"state_dict": b"STATE", "model": b"STATE"}, ("state_dict", "")),
    ],
)
def test_weights_are_found_by_their_key_and_averaged_ones_go_first(
    entries: dict[str, bytes], place: tuple[str, str], tmp_path: Path
) -> None:
    (tmp_path / "w.pth").write_bytes(checkpoint(entries, tmp_path))
    arrays, weights = read_checkpoint(tmp_path / "w.pth")
    assert_equal(arrays, ARRAYS)
    assert (weights.key, weights.beside) == place


def test_a_checkpoint_of_unknown_keys_names_them(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="it holds no tensors, but dictionaries under 'generator'"):
        parse_pth(checkpoint({"generator": b"STATE", "epoch": b"K\x01"}, tmp_path))


def test_names_cannot_grow_by_being_joined(tmp_path: Path) -> None:
    long = b"X" + struct.pack("<I", 400) + b"a" * 400 + b"q\x00h\x00\x93"
    with pytest.raises(ValueError, match="has no name"):
        parse_pth(checkpoint({"args": long, "model": b"STATE"}, tmp_path))


REFUSED = {
    "strides past the end": (tuple_of(3, 1), tuple_of(4, 1), "past the end"),
    "shape past the end": (tuple_of(2, 3), tuple_of(3, 3), "past the end"),
    "offset past the end": (integers(0) + tuple_of(2, 3), integers(1) + tuple_of(2, 3), "past the end"),
    "negative offset": (integers(0) + tuple_of(2, 3), integers(-1) + tuple_of(2, 3), "out of range"),
    "negative stride": (tuple_of(3, 1), tuple_of(-3, 1), "out of range"),
    "negative size": (tuple_of(2, 3), tuple_of(-2, 3), "out of range"),
    "too few strides": (tuple_of(3, 1), tuple_of(3), "out of range"),
    "a view past the end": (
        integers(6) + b"tQ",
        integers(6) + b"(X\x01\x00\x00\x00v" + integers(1, 5) + b"ttQ",
        "past the end",
    ),
    "storage larger than its record": (integers(6), integers(7), "said to hold 7 float32"),
    "storage smaller than its record": (integers(6), integers(5), "said to hold 5 float32"),
    "expanded without bound": (tuple_of(2, 3) + tuple_of(3, 1), tuple_of(2**20, 3) + tuple_of(0, 1), "far larger"),
    "huge": (tuple_of(2, 3) + tuple_of(3, 1), tuple_of(2**62, 2**62) + tuple_of(0, 0), "far larger"),
    "a storage that is not there": (b"X\x01\x00\x00\x000", b"X\x01\x00\x00\x009", "'data/9' is missing"),
    "an unknown storage class": (b"ctorch\nFloatStorage", b"ctorch\nQInt8Storage", "'torch.QInt8Storage'"),
    "a name that is half a character": (b"X\x01\x00\x00\x00w", b"X\x03\x00\x00\x00\xed\xa0\x80", "not text"),
    "an opcode of objects": (b"}(", b"}o(", "uses OBJ"),
    "a memo entry never made": (b"}(", b"}h\x09(", "never made"),
    "no dictionary": (b"}(", b"](", "not a dictionary"),
    "no end": (b"u.", b"u", "cut off or damaged"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_true_is_refused(case: str, tmp_path: Path) -> None:
    old, new, reason = REFUSED[case]
    path = tmp_path / "refused.pth"
    path.write_bytes(edited(tmp_path, old, new))
    with pytest.raises(WeightsError, match=f"refused.pth: .*{reason}.*Cure: "):
        read_pth(path)


def test_an_expanded_tensor_of_sane_size_is_read(tmp_path: Path) -> None:
    data = edited(tmp_path, tuple_of(2, 3) + tuple_of(3, 1), tuple_of(4, 3) + tuple_of(0, 1))
    np.testing.assert_array_equal(parse_pth(data)["w"], np.tile(np.float32([0, 1, 2]), (4, 1)))


def test_the_stride_of_a_single_row_may_be_anything(tmp_path: Path) -> None:
    data = edited(tmp_path, tuple_of(2, 3) + tuple_of(3, 1), tuple_of(1, 6) + tuple_of(2**62, 1))
    np.testing.assert_array_equal(parse_pth(data)["w"], np.arange(6, dtype=np.float32)[None])


@pytest.mark.parametrize("kind", ["Float", "Half"])
def test_a_storage_has_one_type(kind: str, tmp_path: Path) -> None:
    records = records_of(zipped({"a": ARRAYS["conv.weight"], "b": ARRAYS["conv.weight"]}, tmp_path))
    first, second = records["archive/data.pkl"].split(b"X\x01\x00\x00\x00b")
    second = second.replace(b"FloatStorage\nX\x01\x00\x00\x001", f"{kind}Storage\nX\x01\x00\x00\x000".encode())
    data = archive_of(records | {"archive/data.pkl": first + b"X\x01\x00\x00\x00b" + second})
    if kind == "Float":
        assert_equal(parse_pth(data), dict.fromkeys("ab", ARRAYS["conv.weight"]))
    else:
        with pytest.raises(ValueError, match="one storage two types"):
            parse_pth(data)


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        (np.float32(5).tobytes(), b"", "cut off"),
        (struct.pack("<q", 6) + bytes(4), struct.pack("<q", 5) + bytes(4), "cut off"),
        (pickle.dumps(["0"], 2), pickle.dumps(["0", "9"], 2), "list of storages is broken"),
        (pickle.dumps(["0"], 2), pickle.dumps([], 2), "'0' is missing"),
        (pickle.dumps(1001, 2), pickle.dumps(1002, 2), "unknown version"),
    ],
)
def test_a_legacy_file_that_cannot_be_true_is_refused(old: bytes, new: bytes, reason: str, tmp_path: Path) -> None:
    data = legacy({"w": ARRAYS["conv.weight"]}, tmp_path)
    assert data.count(old) == 1
    with pytest.raises(ValueError, match=reason):
        parse_pth(data.replace(old, new))


def test_an_altered_record_fails_its_checksum(tmp_path: Path) -> None:
    data = zipped(ARRAYS, tmp_path)
    number = ARRAYS["conv.weight"].tobytes()
    with pytest.raises(ValueError, match="cut off or altered"):
        parse_pth(data.replace(number, number[:-1] + b"\xff"))


def test_compression_is_refused_before_anything_is_inflated(tmp_path: Path) -> None:
    records = records_of(zipped(ARRAYS, tmp_path))
    bomb = archive_of(records | {"archive/data/0": bytes(2**22)}, zipfile.ZIP_DEFLATED)
    with pytest.raises(ValueError, match="larger than the file"):
        parse_pth(bomb)
    with pytest.raises(ValueError, match="compressed"):
        parse_pth(archive_of(records | {"noise": os.urandom(4096)}, zipfile.ZIP_DEFLATED))


def test_a_container_that_holds_itself_ends(tmp_path: Path) -> None:
    itself: dict[str, Any] = {}
    itself["state_dict"] = itself
    with pytest.raises(ValueError, match="it holds no tensors, but dictionaries under 'state_dict'"):
        parse_pth(archive_of({"a/data.pkl": pickle.dumps(itself, 2)}))


def test_deep_nesting_and_keys_that_are_slow_to_hash_are_harmless() -> None:
    doubled = b")" + b"q\x00h\x00\x86" * 100  # ((((), ()), ((), ())), ...: 2^100 leaves to hash
    deep = b"(" + b")" + b"\x85" * 500_000  # ((((...,),),),)
    for key in (doubled, deep[1:]):
        with pytest.raises(ValueError, match="no tensors"):
            parse_pth(archive_of({"a/data.pkl": b"\x80\x02}" + key + b"K\x01s."}))


def test_a_pickle_that_is_far_too_long_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pickles, "MAX_OPCODES", 20)
    with pytest.raises(ValueError, match="far too long"):
        parse_pth(zipped(ARRAYS, tmp_path))


@pytest.mark.filterwarnings("error")  # pickletools would warn of the last one's escape
@pytest.mark.parametrize("data", [b"", b"PK\x03\x04", b"\x80\x02", b"\x80\x02N.", b"not weights", b"S'\\q'\n."])
def test_other_files_are_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match=r".+"):
        parse_pth(data)


def test_an_unreadable_path_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"cannot be read .*Cure: check the path"):
        read_pth(tmp_path)


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    folder = tmp_path_factory.mktemp("samples")
    return {"zip": zipped(ARRAYS, folder), "legacy": legacy(ARRAYS, folder)}


@settings(max_examples=300, deadline=None)
@given(data=st.data(), kind=st.sampled_from(["zip", "legacy"]))
def test_damage_gives_arrays_or_one_error(samples: dict[str, bytes], data: st.DataObject, kind: str) -> None:
    damaged = bytearray(samples[kind])
    for _ in range(data.draw(st.integers(1, 3))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    damaged = (
        damaged[: data.draw(st.integers(len(damaged) // 2, len(damaged)))] if data.draw(st.booleans()) else damaged
    )
    try:
        arrays = parse_pth(bytes(damaged))
    except ValueError:
        return
    assert all(array.nbytes <= 8 * len(damaged) + 2**20 for array in arrays.values())


@settings(max_examples=300, deadline=None)
@given(at=st.data())
def test_a_damaged_pickle_behind_good_checksums_gives_arrays_or_one_error(
    samples: dict[str, bytes], at: st.DataObject
) -> None:
    records = records_of(samples["zip"])
    pickled = bytearray(records["archive/data.pkl"])
    for _ in range(at.draw(st.integers(1, 3))):
        pickled[at.draw(st.integers(0, len(pickled) - 1))] = at.draw(st.integers(0, 255))
    try:
        parse_pth(archive_of(records | {"archive/data.pkl": bytes(pickled)}))
    except ValueError:
        return


def test_what_is_beside_the_weights_is_not_read(tmp_path: Path) -> None:
    large = {"optimizer": np.zeros(2**23, np.float32)}  # 32 MiB
    records = records_of(zipped(ARRAYS, tmp_path)) | {
        "archive/data/99": records_of(zipped(large, tmp_path))["archive/data/0"]
    }
    (tmp_path / "w.pth").write_bytes(archive_of(records))
    tracemalloc.start()
    try:
        assert_equal(read_pth(tmp_path / "w.pth"), ARRAYS)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 2**20
