"""What was kept and what was lost: the retention suite before and after, item by item."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

from weitiao.errors import RunError
from weitiao.evaluation.borders import Status, VerdictConfig, status_of
from weitiao.evaluation.paired import paired_difference
from weitiao.evaluation.statistics import CONFIDENCE, Estimate, mean
from weitiao.retention.scores import Kind, PartScores, RetentionScores

Outcome = Literal["kept", "lost", "worse", "unclear", "not informative"]

SIGNIFICANT = 1 - CONFIDENCE
"""Worse is only what the paired test finds, too: the interval of a few items may exclude 0 a little earlier."""

OVERALL: dict[Kind, str] = {"accuracy": "all accuracies", "loss": "all losses"}


@dataclass(frozen=True, slots=True)
class PartComparison:
    """One part before and after, on the same items.

    Attributes:
        name: Of the part.
        kind: `accuracy` (higher is better) or `loss` (nats per token, lower is better).
        before, after: The scores of both models.
        difference: Mean of `after - before` over the items, with its 95 % interval.
        p_value: Of the paired test that the difference is chance.
        informative: Whether the part can show forgetting.
        reason: Why not; empty otherwise.
        noise: What the grade of an item differs by, on average, when the same model is scored again.
        outcome: What the verdict goes by. `kept`: the whole interval is within what is tolerated. `lost`: it is wholly
            beyond that. `worse`: surely worse than before (interval and test agree), though not surely by more than is
            tolerated. `unclear`: none of these. `not informative`: see `reason`.
        tolerated: How far it may decline: what the recipe says, or the noise where that is more.
    """

    name: str
    kind: Kind
    before: Estimate
    after: Estimate
    difference: Estimate
    p_value: float
    informative: bool
    reason: str
    noise: float
    outcome: Outcome
    tolerated: float = 0.0

    @property
    def decline(self) -> Estimate:
        """The difference with the sign of a loss: positive is worse than before, for both kinds."""
        return self.difference if self.kind == "loss" else -self.difference

    @property
    def status(self) -> Status:
        """The outcome as that of a point of a verdict."""
        return "met" if self.outcome == "kept" else "violated" if self.outcome == "lost" else "open"

    def judged(self, config: VerdictConfig) -> PartComparison:
        """The part with the outcome that the recipe section `verdict` gives it."""
        asked = config.largest_loss if self.kind == "accuracy" else config.largest_loss_nats
        tolerated, decline = max(asked, self.noise), self.decline
        outcomes: dict[Status, Outcome] = {"met": "kept", "violated": "lost", "open": "unclear"}
        outcome = outcomes[status_of(decline, tolerated, at_least=False, least_rows=config.least_rows)]
        if not self.informative:
            outcome = "not informative"
        elif outcome == "unclear" and self.p_value < SIGNIFICANT and decline.low > self.noise:
            outcome = "worse"
        return replace(self, outcome=outcome, tolerated=tolerated)


@dataclass(frozen=True, slots=True)
class RetentionComparison:
    """The suite before and after.

    Attributes:
        parts: In the order of the suite.
        overall: Over the items of all informative parts together: accuracies, then losses; where there are any.
        skipped: Parts that the model could not be asked, and why.
    """

    parts: tuple[PartComparison, ...]
    overall: tuple[PartComparison, ...]
    skipped: Mapping[str, str]

    @property
    def lost(self) -> tuple[str, ...]:
        """Names of the parts (and totals) that are surely worse by more than is tolerated."""
        return self._with("lost")

    @property
    def worse(self) -> tuple[str, ...]:
        """Names of the parts (and totals) that are surely worse, though not surely by more than is tolerated."""
        return self._with("worse")

    def _with(self, outcome: Outcome) -> tuple[str, ...]:
        return tuple(part.name for part in (*self.parts, *self.overall) if part.outcome == outcome)

    def judged(self, config: VerdictConfig) -> RetentionComparison:
        """The comparison with the outcomes that the recipe section `verdict` gives."""
        return replace(
            self,
            parts=tuple(part.judged(config) for part in self.parts),
            overall=tuple(part.judged(config) for part in self.overall),
        )

    @property
    def noise(self) -> dict[str, float]:
        """What the same model differs from itself by, for every part: shares, or nats per token."""
        return {part.name: part.noise for part in self.parts}

    def to_dict(self) -> dict[str, Any]:
        """The comparison as JSON has it, with what the three properties say."""
        return {**asdict(self), "lost": self.lost, "worse": self.worse, "noise": self.noise}


def compare_retention(
    before: RetentionScores, after: RetentionScores, tolerated: VerdictConfig | None = None
) -> RetentionComparison:
    """Compare two models on the same items.

    Accuracies of right and wrong answers get McNemar's exact test and Tango's interval; losses a paired permutation
    test and the bootstrap interval (`statistics.paired_difference`). Of a model with another vocabulary, they are per
    token of the model before.

    Args:
        before: Scores of the base model, which decide what is informative.
        after: Scores of the tuned model.
        tolerated: The recipe section `verdict`: how far accuracies may fall and losses rise.

    Raises:
        RunError: They were not scored on the same items.
    """
    pairs = [(a, _by_tokens_of(a, b)) for a, b in zip(before.parts, after.parts, strict=False)]
    if before.fingerprint != after.fingerprint or any(list(a.grades) != list(b.grades) for a, b in pairs):
        raise RunError(
            "The two retention scores are of different items.", "Score both models with the same `retention` section."
        )
    if before.skipped.keys() != after.skipped.keys():
        raise RunError(
            "The two models were not asked the same parts of the retention suite: only one has a chat template.",
            "Give both the same chat template with rendering.template.",
        )
    overall = []
    for kind, name in OVERALL.items():
        chosen = [(a, b) for a, b in pairs if a.kind == kind and a.is_informative]
        if chosen:
            overall.append(_compare(*(_pooled(name, kind, one) for one in zip(*chosen, strict=True))))
    parts = tuple(_compare(a, b) for a, b in pairs)
    return RetentionComparison(parts, tuple(overall), before.skipped).judged(tolerated or VerdictConfig())


def _by_tokens_of(before: PartScores, after: PartScores) -> PartScores:
    """The losses of a model that cuts text into other tokens, per token of before: of the same text, so comparable."""
    if before.num_tokens == after.num_tokens or before.num_tokens.keys() != after.num_tokens.keys():
        return after
    grades = {item: grade * after.num_tokens[item] / before.num_tokens[item] for item, grade in after.grades.items()}
    return replace(after, grades=grades, estimate=mean(list(grades.values()), bounds=None))


def _compare(before: PartScores, after: PartScores) -> PartComparison:
    first, second = list(before.grades.values()), list(after.grades.values())
    paired = paired_difference(first, second, bounded=before.kind == "accuracy")
    return PartComparison(
        name=before.name,
        kind=before.kind,
        before=before.estimate,
        after=after.estimate,
        difference=paired.difference,
        p_value=paired.p_value,
        informative=before.is_informative,
        reason=before.reason,
        noise=max(before.noise, after.noise),
        outcome="unclear",
    )


def _pooled(name: str, kind: Kind, parts: Sequence[PartScores]) -> PartScores:
    """The items of several parts as one part; its noise is the mean over the items."""
    grades = {f"{part.name}/{item}": grade for part in parts for item, grade in part.grades.items()}
    noise = sum(part.noise * len(part.grades) for part in parts) / len(grades)
    bounds = (0.0, 1.0) if kind == "accuracy" else None
    return PartScores(name, kind, mean(list(grades.values()), bounds=bounds), grades, noise=noise)
