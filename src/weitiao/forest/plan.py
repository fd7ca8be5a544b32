"""Which items form which forest at which step: a pure function, not a state.

It depends on the items, the seed, the epoch and the budgets alone, never on the number of ranks or on what ran before;
so resuming is "go on at step k", on as many ranks as there are now.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Protocol

from weitiao.errors import DataError
from weitiao.forest.layout import Forest, build_forest, common_prefix_length, sort_key
from weitiao.rendering.items import Item, TokenIds
from weitiao.seeding import shuffled


@dataclass(frozen=True, slots=True)
class Step:
    """The work of one optimiser step.

    Attributes:
        forests: All that the step learns from, for all ranks together; they are run one after the other.
        facts: Numbers about where they come from, which are logged beside the loss.
    """

    forests: tuple[Forest, ...]
    facts: Mapping[str, float] = field(default_factory=dict)


class Steps(Protocol):
    """Where the next step's forests come from: a plan, or whatever makes new items as it goes."""

    @property
    def steps_per_epoch(self) -> int: ...

    def step(self, index: int) -> Step:
        """The step with this number, counted from 0 over all epochs."""
        ...

    def may_save(self, index: int) -> bool:
        """Whether a checkpoint after this many steps holds all that the next ones depend on."""
        ...


@dataclass(frozen=True, slots=True)
class Plan:
    """The steps of all epochs over one data set.

    Args:
        items: The rendered data set.
        batch_size: Items in an optimiser step (the last step of an epoch may have fewer).
        token_budget: Tokens that a forest may hold at most, counted after sharing.
        share_prefixes: Whether a shared beginning is stored and computed once.
        seed: Seed of the order.
        fixed_batches: Whether every epoch has the batches of the first, in an order of its own.
    """

    items: Sequence[Item]
    batch_size: int
    token_budget: int
    share_prefixes: bool
    seed: int
    fixed_batches: bool = False

    @property
    def steps_per_epoch(self) -> int:
        return -(-len(self.items) // self.batch_size)

    def step(self, index: int) -> Step:
        """The step with this number, counted from 0 over all epochs."""
        epoch, place = divmod(index, self.steps_per_epoch)
        if self.fixed_batches and epoch > 0:
            epoch, place = 0, _order(self.steps_per_epoch, self.seed, epoch)[place]
        order = _order(len(self.items), self.seed, epoch)
        batch = [self.items[i] for i in order[place * self.batch_size : (place + 1) * self.batch_size]]
        return Step(pack(batch, token_budget=self.token_budget, share_prefixes=self.share_prefixes))

    def may_save(self, index: int) -> bool:
        """Always: nothing that a step did decides what another one is."""
        return True


@lru_cache(maxsize=4)
def _order(num_items: int, seed: int, epoch: int) -> tuple[int, ...]:
    """`shuffled`, kept for the steps of the epoch: sorting a million rows takes longer than many a step."""
    return tuple(shuffled(num_items, seed=seed, epoch=epoch))


def pack(batch: Sequence[Item], *, token_budget: int, share_prefixes: bool) -> tuple[Forest, ...]:
    """Distribute items over forests of at most `token_budget` tokens, counted after sharing.

    Neighbours in sorted order share most; they are kept together, and no item is split. The fewest forests are then
    made about equally large, which keeps the peak of memory low.

    Args:
        batch: At least one item.
        token_budget: Tokens that are computed at once.
        share_prefixes: Whether a shared beginning is stored once.

    Raises:
        DataError: An item alone is longer than the budget.
    """
    ordered = sorted(batch, key=lambda item: sort_key(item.sequences[0].inputs)) if share_prefixes else list(batch)
    alone, after = _costs(ordered, share_prefixes=share_prefixes)
    for item, length in zip(ordered, alone, strict=True):
        if length > token_budget:
            raise DataError(
                f"{item.row_id} has {length} tokens, more than train.token_budget={token_budget}.",
                "Raise train.token_budget, or lower rendering.max_length.",
            )
    cuts = _even_cuts(alone, after, token_budget)
    ends = [*cuts[1:], len(ordered)]
    return tuple(build_forest(ordered[i:j], share_prefixes=share_prefixes) for i, j in zip(cuts, ends, strict=True))


def _costs(items: Sequence[Item], *, share_prefixes: bool) -> tuple[list[int], list[int]]:
    """Tokens of each item in a forest that begins with it, and of what it adds to one that ends with the item before.

    The second is exact for items of one sequence in sorted order, and else an upper bound.
    """
    alone: list[int] = []
    after: list[int] = []
    before: list[TokenIds] = []
    for item in items:
        inputs = [sequence.inputs for sequence in item.sequences]
        alone.append(_tokens(inputs, share_prefixes=share_prefixes))
        together = _tokens([*before, *inputs], share_prefixes=share_prefixes)
        after.append(together - (alone[-2] if before else 0))
        before = inputs
    return alone, after


def num_tokens(item: Item, *, share_prefixes: bool) -> int:
    """Tokens of a forest that holds this item alone."""
    return _tokens([sequence.inputs for sequence in item.sequences], share_prefixes=share_prefixes)


def _tokens(inputs: Sequence[TokenIds], *, share_prefixes: bool) -> int:
    """Tokens of a forest of these rows."""
    if not share_prefixes:
        return sum(map(len, inputs))
    ordered = sorted(inputs, key=sort_key)
    shared = sum(common_prefix_length(a, b) for a, b in itertools.pairwise(ordered))
    return sum(map(len, ordered)) - shared


def _even_cuts(alone: Sequence[int], after: Sequence[int], limit: int) -> list[int]:
    """Where forests of at most `limit` tokens begin: the fewest, about equally large."""
    wanted = len(_cuts(alone, after, limit))
    low, high = max(alone), limit
    while low < high:  # the smallest limit that needs no more forests
        middle = (low + high) // 2
        if len(_cuts(alone, after, middle)) > wanted:
            low = middle + 1
        else:
            high = middle
    return _cuts(alone, after, low)


def _cuts(alone: Sequence[int], after: Sequence[int], limit: int) -> list[int]:
    """Where forests begin when each is filled up to `limit` tokens in the given order."""
    cuts, filled = [0], 0
    for i, length in enumerate(alone):
        cost = after[i] if i > cuts[-1] else length
        if filled + cost > limit:
            cuts.append(i)
            filled, cost = 0, length
        filled += cost
    return cuts
