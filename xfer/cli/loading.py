"""What partial loading took from a file, as a table by stage."""

from __future__ import annotations

from collections.abc import Mapping

from rich.table import Table

from xfer.archs import Arch
from xfer.nets.partial import Count, Fate, Loaded, counts, total

HEADINGS: dict[Fate, str] = {
    "loaded": "loaded",
    "resized": "resized",
    "incomplete": "layer incomplete",
    "random": "left at random",
    "head": "fresh head",
    "unused": "unused",
}


def loading_table(source: str, loaded: Loaded, arch: Arch) -> Table:
    """Tensors and, in brackets, values, by stage and in total. Columns for what did not happen are left out."""
    sums = total(loaded)
    table = Table(title=f"taken from {source}: tensors (values)", title_justify="left")
    table.add_column("weights of")
    shown = [fate for fate in HEADINGS if fate in sums]
    for fate in shown:
        table.add_column(HEADINGS[fate], justify="right")
    for stage, fates in counts(loaded, arch).items():
        name = stage if stage in arch.stage_names else f"{stage} (in the file only)"
        table.add_row(name, *_cells(fates, shown))
    table.add_section()
    table.add_row("total", *_cells(sums, shown))
    return table


def _cells(fates: Mapping[Fate, Count], shown: list[Fate]) -> list[str]:
    return [f"{fates[fate].tensors} ({fates[fate].values:,})" if fate in fates else "" for fate in shown]
