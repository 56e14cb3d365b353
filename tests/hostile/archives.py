"""Archives that are bombs, that lie about themselves, and damaged ones."""

import bz2
import gzip
import io
import lzma
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Iterator

from hostile.damage import DAMAGES, MB, Content, kept, written
from hostile.ground import Call, Random, slots, where
from hostile.pictures import encoded


def members() -> dict[str, bytes]:
    png_ = encoded("PNG")
    return {
        f"set/{split}/{name}/{i}.png": png_ + bytes([i])
        for split in ("train", "val")
        for name in "ab"
        for i in range(3)
    }


def zipped(content: dict[str, bytes]) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in content.items():
            archive.writestr(zipfile.ZipInfo(name), data, zipfile.ZIP_DEFLATED, 1)
    return file.getvalue()


def tarred(content: dict[str, bytes], mode: str = "w", format: int = tarfile.PAX_FORMAT, **info: object) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode=mode, format=format) as archive:
        for name, data in content.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            for key, value in info.items():
                setattr(entry, key, value)
            archive.addfile(entry, io.BytesIO(data))
    return file.getvalue()


def zip_bomb(random: Random) -> bytes:
    return zipped({"set/train/a/0.png": bytes(600 * MB)})


def zip_overlapped(random: Random) -> bytes:
    """Each entry of the directory is of one and the same compressed file: 4,000 times 50 MB in 50 kB."""
    packed = zlib.compress(bytes(50 * MB), 9)[2:-4]
    crc = zlib.crc32(bytes(50 * MB))
    fields = struct.pack("<HHHHHIII", 20, 0, 8, 0, 0, crc, len(packed), 50 * MB)
    local = b"PK\3\4" + fields + struct.pack("<HH", 1, 0) + b"a" + packed
    names = [f"set/a/{i}.png".encode() for i in range(4000)]
    entries = b"".join(
        b"PK\1\2" + struct.pack("<H", 20) + fields + struct.pack("<HHHHHII", len(n), 0, 0, 0, 0, 0, 0) + n
        for n in names
    )
    return local + entries + b"PK\5\6" + struct.pack("<HHHHIIH", 0, 0, 4000, 4000, len(entries), len(local), 0)


def zip_many(random: Random) -> bytes:
    return zipped({f"set/train/a/{i}.png": b"" for i in range(100_000)})


def zip_names(random: Random) -> bytes:
    odd = ["new\nline", "\x1b[31mred", "x" * 250, "[bold]", "\u202ex", "con", "a:b", " ", "=1+1"]
    return zipped(
        {f"set/{split}/{name}/{i}.png": encoded("PNG") for split in ("train", "val") for name in odd for i in "01"}
    )


def zip_climbing(random: Random) -> bytes:
    return zipped({random.choice(["../../x.png", "/x.png", "C:\\x.png", "a/../../x.png", "..\\..\\x.png"]): b"x"})


def zip_claims(random: Random) -> bytes:
    content = bytearray(zipped(members()))
    at = content.index(b"PK\1\2")
    content[at + 24 : at + 28] = b"\xff\xff\xff\x7f"
    return bytes(content)


def zip_nested(random: Random) -> bytes:
    content = zipped(members())
    for _ in range(20):
        content = zipped({"set/a/x.zip": content, "set/b/x.zip": content[:100]})
    return content


def tar_bomb(random: Random) -> bytes:
    return gzip.compress(tarred({"set/train/a/0.png": bytes(600 * MB)}), 1)


def block(name: bytes, size: bytes, kind: bytes) -> bytes:
    head = name.ljust(100, b"\0") + b"0000644\0" + b"0000000\0" * 2 + size + b"00000000000\0" + b" " * 8 + kind
    head = head.ljust(257, b"\0") + b"ustar\x0000"
    head = head.ljust(512, b"\0")
    return head[:148] + b"%06o\0 " % sum(head) + head[156:]


def pax_endless(random: Random) -> bytes:
    """A header that says it is followed by 8 GiB of headers, and some of them."""
    record = b"1000000 path=" + b"x" * 999_986 + b"\n"
    return gzip.compress(block(b"pax", b"77777777777\0", b"x") + record * 300, 1)


def pax_short(random: Random) -> bytes:
    """A record of length 0: a reader that goes on by it stays where it is."""
    body = random.choice(
        [b"0 path=x\n", b"-5 path=x\n", b"00000000 a=b\n", b"3 =\n", b"99999999999999999999 a=b\n"]
    ).ljust(512, b"\0")
    return gzip.compress(block(b"pax", b"00000001000\0", b"x") + body + tarred(members()))


def pax_size(random: Random) -> bytes:
    size = random.choice(["-1", "99999999999999999999", "nan", "1e9", "٣", ""])
    return tarred({"set/train/a/0.png": b"x"}, pax_headers={"size": size})


def pax_many(random: Random) -> bytes:
    headers = {f"k{i}": "x" for i in range(200_000)}
    return gzip.compress(tarred({"set/train/a/0.png": b"x"}, pax_headers=headers))


def gnu_long(random: Random) -> bytes:
    """A name of 800 MB."""
    return gzip.compress(block(b"././@LongLink", b"05753604000\0", b"L") + bytes(800 * MB), 1)


def gnu_chain(random: Random) -> bytes:
    """Headers about headers: a reader that calls itself for the next one."""
    one = block(b"././@LongLink", b"00000000001\0", b"L") + b"x".ljust(512, b"\0")
    return one * 20_000 + tarred(members())


def gnu_sparse(random: Random) -> bytes:
    headers = {
        "GNU.sparse.major": "1",
        "GNU.sparse.minor": "0",
        "GNU.sparse.name": "x",
        "GNU.sparse.realsize": str(2**50),
    }
    body = random.choice([b"99999999999\n", b"1\n0\n1125899906842624\n", b"-1\n", b"x"]).ljust(512, b"\0")
    return tarred({"set/train/a/0.png": body}, pax_headers=headers)


def tar_many(random: Random) -> bytes:
    return gzip.compress(tarred({f"set/train/a/{i}.png": b"" for i in range(60_000)}, format=tarfile.USTAR_FORMAT), 1)


def tar_links(random: Random) -> bytes:
    kind = random.choice([tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE])
    return tarred({"set/train/a": b""}, type=kind, linkname="/etc")


def tar_base256(random: Random) -> bytes:
    return block(b"set/train/a/0.png", random.choice([b"\xff" * 12, b"\x80" + b"\xff" * 11]), b"0") + bytes(2048)


def xz_dictionary(random: Random) -> bytes:
    """Its header asks for a dictionary of 1.5 GiB."""
    filters = [{"id": lzma.FILTER_LZMA2, "preset": 0, "dict_size": 1 << 20}]
    content = bytearray(lzma.compress(tarred(members()), lzma.FORMAT_XZ, filters=filters))
    content[16] = 39  # of a block header: 1.5 GiB
    size = (content[12] + 1) * 4
    content[12 + size - 4 : 12 + size] = struct.pack("<I", zlib.crc32(bytes(content[12 : 12 + size - 4])))
    return bytes(content)


def xz_bomb(random: Random) -> bytes:
    packer = lzma.LZMACompressor(preset=0)
    return b"".join([*(packer.compress(bytes(MB)) for _ in range(2000)), packer.flush()])


def bz2_bomb(random: Random) -> bytes:
    return bz2.compress(tarred({"set/train/a/0.png": bytes(300 * MB)}), 9)


def deep_names(random: Random) -> bytes:
    return tarred({"a/" * 2000 + "x.png": b"x"})


ARCHIVES: dict[str, tuple[str, Content]] = {
    **{f.__name__: (".zip", f) for f in (
        zip_bomb, zip_overlapped, zip_many, zip_names, zip_climbing, zip_claims, zip_nested,
    )},
    **{f.__name__: (".tar.gz", f) for f in (tar_bomb, pax_endless, pax_short, pax_many, gnu_long, tar_many)},
    **{f.__name__: (".tar", f) for f in (pax_size, gnu_chain, gnu_sparse, tar_links, tar_base256, deep_names)},
    "xz_dictionary": (".tar.xz", xz_dictionary),
    "xz_bomb": (".tar.xz", xz_bomb),
    "bz2_bomb": (".tar.bz2", bz2_bomb),
}  # fmt: skip
SOUND_ARCHIVES: dict[str, tuple[str, Content]] = {
    "zip": (".zip", lambda random: zipped(members())),
    "tar": (".tar", lambda random: tarred(members())),
    "tar.gz": (".tar.gz", lambda random: gzip.compress(tarred(members()))),
    "tar.bz2": (".tar.bz2", lambda random: bz2.compress(tarred(members()))),
    "tar.xz": (".tar.xz", lambda random: lzma.compress(tarred(members()))),
}


def all_calls() -> Iterator[Call]:
    for slot in slots("data"):
        for name, (suffix, make) in ARCHIVES.items():
            words = slot.words(f"bad{suffix}")
            made = kept(f"bad{suffix}", name, make, words)
            yield Call("archives that are bombs", f"{where(slot)} {name}", slot.plain, made)
        for name, (suffix, make) in SOUND_ARCHIVES.items():
            words = slot.words(f"bad{suffix}")
            for damage in DAMAGES:
                kind, name_ = f"archives {damage.__name__}", f"{where(slot)} {name} {damage.__name__}"
                yield Call(kind, name_, slot.plain, written(f"bad{suffix}", make, words, damage))
