"""Which sequences form which forest at which step: a pure function, not a state.

It depends on the sequences, the seed, the epoch and the budgets alone, never on the number of ranks or on what ran
before; so resuming is "go on at step k", on as many ranks as there are now.
"""

from __future__ import annotations

from collections.abc import Iterator
from collections.abc import Sequence as Rows
from dataclasses import dataclass
from functools import lru_cache

from weitiao.errors import DataError
from weitiao.forest.layout import Forest, build_forest, common_prefix_length
from weitiao.rendering.sequence import Sequence
from weitiao.seeding import shuffled


@dataclass(frozen=True, slots=True)
class Step:
    """The work of one optimiser step: forests to be run one after the other, or side by side on several ranks."""

    forests: tuple[Forest, ...]

    @property
    def weight(self) -> float:
        """Total weight of all targets: what the step's loss sum is divided by."""
        return sum(forest.weight for forest in self.forests)


@dataclass(frozen=True, slots=True)
class Plan:
    """The steps of all epochs over one data set.

    Args:
        sequences: The rendered data set.
        batch_size: Sequences in an optimiser step (the last step of an epoch may have fewer).
        token_budget: Tokens that a forest may hold at most, counted after sharing.
        share_prefixes: Whether a shared beginning is stored and computed once.
        seed: Seed of the order.
    """

    sequences: Rows[Sequence]
    batch_size: int
    token_budget: int
    share_prefixes: bool
    seed: int

    @property
    def steps_per_epoch(self) -> int:
        return -(-len(self.sequences) // self.batch_size)

    def step(self, index: int) -> Step:
        """The step with this number, counted from 0 over all epochs."""
        epoch, place = divmod(index, self.steps_per_epoch)
        order = _order(len(self.sequences), self.seed, epoch)
        batch = [self.sequences[i] for i in order[place * self.batch_size : (place + 1) * self.batch_size]]
        return Step(pack(batch, token_budget=self.token_budget, share_prefixes=self.share_prefixes))

    def steps(self, start: int, stop: int) -> Iterator[Step]:
        """The steps `start <= index < stop`."""
        return map(self.step, range(start, stop))


@lru_cache(maxsize=2)
def _order(num_items: int, seed: int, epoch: int) -> tuple[int, ...]:
    """`shuffled`, kept for the steps of the epoch: sorting a million rows takes longer than many a step."""
    return tuple(shuffled(num_items, seed=seed, epoch=epoch))


def pack(batch: Rows[Sequence], *, token_budget: int, share_prefixes: bool) -> tuple[Forest, ...]:
    """Distribute sequences over forests of at most `token_budget` tokens, counted after sharing.

    Neighbours in sorted order share most; they are kept together. The fewest forests are then made about equally
    large, which keeps the peak of memory low.

    Raises:
        DataError: A sequence alone is longer than the budget.
    """
    ordered = sorted(batch, key=lambda s: s.inputs) if share_prefixes else list(batch)
    inputs = [sequence.inputs for sequence in ordered]
    shared = [0] * len(ordered)
    if share_prefixes:
        for i in range(1, len(ordered)):
            shared[i] = common_prefix_length(inputs[i - 1], inputs[i])
    lengths = [len(ids) for ids in inputs]
    for sequence, length in zip(ordered, lengths, strict=True):
        if length > token_budget:
            raise DataError(
                f"{sequence.row_id} has {length} tokens, more than train.token_budget={token_budget}.",
                "Raise train.token_budget, or lower rendering.max_length.",
            )
    low, high = max(lengths), token_budget
    fewest = len(_cuts(lengths, shared, token_budget))
    while low < high:  # the smallest limit that needs no more forests than the budget does
        middle = (low + high) // 2
        if len(_cuts(lengths, shared, middle)) > fewest:
            low = middle + 1
        else:
            high = middle
    cuts = _cuts(lengths, shared, low)
    return tuple(
        build_forest(ordered[start:end], share_prefixes=share_prefixes)
        for start, end in zip(cuts, [*cuts[1:], len(ordered)], strict=True)
    )


def _cuts(lengths: Rows[int], shared: Rows[int], limit: int) -> list[int]:
    """Where forests begin when each is filled up to `limit` tokens in the given order."""
    cuts, filled = [0], 0
    for i, length in enumerate(lengths):
        cost = length - shared[i] if i > cuts[-1] else length
        if filled + cost > limit:
            cuts.append(i)
            filled, cost = 0, length
        filled += cost
    return cuts
