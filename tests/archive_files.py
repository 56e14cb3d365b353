"""Archives with names and bytes of a test's choice."""

import io
import os
import struct
import tarfile
import zipfile
import zlib

CONTENT = {
    "set/a/1.png": b"one" * 1000,
    "set/a/2.png": b"",
    "set/b/deep/3.png": os.urandom(5000),
    "set/读我.txt": b"hi",
}
MODES = {".tar": "w", ".tar.gz": "w:gz", ".tgz": "w:gz", ".tar.bz2": "w:bz2", ".tar.xz": "w:xz"}


def make_zip(path, content=CONTENT, **info):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, data in content.items():
            entry = zipfile.ZipInfo(name)
            for key, value in info.items():
                setattr(entry, key, value)
            file.writestr(entry, data, zipfile.ZIP_DEFLATED)
    return path


def make_tar(path, content=CONTENT, mode="w", **info):
    with tarfile.open(path, mode) as file:
        for name, data in content.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            for key, value in info.items():
                setattr(entry, key, value)
            file.addfile(entry, io.BytesIO(data))
    return path


def tree(folder):
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


# Byte by byte, for what no archiver writes


def tar_header(name=b"x", size=0, kind=b"0", **fields):
    """A block of 512 bytes. `size`: a number, or the 12 bytes of its field."""
    block = bytearray(512)
    block[: len(name)] = name
    block[100:124] = b"0000644\0" + b"0000000\0" * 2
    block[124:136] = b"%011o\0" % size if isinstance(size, int) else size
    block[136:148] = b"%011o\0" % 0
    block[156:157] = kind
    block[257:265] = fields.get("magic", b"ustar\x0000")
    prefix = fields.get("prefix", b"")
    block[345 : 345 + len(prefix)] = prefix
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)


def tar_entry(content=b"", **header):
    return tar_header(size=header.pop("size", len(content)), **header) + content + bytes(-len(content) % 512)


def pax(**records):
    """What stands before a file and says more of it."""
    content = b""
    for key, value in records.items():
        record = b" " + key.encode() + b"=" + value + b"\n"
        length = len(record) + 1
        while length != len(str(length)) + len(record):
            length += 1
        content += b"%d" % length + record
    return tar_entry(content, kind=b"x", name=b"pax")


TAR_END = bytes(1024)


def zip_file(name=b"x", content=b"", **said):
    """Header, name and content of a stored file, and its entry in the directory; `said` in place of the truth."""
    fields = {"flags": 0, "method": 0, "crc": zlib.crc32(content), "packed": len(content), "size": len(content)}
    fields |= {"offset": 0, "attributes": 0} | said
    numbers = (fields["flags"], fields["method"], 0, 0, fields["crc"], fields["packed"], fields["size"])
    local = struct.pack("<4sH4H3L2H", b"PK\3\4", 20, *numbers, len(name), 0) + name + content
    entry = struct.pack("<4s2H4H3L5H2L", b"PK\1\2", 20, 20, *numbers, len(name), 0, 0, 0, 0, fields["attributes"],
                        fields["offset"])  # fmt: skip
    return local, entry + name


def zip_end(entries, size, offset):
    return struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, min(entries, 65535), min(entries, 65535), size, offset, 0)


def zip_of(*files):
    """A whole archive of what `zip_file` gave, each at its place unless it said another."""
    bodies, entries = b"", b""
    for local, entry in files:
        place = struct.unpack_from("<L", entry, 42)[0] or len(bodies)
        entries += entry[:42] + struct.pack("<L", place) + entry[46:]
        bodies += local
    return bodies + entries + zip_end(len(files), len(entries), len(bodies))
