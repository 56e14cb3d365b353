"""Pictures as files: whole or not at all, by a matplotlib that is left as it was."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import matplotlib
import pytest
from drawn import epochs, write_all
from matplotlib.figure import Figure
from PIL import Image

from xfer.plots import files as plots

pytestmark = pytest.mark.filterwarnings("error")


def test_every_picture_is_a_png_and_nothing_else_is_written(tmp_path: Path) -> None:
    write_all(tmp_path / "plots", ["ants", "bees"])
    names = ("confusion_matrix", "curves", "predictions", "samples", "top_losses")
    assert sorted(p.name for p in (tmp_path / "plots").iterdir()) == [f"{name}.png" for name in names]
    for path in (tmp_path / "plots").iterdir():
        with Image.open(path) as picture:
            picture.load()
            assert picture.format == "PNG"
            assert 300 <= min(picture.size) <= max(picture.size) <= 2000
            assert picture.convert("L").getextrema()[0] < 128, "something dark is drawn on the white"


def test_a_failing_picture_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "curves.png"
    path.write_bytes(b"old")

    def fail(*_: object, **__: object) -> None:
        raise MemoryError

    monkeypatch.setattr(Figure, "draw", fail)
    with pytest.raises(MemoryError):
        plots.plot_curves(path, epochs(1))
    assert [(p.name, p.read_bytes()) for p in tmp_path.iterdir()] == [("curves.png", b"old")]


def test_matplotlib_waits_for_the_first_picture_and_pyplot_for_ever(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from xfer.plots import files as plots\n"
        "assert 'matplotlib' not in sys.modules\n"
        f"plots.plot_curves(Path({str(tmp_path / 'c.png')!r}), [])\n"
        "assert 'matplotlib' in sys.modules; assert 'matplotlib.pyplot' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_settings_of_the_calling_program_neither_count_nor_change(tmp_path: Path) -> None:
    plots.plot_curves(tmp_path / "plain.png", epochs(2))
    with matplotlib.rc_context({"text.usetex": True, "font.size": 40, "axes.facecolor": "red", "savefig.dpi": 30}):
        before = dict(matplotlib.rcParams)
        plots.plot_curves(tmp_path / "odd.png", epochs(2))
        assert dict(matplotlib.rcParams) == before
    assert (tmp_path / "odd.png").read_bytes() == (tmp_path / "plain.png").read_bytes()
