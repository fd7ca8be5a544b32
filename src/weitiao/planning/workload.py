"""What data ask of a training: how many tokens lie in its forests, and which of them is the largest."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from weitiao.forest.layout import Forest, build_forest
from weitiao.forest.plan import Plan
from weitiao.objectives.config import ObjectiveConfig
from weitiao.objectives.objective import Objective
from weitiao.rendering.items import Item, TokenSequence, as_items

_MOST_STEPS = 100


@dataclass(frozen=True, slots=True)
class Workload:
    """The forests of a training.

    Attributes:
        largest: The forest with the most tokens.
        usual: One whose tokens are nearest to the mean.
        num_forests: In a step of each rank, on average.
        tokens: Tokens that a step computes, on average.
        source_tokens: What they are before shared beginnings are merged.
        rank_tokens, rank_targets: Tokens that one rank computes and learns of them, or waits for: of the forests that
            the ranks run at the same time the largest counts.
        steps_per_epoch, num_steps: Optimiser steps.
        validation_tokens, validation_targets: Of all validation items together.
        num_validations: How often they are gone through.
        num_ranks: Processes that share the forests of a step.
    """

    largest: Forest
    usual: Forest
    num_forests: float
    tokens: float
    source_tokens: float
    rank_tokens: float
    rank_targets: float
    steps_per_epoch: int
    num_steps: int
    validation_tokens: int = 0
    validation_targets: int = 0
    num_validations: int = 0
    num_ranks: int = 1


def workload(
    plan: Plan, num_steps: int, *, validation: Sequence[Item] = (), num_validations: int = 0, num_ranks: int = 1
) -> Workload:
    """Look at the steps of the first epoch, or at a hundred of them.

    Args:
        plan: Of the training.
        num_steps: Of the whole run.
        validation: Held-out items.
        num_validations: How often they are gone through.
        num_ranks: Processes that share the forests of a step.
    """
    count = min(num_steps, plan.steps_per_epoch)
    chosen = sorted({round(place) for place in np.linspace(0, count - 1, min(count, _MOST_STEPS))})
    steps = [plan.step(index) for index in chosen]
    forests = [forest for step in steps for forest in step.forests]
    lengths = np.array([len(forest.layout) for forest in forests])
    slowest = [
        max(step.forests[turn : turn + num_ranks], key=lambda forest: len(forest.layout))
        for step in steps
        for turn in range(0, len(step.forests), num_ranks)
    ]
    return Workload(
        largest=forests[int(lengths.argmax())],
        usual=forests[int(np.abs(lengths - lengths.mean()).argmin())],
        num_forests=len(slowest) / len(steps),
        tokens=float(lengths.sum()) / len(steps),
        source_tokens=sum(forest.num_source_tokens for forest in forests) / len(steps),
        rank_tokens=sum(len(forest.layout) for forest in slowest) / len(steps),
        rank_targets=sum(len(forest.targets) for forest in slowest) / len(steps),
        steps_per_epoch=plan.steps_per_epoch,
        num_steps=num_steps,
        validation_tokens=sum(item.num_tokens for item in validation),
        validation_targets=sum(one.num_learned for item in validation for one in item.sequences),
        num_validations=num_validations if validation else 0,
        num_ranks=num_ranks,
    )


def portion(forest: Forest, num_tokens: int) -> Forest:
    """A forest of the first items of another, of so many tokens at most, but of one item at least."""
    count = len(forest.items)
    while count > 1 and len(forest.layout) > num_tokens:
        count = max(1, min(count - 1, count * num_tokens // len(forest.layout)))
        forest = build_forest(forest.items[:count])
    return forest


def invented_items(
    num_rows: int, num_tokens: int, objective: ObjectiveConfig | None = None, *, learned: float = 0.5
) -> tuple[Item, ...]:
    """Rows of one length that share nothing, where there are no data yet.

    Args:
        num_rows: How many.
        num_tokens: Tokens of each sequence.
        objective: Says what a step counts; every sequence by itself if None.
        learned: Share of them that are learned, at the end.
    """
    prompt = max(1, round(num_tokens * (1 - learned)))
    weights = np.r_[np.zeros(prompt), np.ones(num_tokens - prompt)] if prompt < num_tokens else np.zeros(num_tokens)
    each = 1 if objective is None or objective.rows().record != "pair" else 2
    sequences = [
        TokenSequence.of(f"row {row}", np.r_[row % 1000, np.zeros(num_tokens - 1)].astype(np.int32), weights)
        for row in range(num_rows * each)
    ]
    return as_items(sequences) if objective is None else objective.items(sequences)


def with_needs(objective: Objective, forest: Forest) -> Forest:
    """The forest with columns of zeros where the objective needs what a run computes before its first step."""
    zeros = {name: np.zeros(len(forest.targets), np.float32) for name in objective.needs}
    return replace(forest, targets=replace(forest.targets, columns={**forest.targets.columns, **zeros}))
