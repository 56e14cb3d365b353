"""The report of `xfer parity` as a page for a colleague: one HTML file that needs nothing else."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from html import escape
from pathlib import Path

from xfer.porting import text
from xfer.porting.chart import Line, chart
from xfer.porting.differences import ParityReport, Row
from xfer.porting.floors import ABOVE_FLOOR
from xfer.porting.node_rows import NodeRow
from xfer.results.page import folded, write_page
from xfer.system.doors import open_regular

TITLE = "Parity of "
_HEAD_BYTES = 1000  # in which the title is
_MOST_ROWS = 2000  # of single tensors; the JSON has them all


def is_report(path: Path) -> bool:
    """Whether a file is one of these pages."""
    try:
        with open_regular(path) as file:
            return f"<title>{TITLE}".encode() in (file.read(_HEAD_BYTES) or b"")
    except OSError:
        return False


def write_report(report: ParityReport, path: Path) -> None:
    """Raises CheckpointError where it cannot be written."""
    first, second = (f"{side.backend} on {side.device}" for side in report.sides)
    sections = [
        _headline(report),
        _section("Environment and settings", _list(text.environment(report))),
        _section("Stage by stage", _table(_HEAD, _cells(report.worst(), report.tolerance))),
        _nodes(report.nodes),
        _curve(report),
        _section("How it was judged", _list(text.summary(report))),
        folded(f"Tensors ({len(report.rows)})", _table(_HEAD, _cells(report.rows[:_MOST_ROWS], report.tolerance))),
    ]
    subtitle = escape(f"{first} (the reference) and {second}")
    write_page(path, f"{TITLE}{report.arch}", subtitle, sections)


_HEAD = ("measured", "stage", "tensor", "largest", "mean", "relative", "squared", "floor", "cosine", "")
_NODE_HEAD = ("node", "kind", "stage", "module", "takes", "largest", "relative", "floor", "")


def _headline(report: ParityReport) -> str:
    first, *more = [line for line in text.summary(report) if line.startswith(("first", "not finite"))] or [""]
    words = " ".join(f"<br>{escape(line)}" for line in (first, *more) if line)
    same = f"same top-1 on {report.top1_agree} of {report.images} images" if report.images else "nothing was run"
    return f'<p class="headline"><strong>{"same" if report.passes else "differs"}</strong> {escape(same)}{words}</p>'


def _cells(rows: Iterable[Row], tolerance: float) -> Iterator[tuple[str, ...]]:
    for row in rows:
        gaps = (f"{gap:.1e}" for gap in (row.max_abs, row.mean_abs, row.relative, row.squared))
        floor, cosine = text.floor_text(row.floor), f"{row.cosine:.6f}"
        yield (row.what, row.stage, row.tensor, *gaps, floor, cosine, text.verdict(row, tolerance))


def _nodes(rows: Sequence[NodeRow]) -> str:
    if not rows:
        return ""
    cells = (
        (
            *(row.place.name, row.place.kind, row.place.stage, row.place.module, ", ".join(row.place.inputs)),
            *(f"{row.max_abs:.1e}", f"{row.relative:.1e}", text.floor_text(row.floor)),
            "same" if row.passes else row.note or "DIFFERS",
        )
        for row in rows
    )
    return _section("Node by node, where it goes wrong", _table(_NODE_HEAD, cells))


def _curve(report: ParityReport) -> str:
    if len(report.curve) < 2:
        return ""
    steps = [point.step for point in report.curve]
    losses = [
        Line(side.backend, steps, [getattr(point, which) for point in report.curve])
        for side, which in zip(report.sides, ("reference", "candidate"), strict=True)
    ]
    apart = [Line("apart", steps, [point.apart for point in report.curve])]
    if all(point.band is not None for point in report.curve):
        allowed = [ABOVE_FLOOR * (point.band or 0) for point in report.curve]
        apart.append(Line(f"{ABOVE_FLOOR:g} times the band of rounding", steps, allowed))
    rows = text.curve_cells(report)
    table = _table(("step", "reference", "other", "apart", "band", ""), rows)
    charts = chart("Loss by step", losses) + chart("How far the losses are apart, by step", apart, logarithmic=True)
    return _section("Training", charts + folded(f"Steps ({len(steps)})", table))


def _section(title: str, body: str) -> str:
    return f"<section><h2>{escape(title)}</h2>{body}</section>"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    titles = "".join(f'<th class="name">{escape(title)}</th>' for title in head)
    body = "".join(f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>" for row in rows)
    return f'<div class="wide"><table><thead><tr>{titles}</tr></thead><tbody>{body}</tbody></table></div>'


def _list(lines: Iterable[str]) -> str:
    return f"<ul>{''.join(f'<li>{escape(line)}</li>' for line in lines)}</ul>"
