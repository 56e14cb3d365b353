"""Small files that ask for much memory or time: what is taken is bounded, and foreseen before anything is decoded."""

import ctypes
import json
import os
import re
import subprocess
import sys
import threading
import time
import traceback
import warnings
from pathlib import Path

import bombs
import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from xfer.cli.main import main
from xfer.data.given import read_given
from xfer.data.lists import Skipped
from xfer.data.loader import read_now
from xfer.data.split import Split
from xfer.errors import DataError
from xfer.pixels import bounds, images, memory
from xfer.pixels.augment import CenterCrop, Levels, Resize
from xfer.pixels.bounds import Share, picture_limits
from xfer.pixels.images import open_image
from xfer.pixels.inspected import inspect_image
from xfer.system.limits import LIMITS
from xfer.system.memory import peak_memory
from xfer.testing.pictures import write_class_folders

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning", "ignore::PIL.Image.DecompressionBombWarning")

MIB = 2**20
SKIPPED = 5  # exit code of the process that measures
SIDE = 3000
SECONDS = 3
MOST_A_PIXEL = LIMITS["picture_memory"].default // LIMITS["picture_pixels"].default


@pytest.fixture(autouse=True)
def limits_are_read_anew():
    picture_limits.cache_clear()
    yield
    picture_limits.cache_clear()


@pytest.fixture
def limited(monkeypatch):
    def set_limit(name, value):
        monkeypatch.setenv(f"XFER_LIMIT_PICTURE_{name.upper()}", str(value))
        picture_limits.cache_clear()

    return set_limit


def with_exif(orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif.tobytes()


def oblong(format, mode="RGB", **options):
    return bombs.saved(format, (SIDE, SIDE), mode, **options)


def flat(bits, channels=1, **options):
    return bombs.flat_tiff(bits, channels, SIDE, SIDE, **options)


def png(colour, bits=8, **options):
    return bombs.png(SIDE, SIDE, bits, colour, **options)


TRANSPARENT = [bombs.chunk(b"tRNS", b"\0\0")]
MODEST = {  # no more for each pixel than the limit allows for those of the largest picture
    "RGB": lambda: png(2),
    "RGB of 16 bits": lambda: png(2, 16),
    "grey": lambda: png(0),
    "grey of 1 bit": lambda: png(0, 1),
    "grey of 16 bits": lambda: png(0, 16),
    "a transparent grey": lambda: png(0, before=TRANSPARENT),
    "a transparent colour of a palette": lambda: png(3, before=[bombs.chunk(b"tRNS", b"\0\xff")]),
    "JPEG": lambda: oblong("JPEG"),
    "grey JPEG": lambda: oblong("JPEG", "L"),
    "BMP": lambda: oblong("BMP"),
    "GIF": lambda: oblong("GIF", "P"),
    "an animation": lambda: oblong(
        "PNG", save_all=True, append_images=[Image.new("RGB", (SIDE, SIDE), c) for c in ("red", "lime")]
    ),
}
LARGER = {
    "alpha": lambda: png(6),
    "grey and alpha": lambda: png(4),
    "signed values": lambda: flat(16, kind=2),
    "floats": lambda: flat(32, kind=3),
    "32 bits": lambda: flat(32),
    "inks": lambda: flat(8, 4, photometric=5),
    "LAB": lambda: flat(8, 3, photometric=8),
    "multiplied by alpha": lambda: bombs.tiff(
        SIDE, SIDE, [bombs.deflated(bytes(2 * SIDE), SIDE)], bombs.of_bits(8, 2) | {338: (3, [1])}
    ),
    "turned": lambda: oblong("JPEG", "L", exif=with_exif(6)),
    "turned behind its pixels": lambda: png(2, after=[bombs.chunk(b"eXIf", with_exif(8)[6:])]),
    "JPEG of inks": lambda: oblong("JPEG", "CMYK"),
    "progressive JPEG": lambda: oblong("JPEG", progressive=True),
    "progressive grey": lambda: oblong("JPEG", "L", progressive=True),
    "WEBP": lambda: oblong("WEBP", lossless=True, method=0),
    "AVIF": lambda: oblong("AVIF", speed=10),
    "JPEG 2000": lambda: oblong("JPEG2000"),
    "JPEG without its end": lambda: oblong("JPEG")[:-2],
}


CHECKED_OTHERWISE = ("JPEG", "JPEG of inks", "turned", "progressive JPEG", "JPEG without its end")


def start_peak_anew():
    """The most memory that this process has held, from now on."""
    try:
        ctypes.CDLL(None).malloc_trim(0)  # or else what others have left would be filled first
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    except (OSError, AttributeError, TypeError):
        pytest.skip("this system does not forget how much memory was held")
    return peak_memory()


def read_to_train(path):
    return read_now(Split([str(path)], np.zeros(1, np.int64)), [CenterCrop(size=8)], np.arange(1))


READINGS = [*((kind, "train") for kind in MODEST | LARGER), *((kind, "check") for kind in CHECKED_OTHERWISE)]


def measured(folder, kind, read):
    """Bytes that reading took, the most that were foreseen, and those of the file."""
    content = (MODEST | LARGER)[kind]()
    (folder / "x").write_bytes(content)
    foreseen = []
    hold = Share.hold
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Share, "hold", lambda self, size, *whole: (foreseen.append(size), hold(self, size, *whole)))
        before = start_peak_anew()
        if read == "check":
            assert inspect_image(folder / "x").reason is None
        else:
            assert read_to_train(folder / "x").shape == (1, 8, 8, 3)
        return peak_memory() - before, max(foreseen), len(content)


def measured_apart(folder, kind, read):
    """In a child of its own: what readings before it gave back would be filled first."""
    receiving, sending = os.pipe()
    child = os.fork()
    if not child:
        try:
            os.write(sending, json.dumps(measured(folder, kind, read)).encode())
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(0)
    os.close(sending)
    with os.fdopen(receiving) as answer:
        found = json.load(answer)
    os.waitpid(child, 0)
    return found


@pytest.fixture(scope="module")
def measurements(tmp_path_factory):
    """Of all readings, in children of a process that has no threads."""
    command = [sys.executable, __file__, str(tmp_path_factory.mktemp("measured"))]
    plain = {**os.environ, "PYTHONSAFEPATH": ""}  # a command that another test ran in here may have set it
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=plain)
    if done.returncode == SKIPPED:
        pytest.skip(done.stdout.strip())
    assert done.returncode == 0, done.stderr
    return dict(zip(READINGS, json.loads(done.stdout), strict=True))


@pytest.mark.parametrize(("kind", "read"), READINGS)
def test_no_more_memory_is_taken_than_was_foreseen(measurements, kind, read):
    taken, foreseen, size = measurements[kind, read]
    assert taken <= foreseen + 24 * MIB + 3 * size
    if kind in MODEST:
        assert foreseen <= MOST_A_PIXEL * SIDE * SIDE
    assert read == "check" or taken > foreseen / 4, "nor much less"


def test_a_file_of_holes_is_not_read(tmp_path):
    with (tmp_path / "x.png").open("wb") as file:
        file.truncate(500 * MIB)
    before = start_peak_anew()
    assert inspect_image(tmp_path / "x.png").reason == "not an image"
    assert peak_memory() - before < 10 * MIB


def test_sixteen_bits_of_the_largest_picture_take_less_than_a_gigabyte(tmp_path):
    """It took 6.4 GB."""
    (tmp_path / "x.png").write_bytes(bombs.png(colour=0, bits=16))
    before = start_peak_anew()
    assert inspect_image(tmp_path / "x.png")[:1] == (None,)
    assert peak_memory() - before < 0.93 * 10**9


def needs(gigabytes):
    cure = "Cure: make it smaller, or XFER_LIMIT_PICTURE_MEMORY"
    return f"needs about {gigabytes} GiB of memory, more than 0.875 GiB. {cure}"


MANY_PIXELS = "more than 178,956,970 pixels (XFER_LIMIT_PICTURE_PIXELS)"
REFUSED = {
    "alpha": (lambda: bombs.png(colour=6), needs(1.3)),
    "floats in one strip": (lambda: bombs.flat_tiff(32, kind=3), needs(1.3)),
    "progressive": (lambda: bombs.of_size(bombs.progressive(2, (64, 64)), 16_000, 11_000), needs(1.1)),
    "a canvas": (lambda: bombs.webp(13_000, 13_000), needs(2.5)),
    "a canvas of one frame": (lambda: bombs.saved("WEBP", (13_000, 8000), lossless=True, method=0), needs(1.5)),
    "a large canvas": (lambda: bombs.webp(2**24, 2**20), MANY_PIXELS),
    "tiles": (bombs.tiled_tiff, "TIFF in tiles of 23000 x 23000 pixels, larger than the picture. Cure: save it as PNG"),
    "tags": (bombs.greedy_tiff, "tags that claim more than the file holds. Cure: save the picture anew"),
    "EXIF": (
        lambda: bombs.png(8, 8, before=[bombs.chunk(b"eXIf", bombs.greedy_directory(4000))]),
        "tags that claim more than the file holds. Cure: save the picture anew",
    ),
    "EXIF of WEBP": (
        lambda: bombs.webp_with_exif(bombs.greedy_directory(4000)),
        "tags that claim more than the file holds. Cure: save the picture anew",
    ),
    "EXIF of JPEG": (
        lambda: bombs.jpeg_with(bombs.segment(0xE1, b"Exif\0\0" + bombs.greedy_directory(4000))),
        "EXIF data that claims more than it holds. Cure: save the picture anew",
    ),
    "an index of JPEG": (
        lambda: bombs.jpeg_with(bombs.segment(0xE2, b"MPF\0" + bombs.greedy_directory(4000))),
        "JPEG whose index of pictures claims more than it holds. Cure: save it anew",
    ),
    "scans": (
        lambda: bombs.progressive(5000),
        "JPEG with more than 100 scans. Cure: save it anew, or XFER_LIMIT_PICTURE_SCANS",
    ),
    "segments": (
        lambda: bombs.jpeg_with(*[bombs.segment(0xE1, b"Exif\0\0x")] * 400_000),
        "JPEG with more than 4,096 segments before its picture. Cure: save it anew",
    ),
    "bytes between segments": (
        lambda: bombs.jpeg_with(bytes(20 * MIB)),
        "JPEG with more than 4,096 segments before its picture. Cure: save it anew",
    ),
    "chunks": (
        lambda: bombs.png(8, 8, after=[bombs.chunk(b"xxXx")] * 300_000),
        "PNG with more than 1,024 chunks besides its pixels. Cure: save it anew",
    ),
    "profiles": (
        lambda: bombs.png(8, 8, before=[bombs.chunk(b"iCCP", b"x\0\0" + bombs.deflated(bytes(1000), 900))] * 20_000),
        "PNG with more than 1,024 chunks besides its pixels. Cure: save it anew",
    ),
    "pixels in no bytes": (
        lambda: bombs.png(8, 8, after=[bombs.chunk(b"IDAT")] * 300_000),
        "PNG with more than 262,144 chunks. Cure: save it anew",
    ),
    "comments of GIF": (
        lambda: bombs.gif_with_comments(20 * MIB),
        "GIF with more than 1 MiB before its picture. Cure: save it anew",
    ),
    "a member of ICO": (
        lambda: bombs.ico(bombs.png(colour=6)),
        "ICO with a picture of more than 1,024 pixels a side. Cure: save it as PNG",
    ),
    "runs": (bombs.bmp_of_runs, "more than 8,388,608 pixels as text or in runs of a BMP file. Cure: save it as PNG"),
    "text": (bombs.text_ppm, "more than 8,388,608 pixels as text or in runs of a BMP file. Cure: save it as PNG"),
    "comments in text": (
        lambda: b"P2 2000 2000 255\n" + b"#\n" * 500_000,
        "more than 1,024 comments in a picture as text. Cure: save it as PNG",
    ),
    "a header without end": (lambda: b"P6 " + b" " * 20 * MIB, "damaged in its header"),
    "a JPEG 2000 of next to nothing": (lambda: bombs.jpeg2000(13_000, 13_000), needs(4.4)),
    "a large JPEG 2000": (lambda: bombs.jpeg2000(60_000, 60_000), MANY_PIXELS),
    "tiles of JPEG 2000": (
        lambda: bombs.jpeg2000(5000, 5000, tile=(50, 50)),
        "JPEG 2000 in too many small tiles. Cure: save it as PNG",
    ),
    "components": (
        lambda: bombs.jpeg2000(2000, 2000, components=16_000),
        "JPEG 2000 with 16000 components, which is not read. Cure: save it as PNG",
    ),
    "precincts": (
        lambda: bombs.jpeg2000(5000, 5000, precinct=1),
        "JPEG 2000 in too many small parts. Cure: save it as PNG",
    ),
    "PSD": (lambda: b"8BPS\0\1" + bytes(100), "PSD, which is not read: save it as PNG"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_is_refused_before_it_is_decoded(tmp_path, kind):
    make, reason = REFUSED[kind]
    (tmp_path / "x").write_bytes(make())
    before, begun = start_peak_anew(), time.process_time()
    assert inspect_image(tmp_path / "x").reason == reason
    for read in (open_image, read_to_train) if kind != "an index of JPEG" else (open_image,):  # which needs none of it
        with pytest.raises(DataError) as raised:
            read(tmp_path / "x")
        assert str(raised.value) == f"{tmp_path / 'x'}: {reason}"
    assert time.process_time() - begun < SECONDS
    assert peak_memory() - before < 3 * (tmp_path / "x").stat().st_size + 200 * MIB


def jpeg_of_scans(more):
    return bombs.progressive(more, (40, 40))


GREEDY = bombs.chunk(b"xxXx", bytes(100))
READ = {
    "ninety scans": lambda: jpeg_of_scans(90),
    "a hundred more scans behind the end": lambda: jpeg_of_scans(2) + b"\xff\xda" * 300,
    "pixels behind the picture": lambda: bombs.png(40, 40, after=[bombs.chunk(b"IDAT", bytes(MIB))] * 40),
    "a thousand texts": lambda: bombs.png(40, 40, after=[bombs.chunk(b"tEXt", b"a\0b")] * 1000),
    "a directory that leads to itself": lambda: bombs.flat_tiff(8, 1, 40, 40)[:-4],
    "a megabyte of comments": lambda: bombs.gif_with_comments(MIB - 2000),
    "an icon": lambda: bombs.ico(bombs.png(40, 40, colour=6), 40),
    "text": lambda: bombs.text_ppm(40, 40),
    "EXIF that is damaged": lambda: bombs.png(40, 40, before=[bombs.chunk(b"eXIf", bombs.greedy_directory(60))]),
    "fill bytes": lambda: bombs.jpeg_with(b"\xff" * 1000),
}


@pytest.mark.parametrize("kind", READ)
def test_what_is_unusual_and_read(tmp_path, kind):
    (tmp_path / "x").write_bytes(READ[kind]())
    begun = time.process_time()
    assert inspect_image(tmp_path / "x").reason is None
    assert open_image(tmp_path / "x").size in ((40, 40), (64, 64))
    assert time.process_time() - begun < SECONDS


def test_arrays_and_images_have_the_same_bounds(tmp_path):
    (tmp_path / "x.png").write_bytes(bombs.png(colour=6))
    given = [np.zeros((2, 500, 3), np.uint8), Image.new("1", (30_000, 8000)), Image.new("1", (500, 2))]
    narrow, large = "more than 100 times as long as wide (XFER_LIMIT_PICTURE_RATIO)", MANY_PIXELS
    assert list(read_given([(f"image {i}", picture) for i, picture in enumerate(given)], [Resize(size=[8, 8])])) == [
        Skipped("image 0", narrow),
        Skipped("image 1", large),
        Skipped("image 2", narrow),
    ]


@pytest.fixture
def counted(monkeypatch):
    """Every picture counts, however small; how many bytes are held at once."""
    monkeypatch.setattr(bounds, "SMALL", 0)
    monkeypatch.setattr(memory, "FEW", 0)
    held, most, lock = [0], [0], threading.Lock()
    take, give_back = bounds._Budget.take, bounds._Budget.give_back

    def counting(self, size, limit):
        take(self, size, limit)
        if self is bounds._DECODED:
            with lock:
                held[0] += size
                most[0] = max(most[0], held[0])
        time.sleep(0.002)

    def discounting(self, size):
        if self is bounds._DECODED:
            with lock:
                held[0] -= size
        give_back(self, size)

    monkeypatch.setattr(bounds._Budget, "take", counting)
    monkeypatch.setattr(bounds._Budget, "give_back", discounting)
    return held, most


@pytest.mark.parametrize("draft", [False, True])
def test_large_pictures_wait_for_each_other(tmp_path, limited, counted, draft):
    """Three of the small ones fit at once, and a large one is read alone; a damaged one keeps nothing."""
    rng = np.random.default_rng(0)
    sides = [20, 20, 34, 20, 20, 20, 34, 20] * 3
    for i, side in enumerate(sides):
        image = Image.fromarray(rng.integers(0, 256, (side, side, 3), np.uint8))
        image.save(tmp_path / f"{i:02}", ["PNG", "JPEG", "TIFF"][i % 3])
    files = [str(tmp_path / f"{i:02}") for i in range(len(sides))]
    one = read_now(Split(files, np.zeros(len(files), np.int64)), [Resize(size=[9, 9])], np.arange(len(files)))
    limited("memory", 8 * 34 * 34)
    held, most = counted
    most[0] = 0
    (tmp_path / "damaged").write_bytes((tmp_path / "00").read_bytes()[:-200])
    given = [(file, file) for file in [*files, str(tmp_path / "damaged")]]
    results = list(read_given(given, [Resize(size=[9, 9])], workers=8))
    assert results.pop() == Skipped(str(tmp_path / "damaged"), "truncated")
    np.testing.assert_array_equal(np.stack(results), one)
    assert held == [0]
    assert 7 * 34 * 34 <= most[0] <= picture_limits().memory
    assert bounds._FILES._held == bounds._DECODED._held == 0


def test_nobody_is_overtaken_for_ever():
    """A large picture gets its turn while small ones keep coming."""
    budget, order = bounds._Budget(), []
    budget.take(6, 10)

    def take(size):
        budget.take(size, 10)
        order.append(size)

    waiting = [threading.Thread(target=take, args=(size,)) for size in (9, 4)]
    for thread in waiting:
        thread.start()
        time.sleep(0.05)
    assert order == [], "although 4 more would do"
    budget.give_back(6)
    waiting[0].join(2)
    assert order == [9]
    budget.give_back(9)
    waiting[1].join(2)
    assert order == [9, 4]


def test_files_of_many_bytes_wait_for_each_other(tmp_path, monkeypatch, limited):
    monkeypatch.setattr(bounds, "SMALL", 1000)
    limited("memory", 5000)
    (tmp_path / "x").write_bytes(bytes(3000))
    with Share() as first:
        first.hold_file(tmp_path / "x")
        second = threading.Thread(target=inspect_image, args=(tmp_path / "x",))
        second.start()
        second.join(0.1)
        assert second.is_alive()
    second.join(2)
    assert not second.is_alive()


def test_the_lower_bytes_are_foreseen_too(tmp_path, limited):
    (tmp_path / "x.png").write_bytes(bombs.png(SIDE, SIDE, 16, 2))
    limited("memory", 9 * SIDE * SIDE)
    open_image(tmp_path / "x.png")
    with pytest.raises(DataError, match=r"needs about 0\.1 GiB of memory, more than 0\.07"):
        open_image(tmp_path / "x.png", Levels(depth=12))


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("pixels", 99, "more than 99 pixels (XFER_LIMIT_PICTURE_PIXELS)"),
        ("ratio", 1, "more than 1 times as long as wide (XFER_LIMIT_PICTURE_RATIO)"),
        ("file", 50, "more than 0 MiB"),
        ("scans", 1, "JPEG with more than 1 scans. Cure: save it anew, or XFER_LIMIT_PICTURE_SCANS"),
    ],
)
def test_the_environment_sets_them(tmp_path, limited, name, value, reason):
    Image.new("RGB", (10, 11)).save(tmp_path / "x.jpg", progressive=True)
    assert inspect_image(tmp_path / "x.jpg").reason is None
    limited(name, value)
    assert inspect_image(tmp_path / "x.jpg").reason == reason


def test_more_pixels_than_pillow_allows(tmp_path, monkeypatch, limited):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", Image.MAX_IMAGE_PIXELS)
    (tmp_path / "x.ppm").write_bytes(b"P6 20000 10000 255\n")
    assert inspect_image(tmp_path / "x.ppm").reason == MANY_PIXELS
    limited("pixels", 200_000_000)
    assert inspect_image(tmp_path / "x.ppm").reason == "truncated"


def test_a_limit_that_is_no_number_is_one_line(tmp_path, limited):
    write_class_folders(tmp_path / "set")
    limited("memory", "much")
    result = CliRunner().invoke(main, ["data", "check", str(tmp_path / "set")])
    assert result.exit_code == 2
    assert re.fullmatch(r"error: XFER_LIMIT_PICTURE_MEMORY = 'much': expected a number.*\n", result.stderr)


@pytest.mark.parametrize("format", images.FORMATS)
def test_every_format_that_is_opened_is_read(tmp_path, format):
    Image.new("RGB", (16, 16), "red").save(tmp_path / "x", format)
    assert inspect_image(tmp_path / "x").reason is None


@pytest.mark.parametrize("format", ["IM", "MSP", "SPIDER", "EPS", "ICNS", "DDS", "QOI"])
def test_no_other_format_is_opened(tmp_path, format):
    mode = {"MSP": "1", "SPIDER": "F"}.get(format, "RGB")
    Image.new(mode, (16, 16)).save(tmp_path / "x", format)
    told = f"{format}, which is not read: save it as PNG" if format in ("ICNS", "DDS", "QOI") else "not an image"
    assert inspect_image(tmp_path / "x").reason == told


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    try:
        start_peak_anew()
        print(json.dumps([measured_apart(Path(sys.argv[1]), *reading) for reading in READINGS]))
    except pytest.skip.Exception as reason:
        print(reason)
        sys.exit(SKIPPED)
