"""A study in words: its tables as Markdown, what they show, and a line for each run as it ends."""

from __future__ import annotations

from collections.abc import Sequence

from xfer.comparison.statistics import Interval
from xfer.studies.plan import Planned
from xfer.studies.record import FIGURES, Ended, Failed, PairedTest, Row, Study, Unpaired

Table = tuple[Sequence[str], list[list[str]]]
"""The heads of the columns, and the cells of each line."""


def ended(event: Ended) -> str:
    """A run that has ended, in a line."""
    name = f"[{event.number}/{event.total}] {_run_name(event.run)}"
    if event.result is None:
        return f"{name}: failed: {event.reason}"
    when = ", done before" if event.before else ""
    labels = event.result.get("label_metrics")
    ranked = labels and labels["mean_average_precision"]["value"]
    figure = f"{event.result['val_accuracy']:.2%}" if ranked is None else f"mAP {ranked:.4f}"
    return f"{name}: {figure} in {event.result['seconds_total']:.1f} s{when}"


def _run_name(run: Planned | Failed) -> str:
    fold = "" if run.fold is None else f", fold {run.fold}"
    return f"{run.mode} on {run.backend}, seed {run.seed}{fold}"


def label(row: Row, rows: Sequence[Row]) -> str:
    """The mode, with its backend where the study has several."""
    return row.mode if len({r.backend for r in rows}) == 1 else f"{row.mode} ({row.backend})"


def result_table(study: Study) -> Table:
    memory = any(row.peak_memory is not None for row in study.rows)
    of, share = ("mAP, ", _four_digits) if study.several else ("", _percent)
    ends = _short_interval if study.several else _interval
    last = not study.rows or any(row.last_figure is not None for row in study.rows)
    head = [
        "mode",
        "backend",
        "seeds",
        f"{of}best epoch",
        "95 %",
        "macro-F1",
        "95 %",
        *([f"{of}last epoch", "95 %"] if last else []),
        f"{of}best seed",
        "seconds",
    ]
    cells = [
        [
            row.mode,
            f"{row.backend} ({', '.join(row.devices)})",
            f"{len(row.seeds)}",
            share(row.figure),
            ends(row.interval),
            _percent(row.macro_f1),
            _interval(row.macro_f1_interval),
            *([share(row.last_figure), ends(row.last_interval)] if row.last_figure is not None else []),
            share(row.best),
            f"{row.seconds:.1f}" + ("*" if row.shared_machine else ""),
            *([_memory(row.peak_memory)] if memory else []),
        ]
        for row in study.rows
    ]
    return head + ["memory"] * memory, cells


def pair_table(study: Study) -> Table:
    many = study.several
    head = ["pair", "seeds", "mAP" if many else "points", "95 %", "p", "p (Holm)", "same predictions", "verdict"]
    cells = [
        [
            f"{label(study.rows[pair.other], study.rows)} - {label(study.rows[pair.first], study.rows)}",
            f"{len(pair.seeds)}",
            f"{pair.difference:+.4f}" if many else f"{100 * pair.difference:+.2f}",
            " to ".join(f"{end:+.4f}" if many else f"{100 * end:+.1f}" for end in pair.interval),
            *(["", ""] if many and len(pair.seeds) == 1 else [f"{pair.p:.2g}", f"{pair.p_adjusted:.2g}"]),
            f"{pair.same} of {pair.total}",
            pair.verdict,
        ]
        for pair in study.pairs
        if isinstance(pair, PairedTest)
    ]
    return head, cells


def verdicts(study: Study) -> list[str]:
    """A sentence for each pair of rows."""
    return [_verdict(pair, study) for pair in study.pairs]


def _verdict(pair: PairedTest | Unpaired, study: Study) -> str:
    first, second = (label(study.rows[i], study.rows) for i in (pair.first, pair.other))
    if isinstance(pair, Unpaired):
        return f"{second} against {first}: no paired test ({pair.reason})"
    points, margin = f"{abs(100 * pair.difference):.1f} points", f"+-{100 * study.margin:.1f} points"
    if study.several:
        points, margin = f"{abs(pair.difference):.4f} of mean average precision", f"+-{study.margin:g}"
    if pair.verdict == "equivalent":
        return f"{second} and {first} are equivalent: they lie within {margin} with 95 % confidence"
    if pair.verdict == "different":
        return f"{second} is {'better' if pair.difference > 0 else 'worse'} than {first}, by {points}"
    same = ", though every prediction is the same" if pair.same == pair.total else ""
    return f"{second} against {first}: not shown, neither that they differ nor that they lie within {margin}{same}"


def notes(study: Study) -> list[str]:
    """What a reader has to know about the figures."""
    paragraphs = []
    if study.rows:
        images = "-".join(dict.fromkeys(map(str, study.n_val)))
        where = "on the same images" if study.splits == 1 else "on what it is validated on"
        paragraphs.append(
            f"{FIGURES[study.several]} on {images} validation images, mean over seeds. The best epoch is chosen on "
            f"these images, which flatters it; the last epoch is not chosen. {_MACRO[study.several]} "
            "Intervals: Student's t over seeds, so for another seed "
            f"{where}; none where the seeds show no spread."
        )
    if study.folds is not None:
        paragraphs.append(
            f"Each image was predicted once for each seed, by the network of {study.folds} that was not trained on its "
            "fold; curves are means over folds, seconds are of all folds together. Intervals do not cover other "
            "training images, which the networks of a seed share: no unbiased estimate of that variance exists (Bengio "
            "and Grandvalet 2004)."
        )
        if study.several:
            paragraphs.append(
                "The pictures of all folds are ranked together, by probabilities of different networks. Last epochs "
                "leave none to rank: they have a figure in each fold alone."
            )
    if study.splits > 1:
        paragraphs.append(
            f"The runs were validated on {study.splits} different sets of images, so that "
            f"{'mean average precisions' if study.several else 'accuracies'} of different runs differ by their images "
            "too. Splits of the same images overlap: over seeds with a split each, Student's intervals are then too "
            "narrow for new images."
        )
    tested = [pair for pair in study.pairs if isinstance(pair, PairedTest)]
    if tested and study.several:
        fewest = min(len(pair.seeds) for pair in tested)
        least = f"of {fewest} seeds it is {2.0 ** (1 - fewest):.2g} at least" if fewest > 1 else "one seed has none"
        paragraphs.append(
            "Pairs: mean average precisions of the best epochs on the same images with the same seeds. The interval is "
            "the pigeonhole bootstrap's, so for other seeds and other images; the verdict is by it alone, and not "
            "adjusted for the number of pairs. p is of the exact sign-flip test over seeds, adjusted by Holm's method "
            f"for all pairs; {least}. Same predictions are those with every label the same."
        )
    elif tested:
        paragraphs.append(
            "Pairs: predictions of the best epochs on the same images with the same seeds. The interval is the "
            "pigeonhole bootstrap's, so for other seeds and other images; p is of the exact sign-flip test over "
            "images, adjusted by Holm's method for all pairs. Different: the interval excludes 0 and the adjusted p "
            "is below 0.05."
        )
    if any(pair.splits > 1 for pair in tested):
        paragraphs.append(
            "Pairs over several splits are compared seed by seed, on the split of that seed; an image that several "
            "splits hold counts once in the interval and the test, with all its predictions."
        )
    if any(len(pair.seeds) == 1 for pair in tested):
        paragraphs.append(
            "A pair that shares one seed is tested for other images alone: its interval knows no other seed."
        )
    if any(row.peak_memory is not None for row in study.rows):
        paragraphs.append("Memory is the most that the process of a run held at once, the framework included.")
    if any(row.shared_machine for row in study.rows):
        paragraphs.append("* Trained beside other runs (--jobs above 1): these seconds are not comparable.")
    return paragraphs


def markdown(study: Study) -> str:
    """The whole of it, to paste."""
    parts = [f"# {study.name}"]
    if study.rows:
        parts.append(as_markdown(result_table(study)))
    if any(isinstance(pair, PairedTest) for pair in study.pairs):
        parts.append(as_markdown(pair_table(study)))
    parts += ["\n".join(f"- {line}" for line in verdicts(study)), *notes(study)]
    if study.failed:
        parts += ["Runs that failed and are left out:", "\n".join(f"- {line}" for line in failures(study))]
    return "\n\n".join(part for part in parts if part) + "\n"


def failures(study: Study) -> list[str]:
    return [f"{_run_name(run)}: failed: {run.reason}" for run in study.failed]


def as_markdown(table: Table) -> str:
    """A table with columns of even width: Markdown that is also read as it is."""
    head, cells = table
    cells = [[cell.replace("|", "\\|") for cell in line] for line in cells]
    widths = [max(map(len, column)) for column in zip(head, *cells, strict=True)]
    rule = ["-" * width for width in widths]
    lines = (" | ".join(f"{cell:<{w}}" for cell, w in zip(line, widths, strict=True)) for line in (head, rule, *cells))
    return "\n".join(f"| {line} |" for line in lines)


_MACRO = (
    "Macro-F1 is of the best epoch, a mean over classes.",
    "Macro-F1 is of the best epoch, a mean over labels; no image is judged by thresholds that were chosen with it.",
)
"""Of one class for each image, and of any number of labels each."""


def _percent(share: float) -> str:
    return f"{share:.2%}"


def _interval(interval: Interval | None) -> str:
    return "" if interval is None else f"{100 * interval.low:.1f}-{100 * interval.high:.1f} %"


def _four_digits(share: float) -> str:
    return f"{share:.4f}"


def _short_interval(interval: Interval | None) -> str:
    return "" if interval is None else f"{interval.low:.4f}-{interval.high:.4f}"


def _memory(size: float | None) -> str:
    return "" if size is None else f"{size / 2**20:.0f} MiB"
