"""A verdict for people: one sentence per reason, and a panel on the terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from weitiao.evaluation.borders import Status
from weitiao.evaluation.statistics import Estimate
from weitiao.retention.comparison import OVERALL
from weitiao.verdict.verdict import Decision, Reason, Unit, Verdict

if TYPE_CHECKING:
    from rich.panel import Panel

Language = Literal["en", "zh"]

_COLOURS: dict[Decision, str] = {"ship": "green", "do not ship": "red", "undecided": "yellow"}
_STATUS_COLOURS: dict[Status, str] = {"met": "green", "violated": "red", "open": "yellow"}
_DECISIONS_ZH: dict[Decision, str] = {"ship": "可以上线", "do not ship": "不要上线", "undecided": "尚无定论"}


def number(value: float, unit: Unit, language: Language = "en", *, signed: bool = False) -> str:
    """A number with its unit: `85.0%`, `5.0 points`, `0.050 nats`."""
    sign = "+" if signed else ""
    if unit == "nats":
        return f"{value:{sign}.3f} " + ("nats" if language == "en" else "奈特")
    if unit == "share":
        return f"{value:{sign}.1%}"
    return f"{100 * value:{sign}.1f} " + ("points" if language == "en" else "个百分点")


def sentence(reason: Reason, language: Language) -> str:
    """The reason in one sentence.

    Args:
        reason: What was asked and measured.
        language: `en` or `zh`.
    """
    if reason.kind == "retention":
        return _of_retention(reason, language)
    measured = reason.measured
    asked = number(reason.asked, reason.unit, language)
    value = number(measured.value, reason.unit, language, signed=reason.unit != "share")
    low, high = _bare(measured.low, reason.unit), _bare(measured.high, reason.unit)
    if language == "zh":
        return (
            f"{_what_zh(reason)}{'至少' if reason.at_least else '至多'}应为 {asked}，实测 {value}"
            f"（95% 区间 {low} 至 {high}，n = {measured.n:,}）：{_outcome_zh(reason)}。"
        )
    return (
        f"{_what(reason)} has to be at {'least' if reason.at_least else 'most'} {asked} and is {value} "
        f"(95% interval {low} to {high}, n = {measured.n:,}): {_outcome(reason)}."
    )


def change_of(reason: Reason) -> Estimate:
    """What changed, after minus before: a fall of an accuracy is below 0, a rise of a loss above."""
    decline = reason.measured
    if reason.unit == "nats":
        return decline
    return Estimate(-decline.value, -decline.high, -decline.low, decline.n)


def _of_retention(reason: Reason, language: Language) -> str:
    """How far an accuracy may fall, or a loss rise, and what it did."""
    change = change_of(reason)
    asked, value = (number(size, reason.unit, language) for size in (reason.asked, abs(change.value)))
    low, high = _bare(change.low, reason.unit), _bare(change.high, reason.unit)
    rose, is_loss = change.value > 0, reason.unit == "nats"
    if language == "zh":
        what = f"{_place_zh(reason)}上的{'损失' if is_loss else '准确率'}".strip()
        return (
            f"{what}最多可{'上升' if is_loss else '下降'} {asked}，实际{'上升' if rose else '下降'} {value}"
            f"（95% 区间 {low} 至 {high}，n = {change.n:,}）：{_outcome_zh(reason)}。"
        )
    did = f"{'rose' if rose else 'fell'} by {value}" if change.value else "did not change"
    return (
        f"The {'loss' if is_loss else 'accuracy'} on {_place(reason)} may {'rise' if is_loss else 'fall'} by at most "
        f"{asked}; it {did} (95% interval {low} to {high}, n = {change.n:,}): {_outcome(reason)}."
    )


def verdict_panel(verdict: Verdict) -> Panel:
    """The verdict with its reasons as a table, green, red or yellow."""
    from rich.console import Group
    from rich.panel import Panel
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False)
    table.add_column("", overflow="fold")
    for name in ("Asked", "Measured (95% interval)", "n", ""):
        table.add_column(name, justify="right" if name else "left", no_wrap=True)
    for one in verdict.reasons:
        measured = change_of(one) if one.kind == "retention" else one.measured
        value, low, high = (_bare(end, one.unit) for end in (measured.value, measured.low, measured.high))
        table.add_row(
            Text(_short(one)),
            _border(one),
            f"{value} ({low} to {high})",
            f"{one.measured.n:,}",
            Text(one.status, _STATUS_COLOURS[one.status]),
        )
    lines = [Text(f"{_short(one)}: {_outcome(one)}", "yellow") for one in verdict.reasons if one.status == "open"]
    lines += [Text(f"Noted: {sentence(one, 'en')}", "yellow") for one in verdict.noted]
    lines += [Text(f"{one.name} does not count: {one.reason}", "dim") for one in verdict.set_aside]
    colour = _COLOURS[verdict.decision]
    title = Text(f"{verdict.decision.upper()}  {_DECISIONS_ZH[verdict.decision]}", f"bold {colour}")
    return Panel(Group(table, *lines), title=title, title_align="left", border_style=colour, expand=False)


def _bare(value: float, unit: Unit) -> str:
    """A number without the name of its unit, which stands in the column before."""
    return number(value, unit, signed=unit != "share").partition(" ")[0]


def _short(reason: Reason) -> str:
    match reason.kind:
        case "target":
            return "Score on the task"
        case "gain":
            return "Gain over best prompt"
        case _:
            return f"Change of {'accuracy' if reason.unit == 'points' else 'loss'}, {_place(reason)}"


def _border(reason: Reason) -> str:
    """What is asked, in the terms of the number beside it."""
    if reason.kind != "retention":
        return f"{'≥' if reason.at_least else '≤'} {number(reason.asked, reason.unit)}"
    if reason.unit == "nats":
        return f"≤ {number(reason.asked, reason.unit, signed=True)}"
    return f"≥ {number(-reason.asked if reason.asked else 0.0, reason.unit, signed=True)}"


def _place(reason: Reason) -> str:
    return "all parts together" if reason.name in OVERALL.values() else reason.name


def _place_zh(reason: Reason) -> str:
    return "全部测项" if reason.name in OVERALL.values() else f" {reason.name} "


def _what(reason: Reason) -> str:
    return "The score of the tuned model" if reason.kind == "target" else "The gain over the best prompt"


def _what_zh(reason: Reason) -> str:
    return "微调后模型的得分" if reason.kind == "target" else "相对最佳提示词的提升"


def _outcome(reason: Reason) -> str:
    if reason.status != "open":
        return reason.status
    if reason.rows_needed is None:
        return "open, and no number of rows would settle it: it stands at the border"
    return f"open, about {reason.rows_needed:,} rows would settle it"


def _outcome_zh(reason: Reason) -> str:
    if reason.status != "open":
        return "达到" if reason.status == "met" else "未达到"
    if reason.rows_needed is None:
        return "尚不能定，数值正在界线上，增加数据也难以判定"
    return f"尚不能定，约需 {reason.rows_needed:,} 条数据"
