"""The retention suite as tables for people."""

from __future__ import annotations

from collections.abc import Mapping

from rich.console import Console
from rich.text import Text

from weitiao.evaluation.statistics import Estimate
from weitiao.retention.comparison import Outcome, PartComparison, RetentionComparison
from weitiao.retention.scores import Kind, RetentionScores
from weitiao.terminal.tables import p_value, table
from weitiao.verdict.text import bare
from weitiao.verdict.verdict import Unit

_STYLES: dict[Outcome, str] = {
    "kept": "green", "lost": "bold red", "worse": "red", "unclear": "yellow", "not informative": "dim",
}  # fmt: skip
_UNITS: dict[Kind, tuple[Unit, Unit]] = {"accuracy": ("share", "points"), "loss": ("nats", "nats")}
"""Of scores, and of their differences."""

NO_INTERVAL = "none from one item"


def print_scores(scores: RetentionScores, console: Console, *, title: str) -> None:
    """Print what one model knows, and which parts could show that it forgets.

    Args:
        scores: The scores.
        console: Where to.
        title: Which model it is.
    """
    rows = []
    for part in scores.parts:
        guessing = "" if part.guessing is None else f"{part.guessing:.0%}"
        shown = Text("yes", "green") if part.is_informative else Text(f"no: {part.reason}", "dim")
        estimate = part.estimate
        unit, _ = _UNITS[part.kind]
        value, interval = bare(estimate.value, unit), _interval(estimate, unit)
        rows.append((part.name, value, interval, estimate.n, guessing, shown))
    headings = ("Part", "Score", "95 % interval", "Items", "Guessing", "Can it show forgetting?")
    console.print(Text(title, "bold underline"))
    console.print(table(headings, rows, words=(0, 5)))
    _print_notes(scores.skipped, console)


def print_comparison(comparison: RetentionComparison, console: Console, *, title: str) -> None:
    """Print what was kept and what was lost.

    Args:
        comparison: Before and after.
        console: Where to.
        title: Which model it is.
    """
    headings = ("Part", "Before", "After", "Difference", "95 % interval", "p", "Items", "")
    parts = (*comparison.parts, *comparison.overall)
    styles = [*("" for _ in comparison.parts), *("bold" for _ in comparison.overall)]
    console.print(Text(title, "bold underline"))
    console.print(table(headings, map(_cells, parts), words=(0, 7), row_styles=styles))
    _print_notes(comparison.skipped, console)
    noisiest = {
        kind: max((part.noise for part in comparison.parts if part.kind == kind), default=0.0)
        for kind in ("accuracy", "loss")
    }
    if comparison.worse:
        console.print(Text("worse: surely worse than before, though not surely by more than is tolerated.", "dim"))
    console.print(
        Text(
            "Accuracies in points, losses in nats per token. The same model scored again differs by at most "
            f"{noisiest['accuracy'] * 100:.1f} points and {noisiest['loss']:.2g} nats per item.",
            "dim",
        )
    )


def _cells(part: PartComparison) -> tuple[object, ...]:
    outcome = Text(part.outcome, _STYLES[part.outcome])
    if part.reason:
        outcome.append(f": {part.reason}", "dim")
    score, change = _UNITS[part.kind]
    return (
        part.name,
        bare(part.before.value, score),
        bare(part.after.value, score),
        bare(part.difference.value, change, signed=True),
        _interval(part.difference, change, signed=True),
        p_value(part.p_value),
        part.difference.n,
        outcome,
    )


def _interval(estimate: Estimate, unit: Unit, *, signed: bool = False) -> str:
    if not estimate.has_interval:
        return NO_INTERVAL
    return f"{bare(estimate.low, unit, signed=signed)} to {bare(estimate.high, unit, signed=signed)}"


def _print_notes(skipped: Mapping[str, str], console: Console) -> None:
    for name, why in skipped.items():
        console.print(Text(f"{name} was not asked: {why}.", "yellow"))
