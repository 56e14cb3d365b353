"""MindSpore's format without MindSpore: round trips, the wire format, damage. Files that MindSpore itself wrote are
read in tests/backends/test_formats_mindspore.py."""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from xfer.errors import WeightsError
from xfer.formats import ckpt
from xfer.formats.ckpt import parse_ckpt, read_ckpt, write_ckpt
from xfer.formats.mindspore_names import from_mindspore_names, to_mindspore_names, without_optimizer

DTYPES = [
    *("float16", "float32", "float64", "bool"),
    *("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"),
]
WEIGHT = np.arange(6, dtype=np.float32).reshape(2, 3)


def field(number: int, content: bytes) -> bytes:
    """A length-delimited field; long enough ones have a length of two bytes."""
    length = len(content)
    return bytes([number << 3 | 2, *([length] if length < 128 else [length & 127 | 128, length >> 7])]) + content


def value(tag: str, dims: bytes, kind: str, content: bytes) -> bytes:
    tensor = dims + field(2, kind.encode()) + field(3, content)
    return field(1, field(1, tag.encode()) + field(2, tensor))


def unpacked(*dims: int) -> bytes:
    return b"".join(bytes([8, size]) for size in dims)


def packed(*dims: int) -> bytes:
    return field(1, bytes(dims))


def written(arrays: dict[str, NDArray[Any]], tmp_path: Path) -> bytes:
    write_ckpt(tmp_path / "written.ckpt", arrays)
    return (tmp_path / "written.ckpt").read_bytes()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(), (1,), (300,), (2, 1, 3), (0,), (0, 3)])
def test_a_file_gives_back_what_was_written(dtype: str, shape: tuple[int, ...], tmp_path: Path) -> None:
    array = (np.random.default_rng(0).standard_normal(shape) * 100).astype(dtype)
    arrays = parse_ckpt(written({"a": array, "b.gamma": array.T}, tmp_path))
    assert list(arrays) == ["a", "b.gamma"]
    for copy, original in zip(arrays.values(), (array, array.T), strict=True):
        assert (copy.dtype, copy.shape) == (original.dtype, original.shape)
        np.testing.assert_array_equal(copy, original)
        assert copy.flags.writeable


@pytest.mark.parametrize("dims", [unpacked, packed])
def test_dims_may_be_packed_or_not(dims: Any) -> None:
    arrays = parse_ckpt(value("w", dims(2, 3), "Float32", WEIGHT.tobytes()))
    np.testing.assert_array_equal(arrays["w"], WEIGHT)


def test_slices_of_a_tensor_are_joined() -> None:
    whole = WEIGHT.tobytes()
    slices = [value("w", unpacked(2, 3), "Float32", part) for part in (whole[:12], whole[12:20], whole[20:])]
    arrays = parse_ckpt(b"".join(slices) + value("v", unpacked(6), "Float32", whole))
    np.testing.assert_array_equal(arrays["w"], WEIGHT)
    np.testing.assert_array_equal(arrays["v"], WEIGHT.ravel())


def test_a_scalar_may_have_no_dims_or_the_dims_0() -> None:
    content = np.float32(3).tobytes()
    for dims in (b"", unpacked(0)):
        assert parse_ckpt(value("w", dims, "Float32", content))["w"] == np.array(3, np.float32)


def test_bfloat16_becomes_float32() -> None:
    array = parse_ckpt(value("w", unpacked(2), "BFloat16", np.array([0x3F80, 0xC000], "<u2").tobytes()))["w"]
    np.testing.assert_array_equal(array, np.array([1, -2], np.float32))


def test_strings_are_left_out() -> None:
    text = value("note", unpacked(0), "str", np.array("best").tobytes())
    assert list(parse_ckpt(text + value("w", unpacked(6), "Float32", WEIGHT.tobytes()))) == ["w"]
    with pytest.raises(ValueError, match="no tensors"):
        parse_ckpt(text)


def test_a_checksum_is_checked_where_there_is_one() -> None:
    message = value("w", unpacked(2, 3), "Float32", WEIGHT.tobytes())
    crc = b"crc_num" + zlib.crc32(message).to_bytes(10, "big")
    np.testing.assert_array_equal(parse_ckpt(message + crc)["w"], WEIGHT)
    altered = message[:-1] + bytes([message[-1] ^ 1])
    with pytest.raises(ValueError, match="CRC-32"):
        parse_ckpt(altered + crc)


GOOD = value("w", unpacked(2, 3), "Float32", WEIGHT.tobytes())
REFUSED = {
    "empty": (b"", "no tensors"),
    "cut off": (GOOD[:-1], "cut off"),
    "shape larger than the content": (value("w", unpacked(2, 4), "Float32", WEIGHT.tobytes()), "does not fit"),
    "shape smaller than the content": (value("w", unpacked(2, 2), "Float32", WEIGHT.tobytes()), "does not fit"),
    "negative size": (value("w", b"\x08" + b"\xff" * 9 + b"\x01", "Float32", WEIGHT.tobytes()), "out of range"),
    "too many dims": (value("w", unpacked(*[1] * 33), "Float32", WEIGHT.tobytes()[:4]), "out of range"),
    "far too many dims": (value("w", packed(*[1] * 400), "Float32", WEIGHT.tobytes()[:4]), "out of range"),
    "unknown type": (value("w", unpacked(2, 3), "Int4", WEIGHT.tobytes()), "'Int4' is unknown"),
    "a name twice": (GOOD + value("v", unpacked(6), "Float32", WEIGHT.tobytes()) + GOOD, "'w' twice"),
    "slices of two shapes": (GOOD + value("w", unpacked(6), "Float32", WEIGHT.tobytes()), "slices"),
    "no name": (field(1, field(2, b"")), "lacks its name"),
    "a hash map": (field(1, field(1, b"w") + field(3, b"")), "lacks its name or its tensor"),
    "no content": (field(1, field(1, b"w") + field(2, unpacked(2, 3) + field(2, b"Float32"))), "lacks its type"),
    "another message": (field(2, b"w"), "no list of named tensors"),
    "a varint without end": (b"\x0a" + b"\xff" * 20, "cut off, or not a protobuf"),
    "a varint of 11 bytes": (GOOD[:1] + bytes([GOOD[1] | 128]) + b"\x80" * 9 + b"\x00" + GOOD[2:], "not a protobuf"),
    "a group": (b"\x0b" + GOOD, "not a protobuf message"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_true_is_refused(case: str, tmp_path: Path) -> None:
    data, reason = REFUSED[case]
    path = tmp_path / "refused.ckpt"
    path.write_bytes(data)
    with pytest.raises(WeightsError, match=f"refused.ckpt: .*{reason}.*Cure: "):
        read_ckpt(path)


def test_far_too_many_values_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ckpt, "MAX_VALUES", 3)
    assert list(parse_ckpt(GOOD)) == ["w"]
    with pytest.raises(ValueError, match="far too many"):
        parse_ckpt(GOOD * 4)


def test_an_unsupported_number_type_is_refused_on_writing(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"w is complex64, expected one of .*float32"):
        write_ckpt(tmp_path / "a.ckpt", {"w": np.zeros(2, np.complex64)})


@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_damage_gives_arrays_or_one_error(data: st.DataObject) -> None:
    damaged = bytearray(GOOD + value("b", packed(6), "Float16", bytes(12)) + value("s", b"", "str", bytes(4)))
    for _ in range(data.draw(st.integers(1, 3))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    damaged = damaged[: data.draw(st.integers(0, len(damaged)))] if data.draw(st.booleans()) else damaged
    try:
        arrays = parse_ckpt(bytes(damaged))
    except ValueError:
        return
    assert all(array.nbytes <= 2 * len(damaged) for array in arrays.values())


CANONICAL = ["conv1.weight", "bn1.weight", "bn1.bias", "bn1.running_mean", "bn1.running_var", "fc.weight", "fc.bias"]
MINDSPORE = ["conv1.weight", "bn1.gamma", "bn1.beta", "bn1.moving_mean", "bn1.moving_variance", "fc.weight", "fc.bias"]


def test_names_translate_both_ways() -> None:
    canonical, mindspore = ({name: i for i, name in enumerate(names)} for names in (CANONICAL, MINDSPORE))
    assert to_mindspore_names(canonical) == mindspore
    assert from_mindspore_names(mindspore) == canonical
    assert from_mindspore_names(canonical) == canonical
    assert to_mindspore_names(mindspore) == mindspore


def test_names_of_layer_norms_are_translated_both_ways():
    vector, matrix = np.zeros(4), np.zeros((4, 4))
    canonical = {"ln.weight": vector, "ln.bias": vector, "fc.weight": matrix, "fc.bias": vector, "scale.gamma": vector}
    mindspore = {"ln.gamma": vector, "ln.beta": vector, "fc.weight": matrix, "fc.bias": vector, "scale.gamma": vector}
    assert list(to_mindspore_names(canonical)) == list(mindspore)
    assert list(from_mindspore_names(mindspore)) == list(canonical)
    assert list(from_mindspore_names(canonical)) == list(canonical)
    assert list(to_mindspore_names(mindspore)) == list(mindspore)


def test_a_gamma_without_running_statistics_keeps_its_name() -> None:
    names = {"norm.gamma": 0, "norm.beta": 1}
    assert from_mindspore_names(names) == names


def test_two_names_for_one_tensor_are_refused() -> None:
    with pytest.raises(WeightsError, match=r"'bn1\.weight'"):
        from_mindspore_names(dict.fromkeys([*MINDSPORE, "bn1.weight"], 0))


def test_optimizer_state_is_left_out_and_nothing_else() -> None:
    weights = {"conv1.weight": WEIGHT, "moments.weight": WEIGHT}
    state = {
        "moments.conv1.weight": WEIGHT,
        "accum.moments.weight": WEIGHT,
        "stat.conv1.weight": np.zeros(1),
        "learning_rate": np.array(0.1),
        "global_step": np.zeros(1, np.int32),
    }
    others = {
        "moments.conv9.weight": WEIGHT,  # of no weight here
        "moment1.conv1.weight": WEIGHT.ravel(),  # of another shape
        "tail.conv1.weight": WEIGHT,  # no slot
        "momentum": WEIGHT,  # no scalar
    }
    assert list(without_optimizer(weights | state | others)) == [*weights, *others]
