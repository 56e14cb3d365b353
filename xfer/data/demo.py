"""The `demo` data set: pictures of everyday objects, drawn on the spot, so that it needs no network.

Every picture is a scene of its own. Pose, proportions, colours, backdrop, clutter behind the object and before it, and
the light are all random and follow the same rules in every class, so neither colour nor brightness tells the
classes apart. Shape does: pretrained features see it, while the training pictures are too few to teach it to a
network that starts from random weights.

Each picture has its own seeded generator, shapes are polygons whose corners are rounded to whole pixels, the rest is
elementwise arithmetic, and the files are lossless: with the same NumPy and Pillow, the same pixels everywhere.
"""

from __future__ import annotations

import colorsys
from pathlib import Path

import numpy as np
from numpy.random import Generator, default_rng
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from xfer.data.drawing import CLUTTER, OBJECTS, Affine, Colour, Pen
from xfer.progress import Progress, silent

DEMO_VERSION = 1
"""Goes up with every change to a pixel or a name, so that a cached copy can be told from a current one."""

SIZE = 160  # pixels, both sides
SPLITS = {"train": 30, "val": 20}  # pictures of each class
FINE = 3  # shapes are drawn this many times larger and averaged down
CANVAS = SIZE * FINE

Floats = NDArray[np.float32]


def ink(hue: float, saturation: float, value: float) -> Colour:
    r, g, b = colorsys.hsv_to_rgb(hue % 1, saturation, value)
    return round(255 * r), round(255 * g), round(255 * b)


def pose(rng: Generator, scale: float, turn: float, x: float, y: float) -> Affine:
    """A frame's place on the canvas: at (x, y), mirrored or not, stretched, sheared, turned by up to `turn` radians."""
    angle, shear, wide = rng.uniform(-turn, turn), rng.uniform(-0.15, 0.15), rng.uniform(0.85, 1.18)
    across, down = scale * wide * (1 - 2 * int(rng.integers(2))), scale / wide
    c, s = float(np.cos(angle)), float(np.sin(angle))
    return across * c, down * (shear * c - s), x, across * s, down * (shear * s + c), y


def subject(kind: str, hue: float, rng: Generator) -> Image.Image:
    """The object on a transparent canvas, off the scene's `hue`. Its trims are pale and dark or dark and pale."""
    layer, main = Image.new("RGBA", (CANVAS, CANVAS)), hue + rng.uniform(0.15, 0.85)
    vivid = [ink(h, rng.uniform(0.35, 1), rng.uniform(0.4, 1)) for h in (main, main + rng.uniform(0.1, 0.9))]
    trims = [ink(rng.uniform(), rng.uniform(0, 0.4), rng.uniform(*v)) for v in rng.permutation([(0.7, 1), (0.1, 0.4)])]
    place = pose(rng, CANVAS * rng.uniform(0.3, 0.47), 0.5, *(CANVAS * rng.uniform(0.39, 0.61, 2)))
    # A generator of its own: the rest of the scene is the same whatever the object is.
    OBJECTS[kind](Pen(ImageDraw.Draw(layer), place, (*vivid, *trims), int(rng.integers(0, 5)), rng.spawn(1)[0]))
    return layer


def clutter(count: int, smallest: float, largest: float, hue: float, rng: Generator) -> Image.Image:
    """Bits and pieces of three kinds all over a transparent canvas; sizes as shares of its side."""
    layer, kinds = Image.new("RGBA", (CANVAS, CANVAS)), rng.permutation(len(CLUTTER))[:3]
    hues = hue + np.array([*rng.uniform(-0.12, 0.12, 2), *rng.uniform(0, 1, 2)])
    inks = [ink(float(h), rng.uniform(0.15, 0.9), rng.uniform(0.2, 1)) for h in hues]
    for _ in range(count):
        place = pose(rng, CANVAS * rng.uniform(smallest, largest), 3.2, *rng.uniform(0, CANVAS, 2))
        picked = tuple(inks[i] for i in rng.permutation(4))
        CLUTTER[rng.choice(kinds)](Pen(ImageDraw.Draw(layer), place, picked, int(rng.integers(0, 4)), rng))
    return layer


def to_image(picture: Floats) -> Image.Image:
    return Image.fromarray(np.clip(np.rint(picture), 0, 255).astype(np.uint8))


def blurred(image: Image.Image, cells: int) -> Floats:
    """Through a version of `cells` pixels a side and back."""
    small = image.resize((cells, cells), Image.Resampling.BOX)
    return np.asarray(small.resize((SIZE, SIZE), Image.Resampling.BICUBIC), np.float32)


def noise(rng: Generator, cells: int, channels: int) -> Floats:
    """Smooth noise `(SIZE, SIZE, channels)` in [0, 1], of about `cells` spots across."""
    spots = [Image.fromarray(rng.integers(0, 256, (cells, cells), dtype=np.uint8)) for _ in range(channels)]
    return np.stack([blurred(spot, cells) for spot in spots], axis=2) / np.float32(255)


def backdrop(hue: float, rng: Generator) -> Floats:
    near = [ink(hue + rng.uniform(-0.1, 0.1), rng.uniform(0.1, 0.6), rng.uniform(0.25, 0.95)) for _ in range(3)]
    a, b, c = np.array(near, np.float32)
    mix = noise(rng, int(rng.integers(3, 9)), 2)
    picture: Floats = a + (b - a) * mix[:, :, :1] + (c - a) * mix[:, :, 1:] * np.float32(0.7)
    return picture + (noise(rng, 70, 1) - np.float32(0.5)) * np.float32(rng.uniform(10, 40))


def shifted(picture: Floats, down: int, right: int) -> Floats:
    """The borders are repeated."""
    at = np.arange(SIZE)
    return picture[np.clip(at - down, 0, SIZE - 1)][:, np.clip(at - right, 0, SIZE - 1)]


def lay(picture: Floats, layer: Image.Image, light: tuple[int, int]) -> Floats:
    """A canvas put on the picture, rounded by light that comes from `light` (rows, columns), with its shadow behind."""
    bands = [band.reduce(FINE) for band in layer.split()]  # the empty canvas is black: colours weighted by cover
    paint = np.stack([np.asarray(band, np.float32) for band in bands], axis=2)
    cover = paint[:, :, 3:] / np.float32(255)
    soft = blurred(bands[3], 40)[:, :, None] / np.float32(255)
    shadow = shifted(soft, -light[0], -light[1])
    relief = shifted(soft, *light) - shadow
    lit = paint[:, :, :3] * (1 + np.float32(0.45) * relief) + np.float32(25) * relief * cover
    below = picture * (1 - np.float32(0.45) * shadow)
    out: Floats = below * (1 - cover) + lit
    return out


def draw_scene(kind: str, rng: Generator) -> Image.Image:
    """A picture of one object, SIZE x SIZE, RGB."""
    hue = float(rng.uniform())
    light = int(rng.integers(-5, -1)), int(rng.choice([-4, -2, 2, 4]))
    picture = lay(backdrop(hue, rng), clutter(12, 0.08, 0.22, hue, rng), light)
    picture = blurred(to_image(picture), 50)  # far things are out of focus
    picture = lay(picture, clutter(int(rng.integers(5, 13)), 0.05, 0.13, hue, rng), light)
    picture = lay(picture, subject(kind, hue, rng), light)
    picture = lay(picture, clutter(int(rng.integers(0, 4)), 0.06, 0.13, hue, rng), light)
    glow = noise(rng, 2, 1) * np.float32(0.5) + np.float32(rng.uniform(0.6, 0.85))
    grain = rng.integers(-5, 6, (SIZE, SIZE, 1)).astype(np.float32)
    return to_image(picture * glow + grain)


def write_demo(root: Path, progress: Progress = silent) -> None:
    """Write `root/{train,val}/<class>/NNN.png`. A picture depends on its name alone."""
    names = [f"{split}/{kind}/{i:03d}.png" for split, count in SPLITS.items() for kind in OBJECTS for i in range(count)]
    for done, name in enumerate(names, start=1):
        file = root / name
        file.parent.mkdir(parents=True, exist_ok=True)
        scene = draw_scene(file.parent.name, default_rng((DEMO_VERSION, *name.encode())))
        scene.save(file, compress_level=3)
        progress("drawing the demo pictures", done, len(names))
