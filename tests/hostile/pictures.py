"""Pictures that are bombs, and damaged ones of every format."""

import io
import struct
import zlib
from collections.abc import Iterator

from PIL import Image

from hostile.damage import DAMAGES, MB, Content, kept, written
from hostile.ground import PLAIN, Call, Random


def encoded(format: str, mode: str = "RGB", size: tuple[int, int] = (40, 48), **options: object) -> bytes:
    file = io.BytesIO()
    Image.effect_noise(size, 60).convert(mode).save(file, format, **options)
    return file.getvalue()


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png(
    width: int, height: int, depth: int, colour: int, rows: bytes, *chunks: bytes, interlaced: bool = False
) -> bytes:
    head = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, int(interlaced))
    body = b"".join([chunk(b"IHDR", head), *chunks, chunk(b"IDAT", rows), chunk(b"IEND", b"")])
    return b"\x89PNG\r\n\x1a\n" + body


def zeros(count: int, level: int = 1) -> bytes:
    """Deflated, made in pieces."""
    packer = zlib.compressobj(level)
    pieces = [packer.compress(bytes(MB)) for _ in range(count // MB)]
    return b"".join([*pieces, packer.compress(bytes(count % MB)), packer.flush()])


def large_grey(random: Random) -> bytes:
    side = 13_000
    return png(side, side, 16, 0, zeros(side * (2 * side + 1)))


def large_grey_alpha(random: Random) -> bytes:
    side = 13_000
    return png(side, side, 16, 4, zeros(side * (4 * side + 1)))


def large_rgba(random: Random) -> bytes:
    side = 13_300
    return png(side, side, 8, 6, zeros(side * (4 * side + 1)))


def large_interlaced(random: Random) -> bytes:
    side = 13_000
    return png(side, side, 16, 6, zeros(side * (8 * side + 1) + 10 * side), interlaced=True)


def large_palette(random: Random) -> bytes:
    side = 13_300
    palette = chunk(b"PLTE", bytes(768)) + chunk(b"tRNS", bytes(256))
    return png(side, side, 8, 3, zeros(side * (side + 1)), palette)


def text_bomb(random: Random) -> bytes:
    text = chunk(b"zTXt", b"Comment\0\0" + zeros(512 * MB))
    return png(8, 8, 8, 0, zlib.compress(bytes(72)), *[text] * 20)


def profile_bomb(random: Random) -> bytes:
    return png(8, 8, 8, 0, zlib.compress(bytes(72)), chunk(b"iCCP", b"x\0\0" + zeros(1024 * MB)))


def chunks_bomb(random: Random) -> bytes:
    return png(8, 8, 8, 0, zlib.compress(bytes(72)), chunk(b"tEXt", b"a\0b") * 500_000)


def many_scans(random: Random) -> bytes:
    """A progressive JPEG whose last scan is there thousands of times: each goes over all of a large picture."""
    content = encoded("JPEG", "L", (6000, 6000), progressive=True, quality=10)
    content = content[:-2] if content.endswith(b"\xff\xd9") else content
    start = content.rindex(b"\xff\xda")
    length = struct.unpack(">H", content[start + 2 : start + 4])[0]
    scan = content[start : start + 2 + length]
    return content + (scan + b"\0" * 4) * 5000 + b"\xff\xd9"


def many_frames(random: Random) -> bytes:
    file = io.BytesIO()
    frames = [Image.new("P", (64, 64), i % 255) for i in range(3000)]
    frames[0].save(file, "GIF", save_all=True, append_images=frames[1:])
    return file.getvalue()


def large_gif(random: Random) -> bytes:
    content = bytearray(encoded("GIF", "P", (8, 8)))
    content[6:10] = struct.pack("<HH", 13_000, 13_000)
    return bytes(content)


def large_tiff(random: Random) -> bytes:
    file = io.BytesIO()
    Image.new("I;16", (13_000, 13_000)).save(file, "TIFF", compression="tiff_deflate")
    return file.getvalue()


def large_float(random: Random) -> bytes:
    file = io.BytesIO()
    Image.new("F", (12_000, 12_000)).save(file, "TIFF", compression="tiff_deflate")
    return file.getvalue()


def large_jpeg(random: Random) -> bytes:
    file = io.BytesIO()
    Image.new("CMYK", (13_000, 13_000)).save(file, "JPEG", quality=1)
    return file.getvalue()


def header_of(width: int, height: int) -> Content:
    return lambda random: png(width, height, 8, 2, zlib.compress(b""))


def exif_loop(random: Random) -> bytes:
    """EXIF whose directory is its own next one."""
    exif = b"Exif\0\0II*\0\x08\0\0\0" + struct.pack("<HHHIII", 1, 0x112, 4, 1, 99, 8)
    jpeg = encoded("JPEG")
    return jpeg[:2] + b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif + jpeg[2:]


def netpbm(random: Random) -> bytes:
    return b"P3\n#" + b"x" * MB + b"\n13000 13000\n255\n" + b"1 " * MB


def postscript(random: Random) -> bytes:
    return b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n%%EndComments\n(executed) (w) file closefile\n"


PICTURES: dict[str, Content] = {
    **{f.__name__: f for f in (
        large_grey, large_grey_alpha, large_rgba, large_interlaced, large_palette, text_bomb, profile_bomb, chunks_bomb,
        many_scans, many_frames, large_gif, large_tiff, large_float, large_jpeg, exif_loop, netpbm, postscript,
    )},
    "header_of_billions": header_of(2**31 - 1, 2**31 - 1),
    "header_below_the_limit": header_of(13_000, 13_000),
    "header_of_a_line": header_of(2**31 - 1, 1),
}  # fmt: skip
SOUND_PICTURES: dict[str, Content] = {
    "JPEG": lambda random: encoded("JPEG"),
    "progressive JPEG": lambda random: encoded("JPEG", progressive=True),
    "PNG": lambda random: encoded("PNG"),
    "PNG I;16": lambda random: encoded("PNG", "I;16"),
    "GIF": lambda random: encoded("GIF", "P"),
    "TIFF": lambda random: encoded("TIFF"),
    "TIFF lzw": lambda random: encoded("TIFF", compression="tiff_lzw"),
    "WEBP": lambda random: encoded("WEBP"),
    "BMP": lambda random: encoded("BMP"),
    "PPM": lambda random: encoded("PPM"),
    "JPEG2000": lambda random: encoded("JPEG2000"),
    "ICO": lambda random: encoded("ICO", "RGBA"),
}


def all_calls() -> Iterator[Call]:
    places = {
        "train": ("set/train/ants/0.png", PLAIN["train"]),
        "data check": ("set/train/ants/0.png", PLAIN["data check"]),
        "predict": ("x.png", ["predict", "run", "x.png", "-q"]),
        "evaluate": ("set/val/ants/0.png", PLAIN["evaluate"]),
        "parity": ("x.png", [*PLAIN["parity"], "--images", "x.png"]),
    }
    for plain, (path, words) in places.items():
        for name, make in PICTURES.items() if plain in ("train", "data check", "predict") else ():
            yield Call("pictures that are bombs", f"{plain} {name}", plain, kept(path, name, make, words))
        for name, make in SOUND_PICTURES.items():
            for damage in DAMAGES:
                kind, name_ = f"pictures {damage.__name__}", f"{plain} {name} {damage.__name__}"
                yield Call(kind, name_, plain, written(path, make, words, damage))
