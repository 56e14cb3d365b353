"""Odd pictures, as xfer shows them and as libvips does: the files of Pillow's own test-suite.

    python -m benchmarks.odd_pictures --pillow FOLDER [--json FILE]

FOLDER is a checkout of Pillow, or the `Tests/images` of one: they come with its source, not with its wheels. libvips is
that of `pyvips-binary` (benchmarks/requirements.txt). It prints a line for each file, and a table of them all.

Compared are 8-bit RGB pixels: upright, of the first page or frame, on white where they are transparent. Two that are
nowhere more than MAX apart are the same. libvips is asked to refuse what is damaged (fail_on="error"), as xfer does.

Not compared:
- managed colour. Profiles are applied by neither, and CMYK becomes RGB by the plain formula, on libvips's inks.
- the range of floats and of whole numbers that libvips knows no black and white of (all but 8 and 16 bits without a
  sign): xfer's is put on what libvips has decoded.
- how AVIF's colours, stored at half the size, are enlarged: the mean is compared, with MEAN_OF_AVIF.
- formats that libvips was built without here (BMP, TGA, ICO, JPEG 2000, ...): they count as refused by it.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyvips

from benchmarks.common import table
from xfer.errors import DataError
from xfer.pixels.images import open_image
from xfer.pixels.rgb import to_bytes
from xfer.system import own_process

MAX = 2
"""Of 255: transparency and 16 bits are rounded in either way."""

MEAN_OF_AVIF = 1.5

SAME, DIFFERS, OURS, THEIRS, BOTH = "same", "differs", "xfer refuses", "vips refuses", "both refuse"

STAY = {
    "exif_imagemagick_orientation.png": "turned by EXIF data in a text chunk, which libvips does not look at",
    "avif/xmp_tags_orientation.avif": "turned by XMP data, which libvips does not look at",
    "xmp_tags_orientation.png": "turned by XMP data, which libvips does not look at",
    "xmp_tags_orientation_exiftool.png": "turned by XMP data, which libvips does not look at",
    "hopper_unknown_pixel_mode.tif": "colours of 32 bits, of which nobody knows what is white",
    "hopper_webp.tif": "Pillow's wheels are built without it",
}
"""Why files that differ, or that xfer alone refuses, stay so."""


class Outcome(NamedTuple):
    """Of one file: one of the five above; `detail` for people; `mean` and `largest` difference where both read it."""

    kind: str
    detail: str
    mean: float | None = None
    largest: int | None = None


def outcome(path: Path) -> Outcome:
    ours, theirs = _of_xfer(path), _of_vips(path)
    if isinstance(ours, str) and isinstance(theirs, str):
        return Outcome(BOTH, ours)
    if isinstance(ours, str) or isinstance(theirs, str):
        return Outcome(OURS, ours) if isinstance(ours, str) else Outcome(THEIRS, str(theirs))
    if ours.shape != theirs.shape:
        return Outcome(DIFFERS, f"{_size(ours)} pixels, of libvips {_size(theirs)}")
    apart = np.abs(ours.astype(int) - theirs)
    mean, largest = float(apart.mean()), int(apart.max())
    same = mean <= MEAN_OF_AVIF if path.suffix == ".avif" else largest <= MAX
    return Outcome(SAME if same else DIFFERS, f"mean {mean:.2f}, at most {largest}", mean, largest)


def outcomes(folder: Path) -> Iterator[tuple[str, Outcome]]:
    """Name and outcome of every file. Raises FileNotFoundError where there is none."""
    root = next((inside for inside in (folder / "Tests" / "images", folder) if inside.is_dir()), folder)
    files = sorted(path for path in root.rglob("*") if path.is_file())
    if not files:
        raise FileNotFoundError(f"{root}: expected the pictures of Pillow's tests")
    for path in files:
        yield str(path.relative_to(root)), outcome(path)


def _of_xfer(path: Path) -> np.ndarray[Any, Any] | str:
    """(H, W, 3) uint8, or why not."""
    try:
        return np.asarray(open_image(path))
    except DataError as error:
        return str(error).removeprefix(f"{path}: ")


def _of_vips(path: Path) -> np.ndarray[Any, Any] | str:
    try:
        image = pyvips.Image.new_from_file(str(path), fail_on="error").autorot()
        return _on_white(image)
    except pyvips.Error as error:
        return " ".join(str(error).replace(str(path), "").split())


def _on_white(image: Any) -> np.ndarray[Any, Any]:
    if image.interpretation == "cmyk":
        inks = image.numpy()[..., :4] / (255 if image.format == "uchar" else 65535)
        return np.rint(255 * (1 - inks[..., :3]) * (1 - inks[..., 3:])).astype(np.uint8)
    if image.format not in ("uchar", "ushort") and image.interpretation != "lab":
        values = to_bytes(np.atleast_3d(image.numpy())[..., : 3 if image.bands > 2 else 1])
        return np.repeat(values, 3 // values.shape[2], axis=2)
    if image.format == "ushort":
        image = image.copy(interpretation="rgb16" if image.bands > 2 else "grey16")
    image = image.colourspace("srgb")
    pixels: np.ndarray[Any, Any] = (image.flatten(background=255) if image.hasalpha() else image).numpy()
    return pixels


def _size(pixels: np.ndarray[Any, Any]) -> str:
    return f"{pixels.shape[1]} x {pixels.shape[0]}"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.odd_pictures", description=__doc__.splitlines()[0])
    parser.add_argument("--pillow", type=Path, required=True, help="a checkout of Pillow, or its Tests/images")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    own_process.begin()
    found = dict(outcomes(args.pillow))
    for name, (kind, detail, *_) in found.items():
        stays = f" (stays: {STAY[name]})" if name in STAY and kind in (DIFFERS, OURS) else ""
        print(f"{name}: {kind}: {detail}{stays}")
    counts = Counter(outcome.kind for outcome in found.values())
    rows = [[kind, counts[kind]] for kind in (SAME, DIFFERS, OURS, THEIRS, BOTH)]
    print(table("Odd pictures", ["", "files"], [*rows, ["all", len(found)]]))
    if args.json is not None:
        args.json.write_text(json.dumps({n: o._asdict() for n, o in found.items()}, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
