"""A study in words: its tables as Markdown, what they show, and a line for each run as it ends."""

from __future__ import annotations

from collections.abc import Sequence

from xfer.comparison.statistics import Interval
from xfer.studies.results import Ended, PairedTest, Row, Study, Unpaired

Table = tuple[Sequence[str], list[list[str]]]
"""The heads of the columns, and the cells of each line."""


def ended(one: Ended) -> str:
    """A run that has ended, in a line."""
    what = f"[{one.number}/{one.total}] {one.run.mode} on {one.run.backend}, seed {one.run.seed}"
    if one.result is None:
        return f"{what}: failed: {one.reason}"
    when = ", done before" if one.before else ""
    return f"{what}: {one.result['val_accuracy']:.2%} in {one.result['seconds_total']:.1f} s{when}"


def label(row: Row, rows: Sequence[Row]) -> str:
    """The mode, with its backend where the study has several."""
    return row.mode if len({one.backend for one in rows}) == 1 else f"{row.mode} ({row.backend})"


def result_table(study: Study) -> Table:
    memory = any(row.peak_memory is not None for row in study.rows)
    head = ["mode", "backend", "seeds", "best epoch", "95 %", "last epoch", "95 %", "best seed", "seconds"]
    cells = [
        [
            row.mode,
            f"{row.backend} ({', '.join(row.devices)})",
            f"{len(row.seeds)}",
            _percent(row.accuracy),
            _interval(row.interval),
            _percent(row.last_accuracy),
            _interval(row.last_interval),
            _percent(row.best),
            f"{row.seconds:.1f}" + ("*" if row.shared_machine else ""),
            *([_memory(row.peak_memory)] if memory else []),
        ]
        for row in study.rows
    ]
    return head + ["memory"] * memory, cells


def pair_table(study: Study) -> Table:
    head = ["pair", "seeds", "points", "95 %", "p", "p (Holm)", "same predictions", "verdict"]
    cells = [
        [
            f"{label(study.rows[one.other], study.rows)} - {label(study.rows[one.first], study.rows)}",
            f"{len(one.seeds)}",
            f"{100 * one.difference:+.2f}",
            f"{100 * one.interval.low:+.1f} to {100 * one.interval.high:+.1f}",
            f"{one.p:.2g}",
            f"{one.p_adjusted:.2g}",
            f"{one.same} of {one.n * len(one.seeds)}",
            one.verdict,
        ]
        for one in study.pairs
        if isinstance(one, PairedTest)
    ]
    return head, cells


def verdicts(study: Study) -> list[str]:
    """A sentence for each pair of rows."""
    return [_verdict(one, study) for one in study.pairs]


def _verdict(one: PairedTest | Unpaired, study: Study) -> str:
    first, other = (label(study.rows[i], study.rows) for i in (one.first, one.other))
    if isinstance(one, Unpaired):
        return f"{other} against {first}: no paired test ({one.reason})"
    points, margin = f"{abs(100 * one.difference):.1f} points", f"+-{100 * study.margin:.1f} points"
    if one.verdict == "equivalent":
        return f"{other} and {first} are equivalent: they lie within {margin} with 95 % confidence"
    if one.verdict == "different":
        return f"{other} is {'better' if one.difference > 0 else 'worse'} than {first}, by {points}"
    same = ", though every prediction is the same" if one.same == one.n * len(one.seeds) else ""
    return f"{other} against {first}: not shown, neither that they differ nor that they lie within {margin}{same}"


def notes(study: Study) -> list[str]:
    """What a reader has to know about the figures."""
    said = []
    if study.rows:
        images = "-".join(dict.fromkeys(map(str, study.n_val)))
        said.append(
            f"Accuracy on {images} validation images, mean over seeds. The best epoch is chosen on these images, "
            "which flatters it; the last epoch is not chosen. Intervals: Student's t over seeds, so for another seed "
            "on the same images; none where the seeds show no spread."
        )
    if any(isinstance(one, PairedTest) for one in study.pairs):
        said.append(
            "Pairs: predictions of the best epochs on the same images with the same seeds. The interval is the "
            "pigeonhole bootstrap's, so for other seeds and other images; p is of the exact sign-flip test over "
            "images, adjusted by Holm's method for all pairs. Different: the interval excludes 0 and the adjusted p "
            "is below 0.05."
        )
    if any(isinstance(one, PairedTest) and len(one.seeds) == 1 for one in study.pairs):
        said.append("A pair that shares one seed is tested for other images alone: its interval knows no other seed.")
    if any(row.peak_memory is not None for row in study.rows):
        said.append("Memory is the most that the process of a run held at once, the framework included.")
    if any(row.shared_machine for row in study.rows):
        said.append("* Trained beside other runs (--jobs above 1): these seconds are not comparable.")
    return said


def markdown(study: Study) -> str:
    """The whole of it, to paste."""
    parts = [f"# {study.name}"]
    if study.rows:
        parts.append(as_markdown(result_table(study)))
    if any(isinstance(one, PairedTest) for one in study.pairs):
        parts.append(as_markdown(pair_table(study)))
    parts += ["\n".join(f"- {line}" for line in verdicts(study)), *notes(study)]
    if study.failed:
        parts += ["Runs that failed and are left out:", "\n".join(f"- {line}" for line in failures(study))]
    return "\n\n".join(part for part in parts if part) + "\n"


def failures(study: Study) -> list[str]:
    return [f"{one.mode} on {one.backend}, seed {one.seed}: failed: {one.reason}" for one in study.failed]


def as_markdown(table: Table) -> str:
    """A table with columns of even width: Markdown that is also read as it is."""
    head, cells = table
    cells = [[cell.replace("|", "\\|") for cell in line] for line in cells]
    widths = [max(map(len, column)) for column in zip(head, *cells, strict=True)]
    rule = ["-" * width for width in widths]
    lines = (" | ".join(f"{cell:<{w}}" for cell, w in zip(line, widths, strict=True)) for line in (head, rule, *cells))
    return "\n".join(f"| {line} |" for line in lines)


def _percent(share: float) -> str:
    return f"{share:.2%}"


def _interval(interval: Interval | None) -> str:
    return "" if interval is None else f"{100 * interval.low:.1f}-{100 * interval.high:.1f} %"


def _memory(size: float | None) -> str:
    return "" if size is None else f"{size / 2**20:.0f} MiB"
