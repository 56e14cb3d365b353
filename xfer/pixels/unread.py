"""What a file is that no decoder takes: its owner is told more than that it is no image."""

from __future__ import annotations

import io
import re

from PIL import Image, TiffImagePlugin

NOT_AN_IMAGE = "not an image"

_TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_NUMBERS = {1: "whole numbers", 2: "whole numbers with sign", 3: "floats"}  # of TIFF's tag SampleFormat

_RARE = ("lzma", "webp", "zstd")  # compressions that libtiff can be built without

_UNUSUAL = {
    rb"8BPS": "PSD",
    rb"icns": "ICNS",
    rb"DDS ": "DDS",
    rb"qoif": "QOI",
    rb"SIMPLE  =": "FITS",
    rb"\x89HDF": "HDF5",
}

_BEGINNINGS = (
    (rb"....ftyp(hei[cxms]|hev[cxms]|mif1|msf1)", "HEIC, which is not read: save it as JPEG or PNG"),
    (rb"GIF8[79]a|\x89PNG\r\n\x1a\n|....ftypavi[fs]|\0\0\0\x0cjP  ", "truncated or damaged in its header"),
    (rb"....ftyp(qt  |iso|mp4|avc|M4V|3gp)", f"{NOT_AN_IMAGE} but a film"),
    (rb"....ftypcrx", "a raw file of a camera, which is not read: save it as JPEG or PNG"),
    (rb"\xff\x0a|\0\0\0\x0cJXL ", "JPEG XL, which is not read: save it as JPEG or PNG"),
    *((start, f"{name}, which is not read: save it as PNG") for start, name in _UNUSUAL.items()),
    (rb"%PDF", f"{NOT_AN_IMAGE} but a PDF document"),
    (rb"PK\x03\x04", f"{NOT_AN_IMAGE} but a ZIP archive"),
    (rb"version https://git-lfs", f"{NOT_AN_IMAGE} but a pointer of Git LFS: fetch the picture with git lfs pull"),
    (rb"(?i)(\xef\xbb\xbf)?\s*<(!doctype html|html)", f"{NOT_AN_IMAGE} but a web page"),
    (rb"(?i)(\xef\xbb\xbf)?\s*(<\?xml[^>]*>\s*)?(<!.{0,400}?>\s*)*<svg", f"{NOT_AN_IMAGE} but a vector drawing (SVG)"),
)


def reason_unread(content: bytes) -> str:
    """One line, with the cure where there is one."""
    head = content[:1024]
    if head.startswith(b"\xff\xd8\xff") and _is_cut_in_segments(content):
        return "truncated"
    if head.startswith(_TIFF):
        return _tiff_reason(content)
    return next((reason for start, reason in _BEGINNINGS if re.match(start, head, re.DOTALL)), NOT_AN_IMAGE)


def is_cut_webp(content: bytes) -> bool:
    """Whether a WebP file is shorter than it says."""
    return (
        content[:4] == b"RIFF"
        and content[8:12] == b"WEBP"
        and len(content) < 8 + int.from_bytes(content[4:8], "little")
    )


def reason_undecoded(image: Image.Image) -> str | None:
    """Of a TIFF picture whose layout was understood: a compression that this Pillow may have been built without.

    Whether it was cannot be tried: to save with one that is missing, some versions end the process.
    """
    compression = image.info.get("compression")
    if image.format != "TIFF" or compression not in _RARE:
        return None
    return f"TIFF with {compression} compression, damaged or not read by this Pillow: save it as PNG"


def _is_cut_in_segments(content: bytes) -> bool:
    """Whether a JPEG file is as it should be up to its end, and ends before its codes begin."""
    at = 2
    while at + 4 <= len(content):
        if content[at] != 0xFF or content[at + 1] < 0xC0:  # what all markers of segments begin with
            return False
        at += 2 + int.from_bytes(content[at + 2 : at + 4], "big")
    return at > 2


def _tiff_reason(content: bytes) -> str:
    """The layout of values that was not understood."""
    try:
        tags = TiffImagePlugin.ImageFileDirectory_v2(content[: 16 if 43 in content[2:4] else 8])  # 43: BigTIFF
        file = io.BytesIO(content)
        file.seek(tags.next)
        tags.load(file)
        if 256 not in tags:  # the width
            return NOT_AN_IMAGE
        bits, kinds = tags.get(258, (1,)), tags.get(339, (1,))
        channels, extra, photometric = tags.get(277, 1), tags.get(338, ()), tags.get(262)
        planar, compression = tags.get(284) == 2, tags.get(259, 1)
    except Exception:  # nothing can be relied on in a damaged file
        return NOT_AN_IMAGE
    if compression not in TiffImagePlugin.COMPRESSION_INFO:
        return f"TIFF with an unknown compression ({compression}), which is not read: save it as PNG"
    layout = f"{channels} channel{'s' if channels != 1 else ''} of {bits[0]}-bit {_NUMBERS.get(kinds[0], 'values')}"
    notes = (
        (", transparency among them" if {1, 2} & set(extra) else "")
        + (", white as zero" if photometric == 0 else "")
        + (", in separate planes" if planar else "")
    )
    narrower = ", or with 8 bits a channel" if bits[0] != 8 else ""
    return f"TIFF with {layout}{notes}, which is not read: save it as PNG{narrower}"
