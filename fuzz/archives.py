"""Archives: the whole of one or nothing of it, inside its folder."""

from __future__ import annotations

import io
import os
import shutil
import tarfile
import zipfile
from collections.abc import Mapping
from pathlib import Path

from fuzz.harness import Door
from xfer.data.archives import unpack

CONTENT = {"set/a/1.png": b"one" * 10, "set/a/2.png": b"", "set/b/deep/3.png": bytes(range(200)), "set/读我.txt": b"hi"}
MOST = 100 << 20  # bytes that an archive of a few kB may become: FREE_BYTES lets any have 1 GiB


def tars() -> Mapping[str, bytes]:
    made = {}
    for mode in ("w", "w:gz", "w:bz2", "w:xz"):
        for format in (tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT):
            file = io.BytesIO()
            with tarfile.open(fileobj=file, mode=mode, format=format) as archive:
                for name, content in {**CONTENT, f"{'set/long/' * 12}x.png": b"x"}.items():
                    entry = tarfile.TarInfo(name)
                    entry.size = len(content)
                    archive.addfile(entry, io.BytesIO(content))
                folder = tarfile.TarInfo("set/c")
                folder.type = tarfile.DIRTYPE
                archive.addfile(folder)
            made[f"{mode.replace(':', '-')}-{format}"] = file.getvalue()
    return made


def zips() -> Mapping[str, bytes]:
    made = {}
    for method in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA):
        file = io.BytesIO()
        with zipfile.ZipFile(file, "w", method) as archive:
            for name, content in CONTENT.items():
                archive.writestr(zipfile.ZipInfo(name), content, method)
            archive.writestr("set/c/", b"")
            archive.comment = b"a comment"
        made[str(method)] = file.getvalue()
    return made


def read(path: Path) -> None:
    root = path.parent / "root"
    shutil.rmtree(root, ignore_errors=True)
    (root / "cache").mkdir(parents=True)
    target = root / "cache/target"
    outside = set(os.listdir(path.parent))
    try:
        unpack(path, target)
    finally:
        assert set(os.listdir(path.parent)) == outside
        assert os.listdir(root) == ["cache"]
        assert os.listdir(root / "cache") in ([], ["target"]), "nothing half unpacked is left"
    for place, folders, names in os.walk(target):
        for name in (*folders, *names):
            assert not Path(place, name).is_symlink()
    shutil.rmtree(root)


DOORS = {
    # No suffix but .zip makes an archive a zip; a tar's compression is told by its bytes.
    "tar": Door(tars, read, ".tar", (b"ustar\000", b"ustar  \0", b"././@LongLink", b" path=", b"GNU.sparse.")),
    "zip": Door(
        zips, read, ".zip", (b"PK\1\2", b"PK\3\4", b"PK\5\6", b"PK\6\6", b"PK\6\7", b"../", b"\xff\xff\xff\xff")
    ),
}
