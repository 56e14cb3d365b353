"""Of every file it is told whether it can be used and what it is, or why it cannot."""

import io
import re

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from xfer.errors import DataError
from xfer.pixels.content import file_digest, stamp
from xfer.pixels.images import open_image
from xfer.pixels.inspected import Inspected, inspect_image
from xfer.system.limits import LIMITS

RNG = np.random.default_rng(0)
LARGE = RNG.integers(0, 256, (70, 45, 3), np.uint8)


@pytest.mark.parametrize(("mode", "suffix", "kind"), [("RGB", "jpg", "JPEG RGB"), ("LA", "png", "PNG LA")])
def test_what_is_known_of_a_picture_that_can_be_used(tmp_path, mode, suffix, kind):
    path = tmp_path / f"x.{suffix}"
    Image.fromarray(LARGE).convert(mode).save(path)
    assert inspect_image(path) == Inspected(None, file_digest(path), stamp(path), 70, 45, kind)


def stored(format="PNG"):
    buffer = io.BytesIO()
    Image.fromarray(RNG.integers(0, 256, (64, 64, 3), np.uint8)).save(buffer, format)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "empty file"),
        (b"<html>not found</html>" * 50, "not an image"),
        (stored("JPEG")[:-200], "truncated"),
        (stored("JPEG")[:10], "truncated"),
        (stored("PNG")[:-2000], "truncated"),
        (stored("PNG")[:100] + b"xxxx" + stored("PNG")[104:], "cannot be decoded"),
        (stored("BMP")[:-2000], "truncated"),
        (stored("TIFF")[:5000], "truncated"),
        (stored("WEBP")[:2000], "truncated"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n%%EndComments\n", "not an image"),
    ],
)
def test_why_a_picture_cannot_be_used(tmp_path, content, reason):
    path = tmp_path / "x.jpg"
    path.write_bytes(content)
    inspected = inspect_image(path)
    assert inspected.reason is not None
    assert reason in inspected.reason
    assert "\n" not in inspected.reason
    assert not inspected.digest
    with pytest.raises(DataError) as raised:
        open_image(path)
    assert str(raised.value) == f"{path}: {inspected.reason}"


def damages():
    """Ways to damage a file: cut off, bits turned, bytes taken out."""
    where, many = st.floats(0, 1, exclude_max=True), st.integers(1, 200)
    return st.one_of(
        st.builds(lambda at: lambda data: data[: int(at * len(data))], where),
        st.builds(lambda at, bit: lambda data: turned(data, int(at * len(data)), bit), where, st.integers(0, 7)),
        st.builds(
            lambda at, n: lambda data: data[: int(at * len(data))] + data[int(at * len(data)) + n :], where, many
        ),
    )


def turned(data, at, bit):
    return data[:at] + bytes(byte ^ 1 << bit for byte in data[at : at + 1]) + data[at + 1 :]


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from(["baseline", "progressive", "grey", "restarts"]), st.lists(damages(), max_size=2))
def test_the_check_finds_what_decoding_the_whole_picture_finds(tmp_path, kind, damaged):
    """It decodes an eighth of a JPEG picture, and says the same of it."""
    more = {"progressive": {"progressive": True}, "restarts": {"restart_marker_rows": 1}}.get(kind, {})
    buffer = io.BytesIO()
    Image.fromarray(LARGE).convert("L" if kind == "grey" else "RGB").save(buffer, "JPEG", **more)
    content = buffer.getvalue()
    for damage in damaged:
        content = damage(content)
    (tmp_path / "x.jpg").write_bytes(content)
    inspected = inspect_image(tmp_path / "x.jpg")
    if inspected.reason is None:
        assert (inspected.width, inspected.height) == open_image(tmp_path / "x.jpg").size
    else:
        with pytest.raises(DataError, match=re.escape(f"x.jpg: {inspected.reason}") + "$"):
            open_image(tmp_path / "x.jpg")


LOSSLESS = bytes.fromhex(
    "ffd8 ffc3000b0800080008010111 00 ffc40014 00 01000000000000000000000000000000 00"
    "ffda0008 01 01 00 01 00 00 0000000000000000 ffd9"
)  # 8 x 8 pixels of 128, each the same as the one before: ITU-T T.81, annex H


def test_lossless_jpeg_which_cannot_be_decoded_smaller_is_no_damage(tmp_path):
    (tmp_path / "x.jpg").write_bytes(LOSSLESS)
    with Image.open(io.BytesIO(LOSSLESS)) as image:
        try:
            image.load()
        except OSError:
            pytest.skip("this Pillow reads no lossless JPEG")
    assert np.unique(np.asarray(open_image(tmp_path / "x.jpg"))).tolist() == [128]
    assert inspect_image(tmp_path / "x.jpg").reason is None


def test_what_is_no_file(tmp_path):
    assert inspect_image(tmp_path).reason == "a folder, expected a regular file"
    assert inspect_image(tmp_path / "none.jpg").reason == "no such file or directory"


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_bombs_are_refused(tmp_path):
    """A header that promises too many pixels is enough: nothing is decoded."""
    width = 20_000
    most = LIMITS["picture_pixels"].default
    for height, refused in ((most // width + 1, True), (most // width, False)):
        (tmp_path / "x.ppm").write_bytes(f"P6 {width} {height} 255\n".encode())
        assert inspect_image(tmp_path / "x.ppm").reason == (
            "more than 178,956,970 pixels (XFER_LIMIT_PICTURE_PIXELS)" if refused else "truncated"
        )


def test_bombs_are_refused_when_pillow_is_told_not_to(tmp_path, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)
    (tmp_path / "x.ppm").write_bytes(b"P6 20000 20000 255\n")
    assert inspect_image(tmp_path / "x.ppm").reason == "more than 178,956,970 pixels (XFER_LIMIT_PICTURE_PIXELS)"
