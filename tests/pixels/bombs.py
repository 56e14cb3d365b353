"""Small files that ask a decoder for much memory or time, each made by code."""

import io
import struct
import zlib

import numpy as np
from PIL import Image

MOST = 178_956_970
WIDE, HIGH = 13_370, 13_370  # just below MOST


def deflated(row, rows):
    """zlib's stream of `rows` times the bytes `row`, made without compressing all of them."""
    together = max((1 << 20) // len(row), 1)
    chunk, rest = row * together, row * (rows % together)
    packer = zlib.compressobj(9, wbits=-15)
    block = packer.compress(chunk) + packer.flush(zlib.Z_FULL_FLUSH)  # may be repeated: it looks back at nothing
    end = packer.compress(rest) + packer.flush()
    check = 1
    for _ in range(rows // together):
        check = zlib.adler32(chunk, check)
    return b"\x78\xda" + block * (rows // together) + end + struct.pack(">I", zlib.adler32(rest, check))


def chunk(name, data=b""):
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def png(width=WIDE, height=HIGH, bits=8, colour=2, before=(), after=()):
    """Of zeros. `colour` as in PNG: 0 grey, 2 RGB, 3 palette, 4 grey and alpha, 6 RGBA."""
    channels = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[colour]
    row = b"\0" + bytes((width * bits * channels + 7) // 8)
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0))
    palette = chunk(b"PLTE", bytes(range(6))) if colour == 3 else b""
    data = chunk(b"IDAT", deflated(row, height))
    return b"\x89PNG\r\n\x1a\n" + b"".join([head, palette, *before, data, *after, chunk(b"IEND")])


def tiff(width, height, strips, tags, tile=None):
    """Little-endian; `tags` {number: (type, values)} besides; strips, or tiles of (width, height)."""
    starts = [8 + sum(map(len, strips[:i])) for i in range(len(strips) + 1)]
    sizes = [len(strip) for strip in strips]
    place = {273: (4, starts[:-1]), 278: (4, [height]), 279: (4, sizes)}
    if tile:
        place = {324: (4, starts[:-1]), 325: (4, sizes), 322: (4, tile[:1]), 323: (4, tile[1:])}
    all_tags = {256: (4, [width]), 257: (4, [height]), **place, **tags}
    directory = starts[-1] + starts[-1] % 2
    beyond = directory + 2 + 12 * len(all_tags) + 4
    entries, blob = b"", b""
    for number, (kind, values) in sorted(all_tags.items()):
        raw = struct.pack(f"<{len(values)}{ {3: 'H', 4: 'I'}[kind] }", *values)
        if len(raw) > 4:
            blob, raw = blob + raw, struct.pack("<I", beyond + len(blob))
        entries += struct.pack("<HHI", number, kind, len(values)) + raw.ljust(4, b"\0")
    head = b"II*\0" + struct.pack("<I", directory)
    padding = bytes(directory - starts[-1])
    return head + b"".join(strips) + padding + struct.pack("<H", len(all_tags)) + entries + bytes(4) + blob


def of_bits(bits, channels, kind=1, photometric=1, compression=8):
    return {258: (3, [bits] * channels), 259: (3, [compression]), 262: (3, [photometric]), 277: (3, [channels]),
            339: (3, [kind] * channels)}  # fmt: skip


def flat_tiff(bits, channels=1, width=WIDE, height=HIGH, **of):
    row = bytes(width * bits * channels // 8)
    return tiff(width, height, [deflated(row, height)], of_bits(bits, channels, **of))


def tiled_tiff(side=23_000):
    """A picture of one pixel, in a tile of half a thousand million."""
    return tiff(1, 1, [deflated(bytes(4 * side), 64)], of_bits(8, 4, photometric=2), tile=[side, side])


def greedy_directory(entries=4000, order="<"):
    """A TIFF directory each of whose tags claims all of its bytes."""
    size = 8 + 2 + 12 * entries + 4
    values = b"".join(struct.pack(f"{order}HHII", 40_000 + i, 1, size - 8, 8) for i in range(entries))
    return (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(f"{order}IH", 8, entries) + values + bytes(4)


def greedy_tiff(entries=20_000):
    """Each of its tags claims a megabyte, the same."""
    base, data = of_bits(8, 1, compression=1), bytes(1 << 20)
    base |= {40_000 + i: (4, [0]) for i in range(entries)}
    content = bytearray(tiff(8, 8, [data], base))
    (directory,) = struct.unpack_from("<I", content, 4)
    for i in range(struct.unpack_from("<H", content, directory)[0]):
        at = directory + 2 + 12 * i
        if struct.unpack_from("<H", content, at)[0] >= 40_000:
            struct.pack_into("<HII", content, at + 2, 1, 1 << 20, 8)
    return bytes(content)


def saved(format, size=(64, 64), mode="RGB", **options):
    buffer = io.BytesIO()
    Image.new(mode, size).save(buffer, format, **options)
    return buffer.getvalue()


def progressive(scans, size=(2000, 2000)):
    """The last scan of a JPEG file over and over again."""
    content = saved("JPEG", size, progressive=True)
    start, end = content.rindex(b"\xff\xda"), len(content) - 2
    return content[:start] + content[start:end] * scans + content[end:]


def of_size(jpeg, width, height):
    """A JPEG file of one frame whose header says another size."""
    at = max(jpeg.rfind(marker) for marker in (b"\xff\xc0\0\x11", b"\xff\xc2\0\x11"))
    return jpeg[: at + 5] + struct.pack(">HH", height, width) + jpeg[at + 9 :]


def segment(marker, data):
    return b"\xff" + bytes([marker]) + struct.pack(">H", len(data) + 2) + data


def jpeg_with(*segments):
    content = saved("JPEG")
    return content[:2] + b"".join(segments) + content[2:]


def gif_with_comments(bytes_of_text):
    content = saved("GIF", mode="P")
    at = content.index(b",", 13 + 3 * 2 ** ((content[10] & 7) + 1))
    blocks = (b"\xff" + b"x" * 255) * (bytes_of_text // 255)
    return content[:at] + b"!\xfe" + blocks + b"\0" + content[at:]


def ico(member, side=16):
    return struct.pack("<HHH", 0, 1, 1) + struct.pack("<BBBBHHII", side, side, 0, 0, 1, 32, len(member), 22) + member


def bmp_of_runs(width=11_000, height=15_000):
    """Every row ends at once: its pixels are filled in one by one."""
    data = b"\1\0\0\0" * height + b"\0\1"
    palette = bytes(1024)
    head = struct.pack("<IiiHHIIiiII", 40, width, height, 1, 8, 1, len(data), 0, 0, 256, 0)
    start = 14 + len(head) + len(palette)
    return struct.pack("<2sIHHI", b"BM", start + len(data), 0, 0, start) + head + palette + data


def webp(width, height):
    """A small picture on a canvas of another size."""
    inner = saved("WEBP", lossless=True)[12:]
    size = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    data = bytes(6) + (63).to_bytes(3, "little") * 2 + (100).to_bytes(3, "little") + b"\0" + inner
    frame = b"VP8X" + struct.pack("<I", 10) + b"\2\0\0\0" + size + b"ANIM" + struct.pack("<IIH", 6, 0, 0)
    frame += b"ANMF" + struct.pack("<I", len(data)) + data
    return b"RIFF" + struct.pack("<I", 4 + len(frame)) + b"WEBP" + frame


def webp_with_exif(exif):
    inner = saved("WEBP", lossless=True)[12:] + b"EXIF" + struct.pack("<I", len(exif)) + exif
    head = b"VP8X" + struct.pack("<I", 10) + b"\x08\0\0\0" + (63).to_bytes(3, "little") * 2
    return b"RIFF" + struct.pack("<I", 4 + len(head) + len(inner)) + b"WEBP" + head + inner


def jpeg2000(width, height, tile=None, components=3, precinct=None):
    """A codestream whose header is there, and of its pixels next to nothing."""
    tile = tile or (width, height)
    siz = struct.pack(">HIIIIIIIIH", 0, width, height, 0, 0, *tile, 0, 0, components) + b"\x07\x01\x01" * components
    style, sizes = (1, bytes([precinct * 17])) if precinct is not None else (0, b"")
    cod = struct.pack(">BBHBBBBBB", style, 0, 1, 0, 0, 4, 4, 0, 1) + sizes
    qcd = b"\x40\x40"
    sot = segment(0x90, struct.pack(">HIBB", 0, 0, 0, 1))
    main = segment(0x51, siz) + segment(0x52, cod) + segment(0x5C, qcd)
    return b"\xff\x4f" + main + sot + b"\xff\x93" + bytes(64) + b"\xff\xd9"


def text_ppm(pixels_across=4000, down=4000):
    return b"P2 %d %d 255\n" % (pixels_across, down) + b"1 " * (pixels_across * down)


def noise(*shape):
    return np.random.default_rng(0).integers(0, 256, shape, np.uint8)
