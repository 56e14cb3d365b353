"""A comparison in words, for a terminal and for a page."""

from __future__ import annotations

from xfer.comparison.compare import Disagreement, Pair, Unpaired
from xfer.comparison.statistics import Interval


def pair_lines(pair: Pair | Unpaired, margin: float) -> list[str]:
    """A run against the first, in words. Differences are in points of accuracy, this run minus the first."""
    if isinstance(pair, Unpaired):
        return [f"run {pair.run} against run 1: not the same validation images ({pair.reason}), so no paired tests"]
    low, high = (100 * end for end in pair.interval)
    share = f"{pair.same_predictions} of {pair.n} images ({pair.same_predictions / pair.n:.1%})"
    identical = pair.same_predictions == pair.n
    same = f"identical predictions on {pair.n} images" if identical else f"the same prediction for {share}"
    gap = f"probabilities at most {pair.gap:.2g} apart ({pair.gap_at})" if pair.gap else "the same probabilities"
    what = "accuracy" if pair.mean_average_precision is None else "exact match"
    lines = [
        f"run {pair.run} against run 1, on the same {pair.n} validation images",
        f"  {same}; {gap}",
        f"  right in run 1 alone {pair.only_first}, in run {pair.run} alone {pair.only_this}; "
        f"McNemar's exact test: p = {pair.p:.3g}",
        f"  {what} differs by {100 * pair.difference:+.1f} points, 95 % interval {low:+.1f} to {high:+.1f}",
    ]
    others = (("balanced accuracy", pair.balanced_accuracy), ("mean average precision", pair.mean_average_precision))
    for name, figure in (("macro-F1", pair.macro_f1), *others):
        if figure is None:
            continue
        words = _ends(figure.interval)
        lines.append(f"  {name} differs by {100 * figure.value:+.1f} points{words}")
    if pair.only_first == pair.only_this == 0:
        lines.append(
            f"  (no image of {pair.n} is right in one run alone: with 95 % confidence, at most {high:.1f} % of all are)"
        )
    return [*lines, f"  {verdict_line(pair, margin)}"]


def _ends(interval: Interval | None) -> str:
    return f", 95 % interval {100 * interval.low:+.1f} to {100 * interval.high:+.1f}" if interval else ""


def verdict_line(pair: Pair, margin: float) -> str:
    points = f"+-{100 * margin:.1f} points"
    if pair.verdict == "equivalent":
        return f"equivalent: the difference lies within {points} with 95 % confidence"
    if pair.verdict == "different":
        return f"different: run {pair.run} is {'better' if _decisive(pair) > 0 else 'worse'} than run 1"
    return f"not shown: neither that they differ, nor that the difference lies within {points}"


def _decisive(pair: Pair) -> float:
    """The difference that the verdict is of."""
    return pair.difference if pair.mean_average_precision is None else pair.mean_average_precision.value


def disagreement_line(image: Disagreement) -> str:
    predictions = (
        f"run {number} {name}" + ("" if probability is None else f" ({probability:.0%})")
        for number, (name, probability) in enumerate(zip(image.predicted, image.probabilities, strict=True), start=1)
        if name is not None
    )
    return f"{image.name}: {', '.join(predictions)}; true {image.label}"
