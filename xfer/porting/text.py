"""What `xfer parity` shows: one line for each stage and each thing measured, and the verdict."""

from __future__ import annotations

from xfer.porting.differences import ABOVE_FLOOR, GRADIENT_LIKE, ParityReport, Row, bound
from xfer.porting.probe import ONE_STEP

_LINE = "  {:<8s} {:<34s} {:>8s} {:>8s} {:>8s} {:>8s} {:>9s}  {}"


def table(report: ParityReport) -> list[str]:
    """The tensor furthest apart of each stage. The rest is in the JSON."""
    a, b = (f"{side.backend} on {side.device}" for side in report.sides)
    lines = [f"{report.arch}: {a} (the reference) and {b}"]
    heading = _LINE.format("stage", "furthest apart", "largest", "mean", "relative", "squared", "cosine", "")
    quantity = ""
    for row in report.worst():
        if row.what != quantity:
            quantity = row.what
            lines += ["", quantity] if quantity != report.rows[0].what else ["", heading.rstrip(), quantity]
        lines.append(_line(row))
    return lines


def _line(row: Row) -> str:
    gaps = (f"{gap:.1e}" for gap in (row.max_abs, row.mean_abs, row.relative, row.squared))
    verdict = ("same" if row.passes else row.note or "DIFFERS") if row.judged else "not judged"
    return _LINE.format(row.stage, row.tensor, *gaps, f"{row.cosine:.6f}", verdict)


def summary(report: ParityReport) -> list[str]:
    """How it was judged, and what came of it."""
    squared = bound(ONE_STEP, report.tolerance)
    lines = [
        f"judged: relative differences within {report.tolerance:g}; of gradients, and of weights that a step moved,",
        f"        squared ones within {squared:g}, as rounding turns some ReLUs and gradients jump there",
    ]
    if any(row.floor is not None for row in report.rows):
        excused = sum(row.passes and row.verdict_on > bound(row.what, report.tolerance) for row in report.rows)
        lines.append(
            f"rounding: {excused} more are within {ABOVE_FLOOR:g} times of what they move by where every weight is "
            "moved to a neighbouring float32"
        )
    if report.images and report.steps > 1:
        lines.append(f"not judged: what {report.steps} steps lead to, as rounding grows with each of them")
    if report.images:
        lines.append(f"same top-1 on {report.top1_agree} of {report.images} images")
    return [*lines, _last(report)]


def _last(report: ParityReport) -> str:
    first, judged = report.first_difference, sum(row.judged for row in report.rows)
    if first is None:
        return f"same: all {judged} tensors that were judged"
    off = sum(row.judged and not row.passes for row in report.rows)
    why = first.note or f"{'squared' if first.what in GRADIENT_LIKE else 'relative'} {first.verdict_on:.1e}"
    return f"first difference: {first.stage} ({first.what}, {first.tensor}: {why}); {off} of {judged} tensors differ"
