"""A comparison as tables for people."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict

from rich.console import Console
from rich.text import Text

from weitiao.errors import Phrase
from weitiao.evaluation.comparison import ClassChange, Comparison, ItemChange
from weitiao.evaluation.statistics import Estimate
from weitiao.feedback.preference import Preference, Preferences
from weitiao.terminal.console import wording_of
from weitiao.terminal.tables import facts, one_line, print_rest, table
from weitiao.text.wording import Wording

_NUM_CLASSES = 12
_NUM_ITEMS = 3
_LONGEST_SHOWN = 240


def print_comparison(comparison: Comparison, console: Console) -> None:
    """Print scores and differences, who has what right, the classes and the items that changed.

    Args:
        comparison: The comparison.
        console: Where to.
    """
    say = wording_of(console).phrase
    console.print(Text.assemble(("A ", "bold"), comparison.a, ("   B ", "bold"), comparison.b))
    alike = Phrase("{n:,} test rows, {same:,} of them answered alike", n=comparison.n, same=comparison.num_same_answers)
    console.print(Text(say(alike)))
    console.print()
    _print_metrics(comparison, console)
    console.print()
    wins = (
        (say("A right"), comparison.both_right, comparison.only_a),
        (say("A not right"), comparison.only_b, comparison.both_wrong),
    )
    headings = (Phrase("Rows by {metric}", metric=comparison.primary), "B right", "B not right")
    console.print(table(map(say, headings), wins))
    if comparison.classes:
        console.print()
        _print_classes(comparison.classes, console)
    right = ("Right with B, and not with A", "Right with A, and not with B")
    better = ("Better with B, and not with A", "Better with A, and not with B")
    titles = right if _is_binary(comparison) else better
    for title, changes in zip(titles, (comparison.better, comparison.worse), strict=True):
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
    words = wording_of(console)
    for one in preferences.judges:
        console.print(Text.assemble((f"{words.phrase('Judged by')} ", "bold"), one.judge))
        console.print(facts((words.phrase(name), words.phrase(text)) for name, text in _summary(one, words)))
        console.print(Text(words.phrase(conclusion(one, names)), "bold"))
        console.print()
    for pair in preferences.agreements:
        kappa = "not defined: both always said the same" if pair.kappa is None else f"{pair.kappa:.2f}"
        told = Phrase(
            "{one} and {other} agree on {share}; Cohen's kappa {kappa}",
            one=pair.judges[0], other=pair.judges[1], share=_share(pair.share, words), kappa=Phrase(kappa),
        )  # fmt: skip
        console.print(Text(words.phrase(told)))


def conclusion(one: Preference, names: tuple[str, str]) -> str:
    """What the judgements of a judge allow to say, in one sentence."""
    if one.num_judged and one.num_disagreements > one.num_judged / 2:
        return "The judge chose by place, not by answer: it mostly contradicted itself when the order was changed."
    if one.test is None:
        return "Nobody won a judgement: there is no preference to be tested."
    if one.is_decided:
        better = names[1] if one.test.wins > one.test.losses else names[0]
        return Phrase("{better} is preferred (p = {p:.2g}).", better=better, p=one.test.p_value)
    if one.more_needed is None:
        return "No preference is to be seen; more judgements would not soon show one."
    left = one.num_items - one.num_judged
    too_few = Phrase(", for which there are too few pairs left ({left:,}): use more rows", left=left)
    return Phrase(
        "Not decided (p = {p:.2g}): if the win rate stays as it is, about {more:,} more judgements would "
        "show it{rest}.",
        p=one.test.p_value, more=one.more_needed, rest="" if one.more_needed <= left else too_few,
    )  # fmt: skip


def _print_metrics(comparison: Comparison, console: Console) -> None:
    words, rows = wording_of(console), []
    for name, change in comparison.metrics.items():
        difference = change.paired.difference
        surely = difference.low > 0 or difference.high < 0
        colour = ("green" if difference.value > 0 else "red") if surely else ""
        gain = words.phrase(Phrase("{points:+.1f} points", points=100 * difference.value))
        scores = (_with_interval(f"{one.value:.1%}", one, words) for one in (change.before, change.after))
        after = _with_interval(gain, difference, words, colour=colour, sign="+")
        rows.append((name, *scores, after, f"{change.paired.p_value:.2g}"))
    console.print(table((words.phrase("Metric"), "A", "B", "B - A", "p"), rows))
    tests = dict.fromkeys(words.named("test", change.paired.test) for change in comparison.metrics.values())
    and_ = words.phrase(" and ")
    note = Phrase("Below the scores: 95% intervals. p: {tests} on the same rows", tests=and_.join(tests))
    console.print(Text(words.phrase(note), "dim"))


def _print_classes(classes: Sequence[ClassChange], console: Console) -> None:
    headings = map(wording_of(console).phrase, ("Class", "Rows", "A right", "B right", "Fixed", "Broken"))
    rows = [(one.label, one.support, one.before, one.after, one.fixed, one.broken) for one in classes[:_NUM_CLASSES]]
    console.print(table(headings, rows))
    print_rest(console, len(classes) - _NUM_CLASSES, "{rest:,} more classes changed, see comparison.json")


def _print_items(title: str, changes: Sequence[ItemChange], console: Console) -> None:
    say = wording_of(console).phrase
    console.print(Text(f"{say(title)} ({len(changes):,})", "bold"))
    rows: list[tuple[str, str | Text]] = []
    for one in changes[:_NUM_ITEMS]:  # of a long prompt the end, where the question stands
        prompt = one_line(one.prompt, _LONGEST_SHOWN, say, from_end=True)
        rows += [(say("Row"), one.row_id), (say("Prompt"), prompt)]
        answers = ((say("Expected"), one.expected), ("A", one.before), ("B", one.after))
        rows += [*((name, one_line(text, _LONGEST_SHOWN, say)) for name, text in answers), ("", "")]
    console.print(facts(rows, style="dim"))
    print_rest(console, len(changes) - _NUM_ITEMS, "{rest:,} more in comparison.json")


def _summary(one: Preference, words: Wording) -> Iterator[tuple[str, Phrase]]:
    if (test := one.test) is not None:
        won = Phrase(
            "{share}: {wins:,} against {losses:,}",
            share=_share(test.win_rate, words), wins=test.wins, losses=test.losses,
        )  # fmt: skip
        yield "B wins", won
        yield "Sign test", Phrase("p = {p:.2g}", p=test.p_value)
    because = ", {count:,} of them because the two orders disagreed"
    disagreed = Phrase(because, count=one.num_disagreements) if one.num_disagreements else ""
    yield "Ties", Phrase("{count:,}{disagreed}", count=one.num_ties, disagreed=disagreed)
    yield "Judged", Phrase("{judged:,} of {all:,} pairs", judged=one.num_judged, all=one.num_items)
    if count := one.num_same:
        yield "Same answer", Phrase("{count:,} pairs, not judged", count=count)
    if count := one.num_unparsable:
        yield "No verdict", Phrase("{count:,} replies named neither answer", count=count)
    if one.first_share is not None:
        yield "First place", Phrase("won {share}; 50% is fair", share=_share(one.first_share, words))


def _share(found: Estimate, words: Wording) -> str:
    return words("estimate", **asdict(found))


def _is_binary(comparison: Comparison) -> bool:
    changes = (*comparison.better, *comparison.worse)
    return all(grade in (0, 1) for one in changes for grade in (one.grade_before, one.grade_after))


def _with_interval(value: str, estimate: Estimate, words: Wording, *, colour: str = "", sign: str = "") -> Text:
    """A number, and its interval in percent or points on the line below."""
    low, high = (f"{100 * end:{sign}.1f}" for end in (estimate.low, estimate.high))
    interval = words.phrase(Phrase("{low} to {high}", low=low, high=high))
    return Text.assemble((value, colour), (f"\n{interval}", "dim"))
