"""A comparison as tables for people."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.text import Text

from weitiao.evaluation.comparison import ClassChange, Comparison, ItemChange
from weitiao.evaluation.statistics import Estimate
from weitiao.feedback.preference import Preference, Preferences
from weitiao.terminal.tables import facts, one_line, print_rest, table

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
    console.print(Text(f"{comparison.n:,} test rows, {comparison.num_same_answers:,} of them answered alike"))
    console.print()
    _print_metrics(comparison, console)
    console.print()
    wins = (
        ("A right", comparison.both_right, comparison.only_a),
        ("A not right", comparison.only_b, comparison.both_wrong),
    )
    console.print(table((f"Rows by {comparison.primary}", "B right", "B not right"), wins))
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
    for one in preferences.judges:
        console.print(Text.assemble(("Judged by ", "bold"), one.judge))
        console.print(facts(_summary(one)))
        console.print(Text(conclusion(one, names), "bold"))
        console.print()
    for pair in preferences.agreements:
        kappa = "not defined: both always said the same" if pair.kappa is None else f"{pair.kappa:.2f}"
        console.print(Text(f"{pair.judges[0]} and {pair.judges[1]} agree on {pair.share}; Cohen's kappa {kappa}"))


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
    rows = []
    for name, change in comparison.metrics.items():
        difference = change.paired.difference
        surely = difference.low > 0 or difference.high < 0
        colour = ("green" if difference.value > 0 else "red") if surely else ""
        gain = f"{100 * difference.value:+.1f} points"
        scores = (_with_interval(f"{one.value:.1%}", one, "") for one in (change.before, change.after))
        rows.append((name, *scores, _with_interval(gain, difference, colour), f"{change.paired.p_value:.2g}"))
    console.print(table(("Metric", "A", "B", "B - A", "p"), rows))
    tests = dict.fromkeys(change.paired.test for change in comparison.metrics.values())
    console.print(Text(f"Below the scores: 95% intervals. p: {' and '.join(tests)} on the same rows", "dim"))


def _print_classes(classes: Sequence[ClassChange], console: Console) -> None:
    headings = ("Class", "Rows", "A right", "B right", "Fixed", "Broken")
    rows = [(one.label, one.support, one.before, one.after, one.fixed, one.broken) for one in classes[:_NUM_CLASSES]]
    console.print(table(headings, rows))
    print_rest(console, len(classes) - _NUM_CLASSES, "{:,} more classes changed, see comparison.json")


def _print_items(title: str, changes: Sequence[ItemChange], console: Console) -> None:
    console.print(Text(f"{title} ({len(changes):,})", "bold"))
    rows: list[tuple[str, str | Text]] = []
    for one in changes[:_NUM_ITEMS]:  # of a long prompt the end, where the question stands
        rows += [("Row", one.row_id), ("Prompt", one_line(one.prompt, _LONGEST_SHOWN, from_end=True))]
        answers = (("Expected", one.expected), ("A", one.before), ("B", one.after))
        rows += [*((name, one_line(text, _LONGEST_SHOWN)) for name, text in answers), ("", "")]
    console.print(facts(rows, style="dim"))
    print_rest(console, len(changes) - _NUM_ITEMS, "{:,} more in comparison.json")


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
