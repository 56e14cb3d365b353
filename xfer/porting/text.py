"""What `xfer parity` shows: one line for each stage and each thing measured, and the verdict."""

from __future__ import annotations

from collections.abc import Iterator

from xfer.porting.differences import GRADIENT_LIKE, ParityReport, Row
from xfer.porting.floors import ABOVE_FLOOR
from xfer.porting.node_rows import NodeRow
from xfer.porting.not_finite import NotFinite
from xfer.porting.task import PICTURES

_LINE = "  {:<8s} {:<34s} {:>8s} {:>8s} {:>8s} {:>8s} {:>8s} {:>9s}  {}"
_STEP = "  {:<8} {:>12} {:>12} {:>9} {:>9}  {}"


def table(report: ParityReport) -> list[str]:
    """The tensor furthest apart of each stage. The rest is in the JSON."""
    a, b = (f"{side.backend} on {side.device}" for side in report.sides)
    lines = [f"{report.arch}: {a} (the reference) and {b}", *environment(report)]
    heading = _LINE.format("stage", "furthest apart", "largest", "mean", "relative", "squared", "floor", "cosine", "")
    quantity = ""
    for row in report.worst():
        if row.what != quantity:
            quantity = row.what
            lines += ["", quantity] if quantity != report.rows[0].what else ["", heading.rstrip(), quantity]
        lines.append(_line(row, report.tolerance))
    return [*lines, *_curve(report)]


def environment(report: ParityReport) -> Iterator[str]:
    """Versions of both sides, and what was asked for."""
    for side in report.sides:
        versions = ", ".join(f"{package} {version}" for package, version in side.versions.items())
        yield f"{side.backend}: weights {side.weights}{', ' * bool(versions)}{versions}"
    if report.settings:
        yield ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in report.settings.items() if value)


def _line(row: Row, tolerance: float) -> str:
    gaps = (f"{gap:.1e}" for gap in (row.max_abs, row.mean_abs, row.relative, row.squared))
    floor, cosine = floor_text(row.floor), f"{row.cosine:.6f}"
    return _LINE.format(row.stage, row.tensor, *gaps, floor, cosine, verdict(row, tolerance))


def verdict(row: Row, tolerance: float) -> str:
    if not row.judged:
        return "not judged"
    if not row.passes:
        return row.note or "DIFFERS"
    return "rounding" if row.undecided(tolerance) else "same"


def floor_text(floor: float | None) -> str:
    return "-" if floor is None else f"{floor:.1e}"


def _curve(report: ParityReport) -> Iterator[str]:
    if report.curve:
        yield from (
            "",
            "loss of the training",
            _STEP.format("step", "reference", "other", "apart", "band", "").rstrip(),
        )
    yield from (_STEP.format(*cells) for cells in curve_cells(report))


def curve_cells(report: ParityReport) -> Iterator[tuple[str, ...]]:
    """Of each step: its number, both losses, how far they are apart, the band, and the verdict."""
    for p in report.curve:
        said = ("same" if p.passes else "DIFFERS") if p.judged else "not judged"
        numbers = (f"{p.reference:.7g}", f"{p.candidate:.7g}", f"{p.apart:.1e}", floor_text(p.band))
        yield (str(p.step), *numbers, said)


def summary(report: ParityReport) -> list[str]:
    """How it was judged, and what came of it."""
    tolerance, times = f"{report.tolerance:g}", f"{ABOVE_FLOOR:g}"
    lines = [
        f"judged: relative differences within {tolerance}; of gradients, updates and movements, by their length;",
        f"        or within {times} times the floor: the reference against itself, each weight moved to a neighbour",
        "        in float32",
    ]
    if any(row.floor is not None for row in report.rows):
        excused = sum(row.by_floor(report.tolerance) for row in report.rows)
        lines.append(f"rounding: {excused} tensors are beyond the tolerance, and within {times} times their floors")
    if undecided := sum(row.undecided(report.tolerance) for row in report.rows):
        lines.append(f"undecided: {undecided} of these are nothing but rounding: zeros in their place would pass")
    if report.images and report.steps > 1:
        lines.append(
            f"not judged: tensors after {report.steps} steps, as rounding grows with each of them; the losses are"
        )
    if report.images and not any(row.tensor == PICTURES for row in report.rows):
        lines.append("not compared: the gradient of the pictures, for which a backend needs the kinds add and table")
    if report.images:
        lines.append(f"same top-1 on {report.top1_agree} of {report.images} images")
    return [*lines, *not_finite(report), *_node_lines(report), _last(report)]


def _node_lines(report: ParityReport) -> list[str]:
    if report.nodes_note:
        return [f"nodes: not compared ({report.nodes_note})"]
    if not report.nodes:
        return []
    if report.first_node:
        return [node_line(report.first_node)]
    stages = ", ".join(dict.fromkeys(row.place.stage for row in report.nodes))
    return [f"nodes: all {len(report.nodes)} of {stages} are the same on the pictures furthest apart"]


def not_finite(report: ParityReport) -> list[str]:
    """One line for each backend; none where both are finite throughout."""
    if not any(report.not_finite):
        return []
    return [
        f"not finite: {side.backend}: {'nothing' if place is None else _not_finite(place)}"
        for side, place in zip(report.sides, report.not_finite, strict=True)
    ]


def _not_finite(place: NotFinite) -> str:
    tensor = f"{place.tensor} {place.kind}".rstrip()
    return f"first {place.value} in {tensor} ({place.stage}, {place.what}; {place.count} values)"


def node_line(row: NodeRow) -> str:
    place, floor = row.place, "" if row.floor is None else f", floor {row.floor:.1e}"
    where = f"in {place.module}, " if place.module else ""
    why = row.note or f"relative {row.relative:.1e}{floor}"
    return f"first node: {place.name} ({place.kind}, {where}{place.stage}: {why}); what it takes is the same"


def _last(report: ParityReport) -> str:
    first, judged = report.first_difference, sum(row.judged for row in report.rows)
    if first:
        off = sum(row.judged and not row.passes for row in report.rows)
        why = first.note or f"{'squared' if first.what in GRADIENT_LIKE else 'relative'} {first.verdict_on:.1e}"
        return (
            f"first difference: {first.stage} ({first.what}, {first.tensor}: {why}); {off} of {judged} tensors differ"
        )
    if point := report.first_step:
        return f"first difference: the loss of step {point.step}, {point.apart:.1e} apart, band {point.band:.1e}"
    return f"same: all {judged} tensors that were judged"
