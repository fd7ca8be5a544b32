"""What the retention suite found about one model, item by item, and whether it could show forgetting at all."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from weitiao.evaluation.likelihood import Likelihood
from weitiao.evaluation.statistics import Estimate, mean
from weitiao.records import Number

Kind = Literal["accuracy", "loss"]


@dataclass(frozen=True, slots=True)
class PartScores:
    """One part of the suite.

    Attributes:
        name: Its name, the same before and after.
        kind: `accuracy`: grades are 0 to 1, higher is better. `loss`: nats per token, lower is better.
        estimate: The mean of the grades with its 95 % interval.
        grades: By item, in the order of the items.
        guessing: Accuracy of a model that knows nothing, 0 to 1; None for losses.
        noise: Mean absolute difference of a grade when items were scored a second time in other batches.
        answers: What was generated, by item; empty where nothing was.
        num_tokens: By item, the tokens that its loss is the mean of; empty for accuracies, and in scores of before.
    """

    name: str
    kind: Kind
    estimate: Estimate
    grades: Mapping[str, Number]
    guessing: float | None = None
    noise: float = 0.0
    answers: Mapping[str, str] = field(default_factory=dict)
    num_tokens: Mapping[str, int] = field(default_factory=dict)

    @property
    def reason(self) -> str:
        """Why this part cannot show that something was forgotten; empty when it can."""
        if self.kind == "loss":
            return "" if self.estimate.n > 1 else "one item gives no interval"
        if self.guessing is None:  # several parts together
            return ""
        if self.estimate.low <= self.guessing:
            return f"not surely above guessing ({self.guessing:.0%})"
        if self.estimate.high >= 1:
            return "at the ceiling: everything is right"
        return ""

    @property
    def is_informative(self) -> bool:
        """Whether the score is surely above guessing and below the ceiling, so that a loss would show."""
        return not self.reason

    def to_dict(self, *, items: bool) -> dict[str, Any]:
        """The part as plain JSON values, with what the two properties say."""
        values = {**asdict(self), "is_informative": self.is_informative, "reason": self.reason}
        of_items = ("grades", "answers", "num_tokens")
        return {name: value for name, value in values.items() if items or name not in of_items}


def accuracy(
    name: str, grades: Mapping[str, float], *, guessing: float, answers: Mapping[str, str] | None = None
) -> PartScores:
    """A part of right and wrong answers."""
    return PartScores(name, "accuracy", mean(list(grades.values())), grades, guessing, answers=answers or {})


def loss(name: str, losses: Mapping[str, float], num_tokens: Mapping[str, int] | None = None) -> PartScores:
    """A part of losses in nats per token."""
    return PartScores(name, "loss", mean(list(losses.values()), bounds=None), losses, num_tokens=num_tokens or {})


def loss_of(name: str, found: Mapping[str, Likelihood]) -> PartScores:
    """The same from what the model makes of each item."""
    return loss(
        name,
        {item: one.loss for item, one in found.items()},
        {item: one.num_tokens for item, one in found.items()},
    )


@dataclass(frozen=True, slots=True)
class RetentionScores:
    """The whole suite.

    Attributes:
        fingerprint: Changes when an item does; only scores of the same items are compared.
        parts: In the order of the suite.
        skipped: Parts that this model cannot be asked, and why.
        seconds: How long it took.
    """

    fingerprint: str
    parts: tuple[PartScores, ...]
    skipped: Mapping[str, str]
    seconds: float

    def to_dict(self, *, items: bool = True) -> dict[str, Any]:
        """The scores as plain JSON values, with or without the grades and answers of the single items."""
        return {**asdict(self), "parts": [part.to_dict(items=items) for part in self.parts]}
