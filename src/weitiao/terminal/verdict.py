"""A verdict for a terminal: decision and reasons in a coloured panel."""

from __future__ import annotations

from rich.console import Group
from rich.panel import Panel
from rich.text import Text

from weitiao.evaluation.borders import Status
from weitiao.terminal.tables import table
from weitiao.text.wording import Wording
from weitiao.verdict.text import bare, change_of, number, outcome, place, sentence
from weitiao.verdict.verdict import Decision, Reason, Verdict

_COLOURS: dict[Decision, str] = {"ship": "green", "do not ship": "red", "undecided": "yellow"}
_STATUS_COLOURS: dict[Status, str] = {"met": "green", "violated": "red", "open": "yellow"}


def verdict_panel(verdict: Verdict) -> Panel:
    """The verdict with its reasons as a table, green, red or yellow."""
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
    colour = _COLOURS[verdict.decision]
    title = Text(f"{verdict.decision.upper()}  {Wording('zh')(f'verdict.{verdict.decision}')}", f"bold {colour}")
    return Panel(Group(shown, *lines), title=title, title_align="left", border_style=colour, expand=False)


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
