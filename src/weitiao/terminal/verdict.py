"""The retention suite as tables, a verdict as a coloured panel, and a tournament of methods as a table."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from rich.console import Console, Group
from rich.panel import Panel
from rich.text import Text

from weitiao.errors import Phrase
from weitiao.evaluation.borders import Status
from weitiao.evaluation.statistics import Estimate
from weitiao.retention.comparison import Outcome, PartComparison, RetentionComparison
from weitiao.retention.scores import Kind, RetentionScores
from weitiao.terminal.console import wording_of
from weitiao.terminal.tables import p_value, share, table
from weitiao.text.wording import Language, Wording
from weitiao.verdict.tournament import Cell, Tournament
from weitiao.verdict.verdict import Decision, Reason, Unit, Verdict, bare, change_of, number, outcome, place, sentence

_COLOURS: dict[Decision, str] = {"ship": "green", "do not ship": "red", "undecided": "yellow"}
_STATUS_COLOURS: dict[Status, str] = {"met": "green", "violated": "red", "open": "yellow"}


def verdict_panel(verdict: Verdict, language: Language = "en") -> Panel:
    """The verdict, green, red or yellow, with its reasons: as a table, in Chinese as sentences."""
    colour = _COLOURS[verdict.decision]
    title = Text(f"{verdict.decision.upper()}  {Wording('zh')(f'verdict.{verdict.decision}')}", f"bold {colour}")
    reasons = _table_of_reasons(verdict) if language == "en" else _sentences(verdict, language)
    return Panel(reasons, title=title, title_align="left", border_style=colour, expand=False)


def _sentences(verdict: Verdict, language: Language) -> Group:
    words = Wording(language)
    lines = [Text(sentence(one, language), _STATUS_COLOURS[one.status]) for one in verdict.reasons]
    lines += [Text(words("verdict.noted", text=sentence(one, language)), "yellow") for one in verdict.noted]
    if verdict.set_aside:
        names = words("list.comma").join(words.named("retention.part", one.name) for one in verdict.set_aside)
        lines.append(Text(f"{words('retention.set_aside.title')}：{names}", "dim"))
    return Group(*lines)


def _table_of_reasons(verdict: Verdict) -> Group:
    rows = []
    for one in verdict.reasons:
        measured = change_of(one) if one.kind == "retention" else one.measured
        ends = (measured.value, measured.low, measured.high)
        value, low, high = (bare(end, one.unit, signed=one.unit != "share") for end in ends)
        status = Text(one.status, _STATUS_COLOURS[one.status])
        rows.append((_short(one), _border(one), f"{value} ({low} to {high})", measured.n, status))
    shown = table(("", "Asked", "Measured (95% interval)", "n", ""), rows, words=(0, 4))
    lines = [Text(f"{_short(one)}: {outcome(one, 'en')}", "yellow") for one in verdict.reasons if one.status == "open"]
    lines += [Text(f"Noted: {sentence(one, 'en')}", "yellow") for one in verdict.noted]
    lines += [Text(f"{one.name} does not count: {one.reason}", "dim") for one in verdict.set_aside]
    return Group(shown, *lines)


def _short(reason: Reason) -> str:
    match reason.kind:
        case "target":
            return "Score on the task"
        case "gain":
            return "Gain over best prompt"
        case _:
            return f"Change of {'accuracy' if reason.unit == 'points' else 'loss'}, {place(reason, 'en')}"


def _border(reason: Reason) -> str:
    """What is asked, in the terms of the number beside it."""
    if reason.kind != "retention":
        return f"{'≥' if reason.at_least else '≤'} {number(reason.asked, reason.unit)}"
    if reason.unit == "nats":
        return f"≤ {number(reason.asked, reason.unit, signed=True)}"
    return f"≥ {number(-reason.asked if reason.asked else 0.0, reason.unit, signed=True)}"


_HEADINGS = ("Method, rate", "Rung", "Score", "Kept", "Min", "GiB", "Learns", "MiB")


def print_tournament(found: Tournament, console: Console) -> None:
    """Print every cell with what it reached and what it cost, and the advice.

    Args:
        found: The best cell first.
        console: Where to.
    """
    played = [one for one in found.cells if one.failed is None]
    rows = played[0].score.n if played and played[0].score else 0
    console.print(Text(f"Methods: {found.primary} on {rows:,} validation rows", "bold underline"))
    retained = any(one.retention for one in played)
    columns = [place for place in range(len(_HEADINGS)) if retained or _HEADINGS[place] != "Kept"]
    cells = ([_cells_of_run(one)[place] for place in columns] for one in played)
    console.print(table([_HEADINGS[place] for place in columns], cells))
    if retained:
        console.print(Text("Kept: points of accuracy over the retention suite against the base model", "dim"))
    for one in found.cells:
        if one.failed is not None:
            console.print(Text(f"{one.name} could not be trained: {one.failed}", "yellow"))
    console.print()
    console.print(Text(f"Advice: {found.chosen}", "bold"))
    console.print(Text(found.advice))


def _cells_of_run(one: Cell) -> tuple[object, ...]:
    return (
        one.name,
        one.rung,
        "" if one.score is None else share(one.score),
        _points(one.retention),
        f"{one.seconds / 60:,.1f}",
        f"{one.peak_memory_bytes / 2**30:.1f}",
        _count(one.num_trainable),
        f"{one.size_bytes / 2**20:,.1f}",
    )


def _points(change: Estimate | None) -> str:
    if change is None:
        return ""
    value, low, high = (100 * end for end in (change.value, change.low, change.high))
    return f"{value:+.1f} ({low:+.1f} to {high:+.1f})"


def _count(number: int) -> str:
    return f"{number / 1e6:,.2f} M" if number >= 1e5 else f"{number:,}"


_STYLES: dict[Outcome, str] = {
    "kept": "green", "lost": "bold red", "worse": "red", "unclear": "yellow", "not informative": "dim",
}  # fmt: skip
_UNITS: dict[Kind, tuple[Unit, Unit]] = {"accuracy": ("share", "points"), "loss": ("nats", "nats")}
"""Of scores, and of their differences."""

NO_INTERVAL = "none from one item"


def print_retention(scores: RetentionScores, console: Console, *, title: str) -> None:
    """Print what one model knows, and which parts could show that it forgets.

    Args:
        scores: The scores.
        console: Where to.
        title: Which model it is.
    """
    say, rows = wording_of(console).phrase, []
    for part in scores.parts:
        guessing = "" if part.guessing is None else f"{part.guessing:.0%}"
        no = Phrase("no: {why}", why=Phrase(part.reason))
        shown = Text(say("yes"), "green") if part.is_informative else Text(say(no), "dim")
        estimate = part.estimate
        unit, _ = _UNITS[part.kind]
        value, interval = bare(estimate.value, unit), _interval(estimate, unit, say)
        rows.append((part.name, value, interval, estimate.n, guessing, shown))
    headings = map(say, ("Part", "Score", "95 % interval", "Items", "Guessing", "Can it show forgetting?"))
    console.print(Text(title, "bold underline"))
    console.print(table(headings, rows, words=(0, 5)))
    _print_notes(scores.skipped, console)


def print_retention_change(comparison: RetentionComparison, console: Console, *, title: str) -> None:
    """Print what was kept and what was lost.

    Args:
        comparison: Before and after.
        console: Where to.
        title: Which model it is.
    """
    words = wording_of(console)
    say = words.phrase
    headings = map(say, ("Part", "Before", "After", "Difference", "95 % interval", "p", "Items", ""))
    parts = (*comparison.parts, *comparison.overall)
    styles = [*("" for _ in comparison.parts), *("bold" for _ in comparison.overall)]
    console.print(Text(title, "bold underline"))
    console.print(table(headings, (_cells(part, words) for part in parts), words=(0, 7), row_styles=styles))
    _print_notes(comparison.skipped, console)
    noisiest = {
        kind: max((part.noise for part in comparison.parts if part.kind == kind), default=0.0)
        for kind in ("accuracy", "loss")
    }
    if comparison.worse:
        worse = "worse: surely worse than before, though not surely by more than is tolerated."
        console.print(Text(say(worse), "dim"))
    note = Phrase(
        "Accuracies in points, losses in nats per token. The same model scored again differs by at most "
        "{points:.1f} points and {nats:.2g} nats per item.",
        points=100 * noisiest["accuracy"], nats=noisiest["loss"],
    )  # fmt: skip
    console.print(Text(say(note), "dim"))


def _cells(part: PartComparison, words: Wording) -> tuple[object, ...]:
    outcome = Text(words.named("outcome", part.outcome), _STYLES[part.outcome])
    if part.reason:
        outcome.append(f": {words.phrase(part.reason)}", "dim")
    score, change = _UNITS[part.kind]
    return (
        part.name,
        bare(part.before.value, score),
        bare(part.after.value, score),
        bare(part.difference.value, change, signed=True),
        _interval(part.difference, change, words.phrase, signed=True),
        p_value(part.p_value),
        part.difference.n,
        outcome,
    )


def _interval(estimate: Estimate, unit: Unit, say: Callable[[str], str], *, signed: bool = False) -> str:
    if not estimate.has_interval:
        return say(NO_INTERVAL)
    low, high = (bare(end, unit, signed=signed) for end in (estimate.low, estimate.high))
    return say(Phrase("{low} to {high}", low=low, high=high))


def _print_notes(skipped: Mapping[str, str], console: Console) -> None:
    for name, why in skipped.items():
        told = Phrase("{name} was not asked: {why}.", name=name, why=Phrase(why))
        console.print(Text(wording_of(console).phrase(told), "yellow"))
