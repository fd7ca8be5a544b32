"""Ship, do not ship, or undecided: what was asked against what was measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from weitiao.evaluation.borders import Status, VerdictConfig, rows_needed, status_of
from weitiao.evaluation.paired import PairedDifference
from weitiao.evaluation.statistics import Estimate
from weitiao.files import write_json
from weitiao.records import read_record
from weitiao.retention.comparison import OVERALL
from weitiao.text.wording import Language, Wording

if TYPE_CHECKING:
    from weitiao.retention.comparison import PartComparison, RetentionComparison


Decision = Literal["ship", "do not ship", "undecided"]
Unit = Literal["share", "points", "nats"]

EXIT_CODES: dict[Decision, int] = {"ship": 0, "do not ship": 3, "undecided": 4}


@dataclass(frozen=True, slots=True)
class Reason:
    """One thing that was asked, and whether it holds.

    Attributes:
        name: `target`, `gain`, or the part of the retention suite (or all parts of a kind together).
        kind: Which of the three it is.
        unit: Of the numbers: a share (0 to 1), a difference of shares, or nats per token.
        asked: The border.
        at_least: Whether the measured number has to be at least `asked`; otherwise at most.
        measured: The number with its 95 % interval. For retention it is the loss: positive is worse than before.
        status: `met` when the whole interval is on the right side of the border, `violated` when it is on the wrong
            one, `open` otherwise.
        rows_needed: For an open point, about how many rows would settle it with a probability of 80 %, if the number
            stays what it is; None when it stands at the border, and for points that are not open.
    """

    name: str
    kind: Literal["target", "gain", "retention"]
    unit: Unit
    asked: float
    at_least: bool
    measured: Estimate
    status: Status
    rows_needed: int | None = None


@dataclass(frozen=True, slots=True)
class SetAside:
    """A part of the retention suite that could not show forgetting, and why."""

    name: str
    reason: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """The decision and what it rests on.

    Attributes:
        decision: `ship` when all points are met, `do not ship` when one is violated, `undecided` otherwise.
        reasons: The points, in the order target, gain, retention.
        set_aside: Parts of the retention suite that do not count.
        noted: Parts that are surely worse than before, though not surely by more than is tolerated, and on which it
            does not depend, because all parts together decide.
    """

    decision: Decision
    reasons: tuple[Reason, ...]
    set_aside: tuple[SetAside, ...] = ()
    noted: tuple[Reason, ...] = ()

    @property
    def exit_code(self) -> int:
        """0 for ship, 3 for do not ship, 4 for undecided."""
        return EXIT_CODES[self.decision]


def decide(
    tuned: Estimate, gain: PairedDifference, retention: RetentionComparison | None, config: VerdictConfig
) -> Verdict:
    """Decide whether a tuned model is shipped.

    Every point is judged by the 95 % interval of what was measured, so that each of them is decided wrongly, in either
    direction, in about 2.5 % of all studies whose truth stands right at the border, and more rarely elsewhere.

    Args:
        tuned: Score of the tuned model on the test rows.
        gain: Tuned model against best prompt on the same rows.
        retention: The retention suite before and after; None when it was not run. Its outcomes are those of `config`.
        config: The recipe section `verdict`.
    """
    reasons = []
    if config.target is not None:
        reasons.append(_at_least("target", "share", config.target, tuned, config.least_rows))
    reasons.append(_at_least("gain", "points", config.least_gain, gain.difference, config.least_rows))
    noted: list[Reason] = []
    retention = None if retention is None else retention.judged(config)
    parts = () if retention is None else retention.parts
    counting = [part for part in parts if part.informative]
    if retention is not None and config.retention == "overall":
        noted = [_retention(part, config) for part in counting if part.outcome == "worse"]
        counting = [*retention.overall, *(part for part in counting if part.outcome == "lost")]
    reasons += [_retention(part, config) for part in counting]
    set_aside = tuple(SetAside(part.name, part.reason) for part in parts if not part.informative)
    return Verdict(_decision([reason.status for reason in reasons]), tuple(reasons), set_aside, tuple(noted))


def _decision(statuses: Sequence[Status]) -> Decision:
    if "violated" in statuses:
        return "do not ship"
    return "undecided" if "open" in statuses else "ship"


def _at_least(kind: Literal["target", "gain"], unit: Unit, asked: float, measured: Estimate, least_rows: int) -> Reason:
    status = status_of(measured, asked, at_least=True, least_rows=least_rows)
    return _with_rows(Reason(kind, kind, unit, asked, True, measured, status), least_rows)


def _retention(part: PartComparison, config: VerdictConfig) -> Reason:
    """What a part lost: an accuracy falls and a loss rises, and `decline` is positive for both."""
    unit: Unit = "points" if part.kind == "accuracy" else "nats"
    reason = Reason(part.name, "retention", unit, part.tolerated, False, part.decline, part.status)
    return _with_rows(reason, config.least_rows)


def _with_rows(reason: Reason, least_rows: int) -> Reason:
    """The reason with the rows that would settle it, when it is open."""
    needed = rows_needed(reason.measured, reason.asked) if reason.status == "open" else None
    return reason if needed is None else replace(reason, rows_needed=max(needed, least_rows))


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
    """Which part of the retention suite a reason is about; English has the names that recipes have."""
    words = Wording(language)
    name = reason.name if language == "en" else words.named("retention.part", reason.name)
    return words("reason.all" if reason.name in OVERALL.values() else "reason.part", name=name)


def outcome(reason: Reason, language: Language) -> str:
    """Whether what was asked holds; where that is open, what would settle it."""
    is_at_border = reason.status == "open" and reason.rows_needed is None
    return Wording(language)(f"reason.{'border' if is_at_border else reason.status}", rows=reason.rows_needed)


VERDICT_FILE = "verdict.json"


def verdict_values(verdict: Verdict) -> dict[str, Any]:
    """The verdict as plain JSON values, with the exit code and a sentence per reason in English and Chinese."""
    return {
        "decision": verdict.decision,
        "exit_code": verdict.exit_code,
        "reasons": _with_sentences(verdict.reasons),
        "set_aside": verdict.set_aside,
        "noted": _with_sentences(verdict.noted),
    }


def write_verdict(directory: Path, verdict: Verdict, *, of: Mapping[str, Any] | None = None) -> Path:
    """Write `verdict.json` in one step; returns its path. `of` says what the verdict belongs to."""
    path = directory / VERDICT_FILE
    write_json(path, verdict_values(verdict) | ({} if of is None else {"of": of}))
    return path


def read_verdict(directory: Path) -> Verdict:
    """Read `verdict.json` of a run directory.

    Raises:
        RunError: There is none, or it is not one.
    """
    return read_record(
        Verdict,
        directory / VERDICT_FILE,
        missing="Nothing was decided there yet; do the whole work with: weitiao run RECIPE",
        damaged="Remove it, and run the recipe again.",
    )


def _with_sentences(reasons: Sequence[Reason]) -> list[dict[str, Any]]:
    return [{**asdict(one), "en": sentence(one, "en"), "zh": sentence(one, "zh")} for one in reasons]
