"""A reason of a verdict as one sentence, in English or in Chinese."""

from __future__ import annotations

from weitiao.evaluation.statistics import Estimate
from weitiao.retention.comparison import OVERALL
from weitiao.text.wording import Language, Wording
from weitiao.verdict.verdict import Reason, Unit


def number(value: float, unit: Unit, language: Language = "en", *, signed: bool = False) -> str:
    """A number with its unit: `85.0%`, `5.0 points`, `0.050 nats`."""
    return Wording(language)(f"reason.unit.{unit}", number=bare(value, unit, signed=signed))


def bare(value: float, unit: Unit, *, signed: bool = False) -> str:
    """A number without the name of its unit."""
    sign = "+" if signed else ""
    if unit == "nats":
        return f"{value:{sign}.3f}"
    return f"{value:{sign}.1%}" if unit == "share" else f"{100 * value:{sign}.1f}"


def sentence(reason: Reason, language: Language) -> str:
    """The reason in one sentence.

    Args:
        reason: What was asked and measured.
        language: `en` or `zh`.
    """
    words, unit = Wording(language), reason.unit
    measured = change_of(reason) if reason.kind == "retention" else reason.measured
    facts = {
        "asked": number(reason.asked, unit, language),
        "low": bare(measured.low, unit, signed=unit != "share"),
        "high": bare(measured.high, unit, signed=unit != "share"),
        "n": measured.n,
        "outcome": outcome(reason, language),
    }
    if reason.kind == "retention":  # how far an accuracy may fall, or a loss rise, and what it did
        did = "same" if measured.value == 0 else "rose" if measured.value > 0 else "fell"
        facts["did"] = words(f"reason.{did}", value=number(abs(measured.value), unit, language))
        return words(f"reason.{'loss' if unit == 'nats' else 'accuracy'}", place=place(reason, language), **facts)
    value = number(measured.value, unit, language, signed=unit != "share")
    bound = "least" if reason.at_least else "most"
    return words(f"reason.{bound}", what=words(f"reason.{reason.kind}"), value=value, **facts)


def change_of(reason: Reason) -> Estimate:
    """What changed, after minus before: a fall of an accuracy is below 0, a rise of a loss above."""
    return reason.measured if reason.unit == "nats" else -reason.measured


def place(reason: Reason, language: Language) -> str:
    """Which part of the retention suite a reason is about."""
    return Wording(language)("reason.all" if reason.name in OVERALL.values() else "reason.part", name=reason.name)


def outcome(reason: Reason, language: Language) -> str:
    """Whether what was asked holds; where that is open, what would settle it."""
    is_at_border = reason.status == "open" and reason.rows_needed is None
    return Wording(language)(f"reason.{'border' if is_at_border else reason.status}", rows=reason.rows_needed)
