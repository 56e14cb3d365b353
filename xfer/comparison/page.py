"""Runs side by side as a page: one HTML file that holds its pictures and needs nothing else."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from html import escape
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory

from xfer.comparison.compare import Comparison, Disagreement, Pair, Summary, Unpaired
from xfer.comparison.macro import Difference
from xfer.comparison.pictures import draw, histories
from xfer.comparison.words import disagreement_line, verdict_line
from xfer.plots import files as plots
from xfer.results.figures import FIGURES, NONE
from xfer.results.page import folded, listed, picture, table, write_page
from xfer.results.run import Run
from xfer.results.scores import NAMES, interval, read_scores
from xfer.scores.label_record import LabelScores
from xfer.scores.record import Scores
from xfer.system.doors import open_regular
from xfer.system.outputs import refuse_foreign_file

TITLE = "Runs compared: "
_HEAD_BYTES = 2000  # in which the title is
_MOST_LISTED = 500  # pictures; compare.json has them all


def refuse_others(path: Path, overwrite: bool) -> None:
    """Raises CheckpointError for a file that is there, and is none of these pages, unless `overwrite`."""
    refuse_foreign_file(path, "page of runs that are compared", _is_page(path), overwrite)


def write_comparison(comparison: Comparison, runs: Sequence[Run], path: Path) -> None:
    """Raises CheckpointError where it cannot be written, or a run has no figures. Pictures that cannot be drawn are
    warned of, and left out.
    """
    scores = [read_scores(run.path, run.result) for run in runs]
    sections = [
        _verdicts(comparison),
        _section("Runs", table(_ABOUT, _about(comparison.runs, runs))),
        _section("Figures", table(("figure", *_named(runs)), _figures(scores)), _of_figures(scores)),
        _pairs(comparison),
        _settings(comparison),
        *_drawn(comparison, runs),
        _disagreements(comparison.disagreements),
    ]
    names = ", ".join(run.path.name for run in runs)
    write_page(path, f"{TITLE}{names}", escape(f"{len(runs)} runs; run 1 is the reference"), sections)


def _is_page(path: Path) -> bool:
    try:
        with open_regular(path) as file:
            return f"<title>{TITLE}".encode() in (file.read(_HEAD_BYTES) or b"")
    except OSError:
        return False


def _named(runs: Sequence[Run]) -> list[str]:
    return [f"run {number}" for number in range(1, len(runs) + 1)]


def _verdicts(comparison: Comparison) -> str:
    best = max(comparison.runs, key=lambda run: (run.mean_average_precision or 0.0, run.accuracy))
    number = comparison.runs.index(best) + 1
    if best.mean_average_precision is None:
        most, what = (
            f"{100 * best.accuracy:.1f} %",
            f"of {best.n_val} validation images right in run {number}, the most",
        )
    else:
        most = f"{best.mean_average_precision:.4f}"
        what = f"mean average precision on {best.n_val} validation images in run {number}, the highest"
    words = [what, *(f"run {pair.run}: {_verdict(pair, comparison.margin)}" for pair in comparison.pairs)]
    return f'<p class="headline"><strong>{most}</strong> {"<br>".join(map(escape, words))}</p>'


def _verdict(pair: Pair | Unpaired, margin: float) -> str:
    if isinstance(pair, Unpaired):
        return f"not the same validation images ({pair.reason}), so no paired tests"
    return verdict_line(pair, margin)


_ABOUT = ("run", "folder", "network", "data", "on", "best epoch", "features", "training", "in all", "memory")


def _about(summaries: Sequence[Summary], runs: Sequence[Run]) -> Iterator[tuple[str, ...]]:
    _, duration = FIGURES["seconds_total"]
    for number, (summary, run) in enumerate(zip(summaries, runs, strict=True), start=1):
        seconds = map(duration, (summary.seconds_features, summary.seconds_training, summary.seconds_total))
        memory = NONE if summary.peak_memory is None else FIGURES["peak_memory"][1](summary.peak_memory)
        where = f"{summary.backend}, {summary.device}, {summary.precision}"
        made = (summary.path, str(run.result["arch"]), str(run.result["dataset"]), where)
        yield (f"{number}", *made, f"{summary.best_epoch} of {run.result['epochs']}", *seconds, memory)


def _figures(scores: Sequence[Scores | LabelScores]) -> Iterator[tuple[str, ...]]:
    """A row for each figure: of each run its value, and its interval."""
    top = scores[0].top if isinstance(scores[0], Scores) else 0
    for key, _ in scores[0].figures():
        name, write = NAMES[key]
        cells = []
        for each in scores:
            figure = dict(each.figures())[key]
            ends = interval(figure, write)
            cells.append(NONE if figure.value is None else write(figure.value) + (f" ({ends})" if ends else ""))
        yield (name.format(top=top), *cells)


def _of_figures(scores: Sequence[Scores | LabelScores]) -> str:
    counts = ", ".join(f"{each.n}" for each in scores) if _differ(each.n for each in scores) else f"{scores[0].n}"
    how = "Wilson's of the accuracy, else bootstrap" if isinstance(scores[0], Scores) else "bootstrap"
    return f"95 % intervals over the {counts} validation pictures: {how}."


def _differ(values: Iterable[object]) -> bool:
    return any(a != b for a, b in pairwise(values))


_ALONE = ("right in run 1 alone", "in this alone", "McNemar's p")


def _pairs(comparison: Comparison) -> str:
    paired = [pair for pair in comparison.pairs if isinstance(pair, Pair)]
    if not paired:
        return _section("Against run 1", "", "No run was validated on the same pictures as run 1.")
    note = (
        "Differences in points, this run minus run 1, on the same validation pictures, with 95 % intervals by a paired "
        f"bootstrap; below {100 * comparison.margin:g} points either way they count as none."
    )
    same = "same class" if paired[0].mean_average_precision is None else "same labels"
    head = ("run", *(name for name, _ in _differences(paired[0])), *_ALONE, same)
    return _section("Against run 1", table(head, map(_pair, paired)), note)


def _differences(pair: Pair) -> list[tuple[str, Difference]]:
    accuracy = Difference(pair.difference, pair.interval)
    if pair.mean_average_precision is None:
        first, other = ("accuracy", accuracy), ("balanced accuracy", pair.balanced_accuracy)
    else:
        first, other = ("mean average precision", pair.mean_average_precision), ("exact match", accuracy)
    return [first, ("macro-F1", pair.macro_f1), *((name, figure) for name, figure in [other] if figure is not None)]


def _pair(pair: Pair) -> tuple[str, ...]:
    points = (_points(figure) for _, figure in _differences(pair))
    alone = (f"{pair.only_first}", f"{pair.only_this}", f"{pair.p:.3g}")
    return (f"{pair.run}", *points, *alone, f"{pair.same_predictions} of {pair.n}")


def _points(figure: Difference) -> str:
    ends = figure.interval
    within = f" ({100 * ends.low:+.1f} to {100 * ends.high:+.1f})" if ends else ""
    return f"{100 * figure.value:+.1f}{within}"


def _settings(comparison: Comparison) -> str:
    batches = "the same, bit for bit" if comparison.same_batches else "not the same"
    words = f"Training batches: {batches}."
    if not comparison.settings:
        return _section("What differs", "", f"Recipes, backends, devices and versions are the same. {words}")
    names = (f"run {number}" for number in range(1, len(comparison.runs) + 1))
    rows = (
        (setting.key, *(NONE if value is None else str(value) for value in setting.values))
        for setting in comparison.settings
    )
    return _section("What differs in how they were made", table(("key", *names), rows), words)


def _drawn(comparison: Comparison, runs: Sequence[Run]) -> list[str]:
    with TemporaryDirectory() as folder:
        losses, disagreements = Path(folder, "losses.png"), Path(folder, "disagreements.png")
        draw(comparison, runs, Path(folder))
        with plots.attempt(losses):
            plots.plot_losses(losses, histories(runs))
        return [
            picture(Path(folder, "curves.png"), "Validation by epoch"),
            picture(losses, "Losses by epoch"),
            picture(disagreements, "Validation pictures that runs take for different classes"),
        ]


def _disagreements(images: Sequence[Disagreement]) -> str:
    if not images:
        return ""
    lines = [disagreement_line(image) for image in images[:_MOST_LISTED]]
    more = [f"and {len(images) - _MOST_LISTED} more"] if len(images) > _MOST_LISTED else []
    return folded(f"Pictures on which runs disagree ({len(images)})", listed([*lines, *more]))


def _section(title: str, body: str, note: str = "") -> str:
    return f"<section><h2>{escape(title)}</h2>{body}{f'<p>{escape(note)}</p>' if note else ''}</section>"
