"""The form in which the layers below text see a row: items of token sequences, with a loss weight per token."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike, NDArray

TokenIds = NDArray[np.int32]
PerToken = NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class TokenSequence:
    """Tokens, and what is learned of them: 8 bytes a token, and 4 for each column.

    Attributes:
        row_id: The `Example.row_id` it was rendered from.
        token_ids: L token ids.
        weights: L loss weights. `weights[i]` weighs the prediction *of* token i from the tokens before it, so
            `weights[0]` is always 0; a prompt token weighs 0 unless the prompt is trained on.
        truncated: Whether the end was cut off, and with it the last end-of-turn token.
        columns: Further numbers, L each, by their name: what an objective knows of each token, such as its
            log-probability under a reference model. At the targets they come with the forest.
    """

    row_id: str
    token_ids: TokenIds
    weights: PerToken
    truncated: bool = False
    columns: Mapping[str, PerToken] = field(default_factory=dict)

    def __post_init__(self) -> None:
        assert self.token_ids.dtype == np.int32
        assert all(one.dtype == np.float32 for one in (self.weights, *self.columns.values()))
        assert all(len(one) == len(self.token_ids) > 0 for one in (self.weights, *self.columns.values()))
        assert self.weights[0] == 0.0

    @classmethod
    def of(cls, row_id: str, token_ids: ArrayLike, weights: ArrayLike, *, truncated: bool = False) -> TokenSequence:
        """A sequence from lists or arrays."""
        return cls(row_id, np.asarray(token_ids, np.int32), np.asarray(weights, np.float32), truncated)

    def __len__(self) -> int:
        return len(self.token_ids)

    @property
    def num_inputs(self) -> int:
        """How many tokens have to be computed: those before the last one that carries a weight, at least one."""
        learned = np.flatnonzero(self.weights)
        return int(learned[-1]) if len(learned) else 1

    @property
    def inputs(self) -> TokenIds:
        """The tokens that have to be computed."""
        return self.token_ids[: self.num_inputs]

    @property
    def num_learned(self) -> int:
        """How many tokens are learned."""
        return int(np.count_nonzero(self.weights))

    @property
    def weight(self) -> float:
        """The sum of the loss weights."""
        return float(self.weights.sum(dtype=np.float64))


@dataclass(frozen=True, slots=True, eq=False)
class Item:
    """What a step counts, and what is never split over two forests: one sequence, a pair, or a group.

    Attributes:
        row_id: The row it comes from; several items may come from one.
        sequences: Its sequences, at least one, in the order that the objective gives them.
        weight: What all its losses are multiplied by.
        rows: How many rows of the data it counts as; 0 where what counts is every token that is learned.
    """

    row_id: str
    sequences: tuple[TokenSequence, ...]
    weight: float = 1.0
    rows: int = 0

    @property
    def target_weight(self) -> float:
        """What it counts in a step, its own weight included: the sum of the weights of all its targets, or its rows."""
        return self.weight * (float(self.rows) or sum(sequence.weight for sequence in self.sequences))

    @property
    def num_tokens(self) -> int:
        """Tokens of all its sequences."""
        return sum(map(len, self.sequences))


def as_items(sequences: Iterable[TokenSequence]) -> tuple[Item, ...]:
    """Every sequence as an item of its own."""
    return tuple(Item(sequence.row_id, (sequence,)) for sequence in sequences)


def sequences_of(items: Iterable[Item]) -> Sequence[TokenSequence]:
    """The sequences of all items."""
    return [sequence for item in items for sequence in item.sequences]
