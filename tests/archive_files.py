"""Archives with names and bytes of a test's choice."""

import io
import os
import tarfile
import zipfile

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
