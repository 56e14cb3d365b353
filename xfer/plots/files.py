"""Pictures of a run: data in, one PNG file out, whole or not at all.

matplotlib is imported when the first picture is drawn. It draws on its Agg canvas: no display, no pyplot, and no
setting of the calling program is changed. The figures themselves come from the `figure_*` functions in the modules
beside this one, which say what the arguments are. Where no installed font draws the class names, drawing them gives
an `xfer.plots.fonts.FontWarning` and shows code points. Writing raises OSError where the file cannot be written; inside
of `attempt` nothing is raised.
"""

from __future__ import annotations

import warnings
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from importlib import import_module
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from xfer.system import own_process
from xfer.system.files import write_bytes

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Images = NDArray[np.uint8]
"""`(N, H, W, 3)`, red, green, blue."""
Labels = Sequence[int] | NDArray[np.int64]
"""A class index in [0, classes) for each image."""


class PictureWarning(UserWarning):
    """A picture that is not there, and why. What it was to show is whole."""


@contextmanager
def attempt(path: Path) -> Iterator[None]:
    """Draw the picture `path` in here. Whatever goes wrong becomes a PictureWarning that names it.

    A figure is drawn when the work that it shows is done, which may have taken days, and matplotlib looks at settings,
    fonts and caches of the whole machine, any of which may be broken.
    """
    with suppress(Exception), own_process.quiet_programs():  # the first import asks fontconfig for a list of fonts
        import_module("matplotlib.font_manager")  # where that fails, it fails again in the block, and is told
    try:
        yield
    except Exception as error:
        with suppress(OSError):
            path.unlink(missing_ok=True)  # of earlier work: it would be taken for this one's
        reason = " ".join(str(error).split())
        with suppress(PictureWarning):  # where warnings are errors
            warnings.warn(f"{path}: not drawn ({type(error).__name__}: {reason})", PictureWarning, stacklevel=3)


def write_figure(path: Path, figure: Figure) -> None:
    """Draw a figure into a PNG file."""
    from xfer.plots.style import DPI, pixels_of

    png = BytesIO()
    # Photographs hardly get smaller by more effort, which takes a second for the five pictures of a run: repeats are
    # looked for in neighbouring pixels alone. Curves get a tenth larger by it, pages of pictures smaller.
    options: dict[str, Any] = {"compress_level": 1, "compress_type": zlib.Z_RLE}
    Image.fromarray(pixels_of(figure)).save(png, "PNG", dpi=(DPI, DPI), **options)
    write_bytes(path, png.getvalue())


def plot_samples(path: Path, images: Images, labels: Labels, classes: Sequence[str], names: Sequence[str] = ()) -> None:
    """Up to 16 training images, as augmentation made them, with their classes; `names` of their files, if any."""
    from xfer.plots.tiles import figure_samples

    write_figure(path, figure_samples(images, labels, classes, names))


def plot_curves(path: Path, epochs: Sequence[Mapping[str, Any]]) -> None:
    """Loss, accuracy and learning rate of each epoch; rows as in metrics.jsonl."""
    from xfer.plots.curves import figure_curves

    write_figure(path, figure_curves(epochs))


def plot_confusion_matrix(path: Path, labels: Labels, predictions: Labels, classes: Sequence[str]) -> None:
    """Which class was taken for which."""
    from xfer.plots.confusion import figure_confusion_matrix

    write_figure(path, figure_confusion_matrix(labels, predictions, classes))


def plot_labels(
    path: Path,
    classes: Sequence[str],
    precisions: Sequence[float | None],
    f1: Sequence[float | None],
    support: Sequence[int],
) -> None:
    """Average precision and F1 of each label, and how many pictures have it; None where it is not defined."""
    from xfer.plots.labels import figure_labels

    write_figure(path, figure_labels(classes, precisions, f1, support))


def plot_predictions(
    path: Path,
    images: Images,
    labels: Labels | Sequence[int | None],
    predictions: Labels,
    probabilities: NDArray[Any] | None,
    classes: Sequence[str],
    names: Sequence[str] = (),
) -> None:
    """Up to 16 images with their predicted class: right in blue, wrong in red, label None in grey.

    probabilities  (N,) of the predicted class, or (N, C) of all; in [0, 1]; None: they are not shown
    """
    from xfer.plots.tiles import figure_predictions

    write_figure(path, figure_predictions(images, labels, predictions, probabilities, classes, names))


def plot_top_losses(
    path: Path,
    images: Images,
    labels: Labels,
    predictions: Labels,
    losses: Sequence[float] | NDArray[Any],
    classes: Sequence[str],
    names: Sequence[str] = (),
) -> None:
    """The up to 16 of the images that have the highest losses, worst first; `names` of their files, if any."""
    from xfer.plots.tiles import figure_top_losses

    write_figure(path, figure_top_losses(images, labels, predictions, losses, classes, names))


def plot_explained(
    path: Path,
    images: Images,
    maps: NDArray[np.floating[Any]],
    explained: Labels,
    probabilities: NDArray[Any],
    classes: Sequence[str],
    names: Sequence[str],
    where: str,
) -> None:
    """Up to 8 images and beside each what speaks for a class; see `xfer.plots.overlay.figure_explained`."""
    from xfer.plots.overlay import figure_explained

    write_figure(path, figure_explained(images, maps, explained, probabilities, classes, names, where))


def plot_lr_range(
    path: Path,
    rates: Sequence[float] | NDArray[Any],
    losses: Sequence[float] | NDArray[Any],
    smoothed: Sequence[float] | NDArray[Any],
    suggestions: Mapping[str, float],
) -> None:
    """The loss over the learning rate, as it was and smoothed, with the rates that are suggested by name."""
    from xfer.plots.lr_range import figure_lr_range

    write_figure(path, figure_lr_range(rates, losses, smoothed, suggestions))


def plot_comparison(path: Path, runs: Mapping[str, Sequence[Mapping[str, Any]]], chance: float) -> None:
    """The validation accuracy of several runs by label; `chance` in [0, 1] is what guessing one class would give."""
    from xfer.plots.comparison import figure_comparison

    write_figure(path, figure_comparison(runs, chance))


def plot_losses(path: Path, runs: Mapping[str, Sequence[Mapping[str, Any]]]) -> None:
    """The losses of several runs by label."""
    from xfer.plots.comparison import figure_losses

    write_figure(path, figure_losses(runs))


def plot_disagreements(
    path: Path,
    images: Images,
    labels: Sequence[str],
    predicted: Sequence[Sequence[str | None]],
    total: int,
    names: Sequence[str] = (),
) -> None:
    """Up to 16 of `total` images that runs take for different classes; `names` of their files, if any.

    predicted  for each image the class that each run gives it, None where a run has not seen it
    """
    from xfer.plots.disagreements import figure_disagreements

    write_figure(path, figure_disagreements(images, labels, predicted, total, names))
