"""Ship, do not ship, or undecided: what was asked against what was measured."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from weitiao.evaluation.borders import Status, rows_needed, status_of
from weitiao.evaluation.paired import PairedDifference
from weitiao.evaluation.statistics import Estimate
from weitiao.evaluation.verdict_config import VerdictConfig

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
