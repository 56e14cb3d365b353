"""Files of weights: code, bombs, headers that lie, and damaged ones."""

import json
import os
import pickle
import struct
from collections.abc import Iterator

from hostile.archives import zipped
from hostile.damage import DAMAGES, MB, Content, damaged, written
from hostile.ground import Call, slots, where


class Evil:
    """Whoever unpickles it leaves a folder `executed`."""

    def __reduce__(self) -> object:
        return os.mkdir, ("executed",)


def safetensors(header: object, data: bytes = b"") -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


def of_pth(pickled: bytes, **more: bytes) -> bytes:
    return zipped({"a/data.pkl": pickled, "a/byteorder": b"little", **{f"a/{k}": v for k, v in more.items()}})


ONE = {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}
SAFETENSORS: dict[str, Content] = {
    "header too long": lambda random: struct.pack("<Q", 2**60) + b"{}",
    "header of 90 MB": lambda random: safetensors(b'{"a":"' + b"x" * (90 * MB) + b'"}'),
    "a million tensors": lambda random: safetensors(
        b"{" + b",".join(b'"%d":{"dtype":"F32","shape":[0],"data_offsets":[0,0]}' % i for i in range(1_000_000)) + b"}"
    ),
    "a terabyte": lambda random: safetensors({"w": {"dtype": "F32", "shape": [2**38], "data_offsets": [0, 2**40]}}),
    "zero times much": lambda random: safetensors({"w": {"dtype": "F32", "shape": [0, 2**62], "data_offsets": [0, 0]}}),
    "one by one": lambda random: safetensors({"w": ONE | {"shape": [1] * 100}}, bytes(4)),
    "overlapping": lambda random: safetensors({"a": ONE, "b": ONE}, bytes(4)),
    "negative": lambda random: safetensors({"w": {"dtype": "F32", "shape": [-1], "data_offsets": [0, -4]}}),
    "deep": lambda random: safetensors(b"[" * 1_000_000),
    "names": lambda random: safetensors({"\x1b[31m\n": ONE}, bytes(4)),
    "metadata of numbers": lambda random: safetensors({"__metadata__": {"a": 1}}),
    "metadata of 50 MB": lambda random: safetensors({"__metadata__": {"mean": "[" * (50 * MB)}, "w": ONE}, bytes(4)),
}
PTH: dict[str, Content] = {
    "code": lambda random: of_pth(pickle.dumps({"w": Evil()}, 2)),
    "bare code": lambda random: pickle.dumps(Evil(), 2),
    "a bomb": lambda random: of_pth(bytes(800 * MB)),
    "a storage that is a bomb": lambda random: of_pth(pickle.dumps({}, 2), **{"data/0": bytes(800 * MB)}),
    "deep": lambda random: of_pth(b"\x80\x02" + b"]" * 1_000_000 + b"a" * 999_999 + b"."),
    "deep tuples": lambda random: of_pth(b"\x80\x02)" + b"\x85" * 500_000 + b"."),
    "doubling": lambda random: of_pth(b"\x80\x02" + b"]q\0" + b"h\0h\0\x86q\0" * 64 + b"."),
    "long number": lambda random: of_pth(b"\x80\x02\x8b" + struct.pack("<i", 50 * MB) + b"\x7f" * (50 * MB) + b"."),
    "memo": lambda random: of_pth(b"\x80\x02N" + b"".join(b"r" + struct.pack("<I", i) for i in range(400_000)) + b"."),
    "memo of billions": lambda random: of_pth(b"\x80\x02Nr\xff\xff\xff\x7f."),
    "text without end": lambda random: of_pth(b"\x80\x02X\xff\xff\xff\x7fabc."),
    "protocol 255": lambda random: of_pth(b"\x80\xffN."),
    "empty": lambda random: of_pth(b""),
}
CKPT: dict[str, Content] = {
    "length of billions": lambda random: b"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\x7f",
    "values without end": lambda random: b"\x0a\x00" * 5_000_000,
    "names without end": lambda random: b"".join(
        b"\x0a\x12\x0a\x06%06d\x12\x08\x12\x03str\x1a\x01x" % i for i in range(300_000)
    ),
    "a varint without end": lambda random: b"\xff" * MB,
    "groups": lambda random: b"\x0b" * MB,
    "zeros": lambda random: bytes(MB),
}
OF_SUFFIX = {".safetensors": SAFETENSORS, ".pth": PTH, ".ckpt": CKPT}


def all_calls() -> Iterator[Call]:
    places = [*slots("weights"), *(slot for slot in slots("run") if slot.plain == "predict")]
    for slot in places:
        for suffix, sorts in OF_SUFFIX.items():
            file = f"bad{suffix}"
            for name, make in sorts.items():
                name = f"{where(slot)} {suffix} {name}"
                yield Call(f"weights: {suffix}", name, slot.plain, written(file, make, slot.words(file)))
            for damage in DAMAGES:
                name = f"{where(slot)} {suffix} {damage.__name__}"
                make_ = damaged(f"w{suffix}", file, slot.words(file), damage)
                yield Call(f"weights {damage.__name__}", name, slot.plain, make_)
