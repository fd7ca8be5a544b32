"""The losses of single items, and what they come to: over all of them, and for each source of rows."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

    from weitiao.forest.layout import Forest

RECENT_STEPS = 20


@dataclass(frozen=True, slots=True)
class ItemLoss:
    """The loss of one item: its mean per unit of weight."""

    row_id: str
    loss: float
    weight: float


@dataclass(frozen=True, slots=True)
class MeanLoss:
    """A mean loss per unit of weight, and the weight it was taken over."""

    loss: float
    weight: float


def item_losses(forest: Forest, sums_I: Tensor, weights_I: NDArray[np.float64]) -> list[ItemLoss]:
    """The losses of a forest's items from their sums of weight times loss, and their weights."""
    return [
        ItemLoss(row_id, loss / weight, weight)
        for row_id, loss, weight in zip(forest.row_ids, sums_I.tolist(), weights_I.tolist(), strict=True)
    ]


def mean_loss(losses: Iterable[ItemLoss | MeanLoss]) -> MeanLoss:
    """The weighted mean of at least one loss."""
    losses = list(losses)
    weight = sum(one.weight for one in losses)
    return MeanLoss(sum(one.loss * one.weight for one in losses) / weight, weight)


def by_source(losses: Iterable[ItemLoss], sources: Mapping[str, str]) -> dict[str, MeanLoss]:
    """The weighted mean for each source of rows, in the order of their names.

    Args:
        losses: Of items.
        sources: Row id to source.
    """
    groups: defaultdict[str, list[ItemLoss]] = defaultdict(list)
    for one in losses:
        groups[sources[one.row_id]].append(one)
    return {source: mean_loss(groups[source]) for source in sorted(groups)}


@dataclass(slots=True)
class RecentLosses:
    """The losses by source over the last steps: a source with few rows is not in every one."""

    _steps: deque[dict[str, MeanLoss]] = field(default_factory=lambda: deque(maxlen=RECENT_STEPS))

    def add(self, step: dict[str, MeanLoss]) -> dict[str, float]:
        """Note a step; the mean loss of each source since."""
        self._steps.append(step)
        names = sorted({name for one in self._steps for name in one})
        return {name: mean_loss(one[name] for one in self._steps if name in one).loss for name in names}
