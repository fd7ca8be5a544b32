"""A comparison as tables for people."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.text import Text

from weitiao.evaluation.comparison import ClassChange, Comparison, ItemChange
from weitiao.evaluation.one_line import one_line
from weitiao.evaluation.statistics import Estimate
from weitiao.feedback.preference import Preference, Preferences

if TYPE_CHECKING:
    from rich.console import Console

_NUM_CLASSES = 12
_NUM_ITEMS = 3
_LONGEST_SHOWN = 240


def print_comparison(comparison: Comparison, console: Console) -> None:
    """Print scores and differences, who has what right, the classes and the items that changed.

    Args:
        comparison: The comparison.
        console: Where to.
    """
    console.print(Text.assemble(("A ", "bold"), comparison.a, ("   B ", "bold"), comparison.b))
    console.print(
        f"{comparison.n:,} test rows, {comparison.num_same_answers:,} of them answered alike", highlight=False
    )
    console.print()
    _print_metrics(comparison, console)
    console.print()
    _print_wins(comparison, console)
    if comparison.classes:
        console.print()
        _print_classes(comparison.classes, console)
    right = "Right" if _is_binary(comparison) else "Better"
    for title, changes in (
        (f"{right} with B, and not with A", comparison.better),
        (f"{right} with A, and not with B", comparison.worse),
    ):
        if changes:
            console.print()
            _print_items(title, changes, console)


def print_preferences(preferences: Preferences, names: tuple[str, str], console: Console) -> None:
    """Print win rates, how sure they are, and how far the judges agree.

    Args:
        preferences: By judge.
        names: Of A and B.
        console: Where to.
    """
    from rich.table import Table

    for one in preferences.judges:
        summary = Table.grid(padding=(0, 2))
        for name, value in _summary(one):
            summary.add_row(Text(name, "bold"), value)
        console.print(Text.assemble(("Judged by ", "bold"), one.judge))
        console.print(summary)
        console.print(conclusion(one, names), style="bold", highlight=False, markup=False)
        console.print()
    for pair in preferences.agreements:
        kappa = "not defined: both always said the same" if pair.kappa is None else _plain(pair.kappa)
        console.print(
            f"{pair.judges[0]} and {pair.judges[1]} agree on {pair.share}; Cohen's kappa {kappa}",
            highlight=False,
            markup=False,
        )


def conclusion(one: Preference, names: tuple[str, str]) -> str:
    """What the judgements of a judge allow to say, in one sentence."""
    if one.num_judged and one.num_disagreements > one.num_judged / 2:
        return "The judge chose by place, not by answer: it mostly contradicted itself when the order was changed."
    if one.test is None:
        return "Nobody won a judgement: there is no preference to be tested."
    if one.is_decided:
        better = names[1] if one.test.wins > one.test.losses else names[0]
        return f"{better} is preferred (p = {one.test.p_value:.2g})."
    if one.more_needed is None:
        return "No preference is to be seen; more judgements would not soon show one."
    left = one.num_items - one.num_judged
    more_rows = "" if one.more_needed <= left else f", for which there are too few pairs left ({left:,}): use more rows"
    return (
        f"Not decided (p = {one.test.p_value:.2g}): if the win rate stays as it is, about {one.more_needed:,} more "
        f"judgements would show it{more_rows}."
    )


def _print_metrics(comparison: Comparison, console: Console) -> None:
    from rich.table import Table

    table = Table(box=None)
    table.add_column("Metric", overflow="fold")
    for name in ("A", "B", "B - A", "p"):
        table.add_column(name, justify="right")
    for name, change in comparison.metrics.items():
        difference = change.paired.difference
        surely = difference.low > 0 or difference.high < 0
        colour = ("green" if difference.value > 0 else "red") if surely else ""
        gain = f"{100 * difference.value:+.1f} points"
        table.add_row(
            Text(name),
            *(_with_interval(f"{one.value:.1%}", one, "") for one in (change.before, change.after)),
            _with_interval(gain, difference, colour),
            f"{change.paired.p_value:.2g}",
        )
    console.print(table)
    tests = dict.fromkeys(change.paired.test for change in comparison.metrics.values())
    console.print(Text(f"Below the scores: 95% intervals. p: {' and '.join(tests)} on the same rows", "dim"))


def _print_wins(comparison: Comparison, console: Console) -> None:
    from rich.table import Table

    table = Table(box=None)
    table.add_column(f"Rows by {comparison.primary}")
    table.add_column("B right", justify="right")
    table.add_column("B not right", justify="right")
    table.add_row("A right", f"{comparison.both_right:,}", f"{comparison.only_a:,}")
    table.add_row("A not right", f"{comparison.only_b:,}", f"{comparison.both_wrong:,}")
    console.print(table)


def _print_classes(classes: Sequence[ClassChange], console: Console) -> None:
    from rich.table import Table

    table = Table(box=None)
    table.add_column("Class", overflow="fold")
    for name in ("Rows", "A right", "B right", "Fixed", "Broken"):
        table.add_column(name, justify="right")
    for one in classes[:_NUM_CLASSES]:
        numbers = (one.support, one.before, one.after, one.fixed, one.broken)
        table.add_row(Text(one.label), *(f"{number:,}" for number in numbers))
    console.print(table)
    if len(classes) > _NUM_CLASSES:
        console.print(Text(f"{len(classes) - _NUM_CLASSES:,} more classes changed, see comparison.json", "dim"))


def _print_items(title: str, changes: Sequence[ItemChange], console: Console) -> None:
    from rich.table import Table

    console.print(Text(f"{title} ({len(changes):,})", "bold"))
    table = Table.grid(padding=(0, 2))
    table.add_column(style="dim")
    table.add_column(overflow="fold")
    for one in changes[:_NUM_ITEMS]:
        table.add_row("Row", Text(one.row_id))
        table.add_row("Prompt", _shortened(one.prompt, from_end=True))
        for name, text in (("Expected", one.expected), ("A", one.before), ("B", one.after)):
            table.add_row(name, _shortened(text))
        table.add_row("")
    console.print(table)
    if len(changes) > _NUM_ITEMS:
        console.print(Text(f"{len(changes) - _NUM_ITEMS:,} more in comparison.json", "dim"))


def _summary(one: Preference) -> list[tuple[str, str]]:
    rows = []
    if one.test is not None:
        rows.append(("B wins", f"{one.test.win_rate}: {one.test.wins:,} against {one.test.losses:,}"))
        rows.append(("Sign test", f"p = {one.test.p_value:.2g}"))
    disagreements = (
        f", {one.num_disagreements:,} of them because the two orders disagreed" if one.num_disagreements else ""
    )
    rows.append(("Ties", f"{one.num_ties:,}{disagreements}"))
    rows.append(("Judged", f"{one.num_judged:,} of {one.num_items:,} pairs"))
    if one.num_same:
        rows.append(("Same answer", f"{one.num_same:,} pairs, not judged"))
    if one.num_unparsable:
        rows.append(("No verdict", f"{one.num_unparsable:,} replies named neither answer"))
    if one.first_share is not None:
        rows.append(("First place", f"won {one.first_share}; 50% is fair"))
    return rows


def _is_binary(comparison: Comparison) -> bool:
    changes = (*comparison.better, *comparison.worse)
    return all(grade in (0, 1) for one in changes for grade in (one.grade_before, one.grade_after))


def _with_interval(value: str, estimate: Estimate, colour: str) -> Text:
    """A number, and its interval in percent or points on the line below."""
    sign = "+" if "points" in value else ""
    interval = f"\n{100 * estimate.low:{sign}.1f} to {100 * estimate.high:{sign}.1f}"
    return Text.assemble((value, colour), (interval, "dim"))


def _plain(estimate: Estimate) -> str:
    return f"{estimate.value:.2f} (95 % interval {estimate.low:.2f} to {estimate.high:.2f}, n = {estimate.n:,})"


def _shortened(text: str, *, from_end: bool = False) -> Text:
    """The text on one line; of a long prompt the end, where the question stands."""
    return one_line(text, _LONGEST_SHOWN, from_end=from_end) or Text("(nothing)", "dim")
