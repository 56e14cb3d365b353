"""Writers of picture files that Pillow reads but does not write."""

import struct
import zlib

import numpy as np


def tiff(
    path,
    planes,
    photometric=1,
    planar=1,
    order="<",
    kind=1,
    deflate=False,
    alpha=2,
    bits=None,
    tags=(),
    compression=None,
):
    """A strip for each array of `planes`, (H, W) or (H, W, C); `kind` 1 unsigned, 2 signed, 3 float.

    `alpha` of the last of 2 or 4 channels: 1 multiplied, 2 not, 0 something else. `bits`: 12, of 16 in `planes`. `tags`
    (number, code, values) besides, or instead. `compression`: what is said of it, true or not.
    """
    height, width = planes[0].shape[:2]
    samples = len(planes) if planar == 2 else planes[0].size // (height * width)
    strips = [np.ascontiguousarray(p).astype(p.dtype.newbyteorder(order)).tobytes() for p in planes]
    if bits == 12:
        pairs = [p.reshape(-1, 2).astype(int) for p in planes]  # an even number to a row
        joined = [np.stack([p[:, 0] >> 4, (p[:, 0] & 15) << 4 | p[:, 1] >> 8, p[:, 1] & 255], 1) for p in pairs]
        strips = [values.astype(np.uint8).tobytes() for values in joined]
    bits = bits or planes[0].dtype.itemsize * 8
    strips = [zlib.compress(s) for s in strips] if deflate else strips
    starts = [8 + sum(map(len, strips[:i])) for i in range(len(strips) + 1)]
    given, tags = (
        tags,
        [
            (256, "H", [width]),
            (257, "H", [height]),
            (258, "H", [bits] * samples),
            (259, "H", [compression or (8 if deflate else 1)]),
            (262, "H", [photometric]),
            (273, "I", starts[:-1]),
            (277, "H", [samples]),
            (278, "H", [height]),
            (279, "I", [len(s) for s in strips]),
            (284, "H", [planar]),
            (339, "H", [kind] * samples),
        ],
    )
    if samples in (2, 4) and photometric != 5:
        tags.insert(-1, (338, "H", [alpha]))
    tags = sorted({tag[0]: tag for tag in [*tags, *given]}.values())
    directory = starts[-1] + starts[-1] % 2
    beyond = directory + 2 + 12 * len(tags) + 4
    entries, blob = b"", b""
    for number, code, values in tags:
        raw = struct.pack(f"{order}{len(values)}{code}", *values)
        if len(raw) > 4:
            blob, raw = blob + raw, struct.pack(order + "I", beyond + len(blob))
        entries += struct.pack(order + "HHI", number, 3 if code == "H" else 4, len(values)) + raw.ljust(4, b"\0")
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "I", directory)
    padding = b"\0" * (directory - starts[-1])
    count = struct.pack(order + "H", len(tags))
    path.write_bytes(head + b"".join(strips) + padding + count + entries + bytes(4) + blob)
    return path


def png(path, values, colour, bits=None, key=None, chunks=()):
    """Of the bits of `values`, (H, W) or (H, W, C), or fewer `bits`; `key` is transparent, `chunks` (name, data).

    `colour` 0 grey, 2 RGB, 4 grey and alpha, 6 RGB and alpha.
    """
    height, width = values.shape[:2]
    depth = bits or values.dtype.itemsize * 8
    rows = values.astype(values.dtype.newbyteorder(">")).reshape(height, -1)
    if depth < 8:
        single = (rows[..., None] >> np.arange(depth - 1, -1, -1)) & 1
        rows = np.packbits(single.reshape(height, -1).astype(np.uint8), axis=1)
    extra = [] if key is None else [(b"tRNS", struct.pack(f">{len(key)}H", *key))]
    content = b"\x89PNG\r\n\x1a\n"
    for name, data in [
        (b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)),
        *chunks,
        *extra,
        (b"IDAT", zlib.compress(b"".join(b"\0" + row.tobytes() for row in rows))),
        (b"IEND", b""),
    ]:
        content += struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
    path.write_bytes(content)
    return path


def bmp(path, rgba):
    """32 bits a pixel, whose masks name an alpha channel; `rgba` (H, W, 4) uint8."""
    height, width = rgba.shape[:2]
    masks = struct.pack("<4I", 0xFF0000, 0xFF00, 0xFF, 0xFF000000)
    info = struct.pack("<IiiHHIIiiII", 108, width, -height, 1, 32, 3, rgba.size, 2835, 2835, 0, 0) + masks + bytes(52)
    head = struct.pack("<2sIHHI", b"BM", 14 + len(info) + rgba.size, 0, 0, 14 + len(info))
    path.write_bytes(head + info + rgba[..., [2, 1, 0, 3]].tobytes())
    return path
