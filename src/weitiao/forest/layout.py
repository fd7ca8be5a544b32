"""Sequences laid out as a forest of prefixes in one row of T tokens.

Depth first, every shared beginning once. Key j is visible to query i iff `j <= i < subtree_end[j]`: one integer per
token is the whole attention mask, and ordinary packing is the special case in which nothing is shared.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike, NDArray

from weitiao.rendering.items import Item, PerToken, TokenSequence

Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Segment:
    """A run of tokens without a branch: an edge of the compressed prefix tree.

    Attributes:
        start, end: The tokens `start <= i < end` of the row; each sees those of its segment up to itself.
        subtree_end: All tokens of `end <= i < subtree_end` descend from this segment and see all of it.
    """

    start: int
    end: int
    subtree_end: int


@dataclass(frozen=True, slots=True)
class Layout:
    """Where every token stands and what it may see.

    Attributes:
        token_ids: T token ids.
        position_ids: T depths from the root, which are the positions that the model sees.
        subtree_end: T exclusive ends of the subtrees.
        segments: The edges of the prefix tree, in row order.
    """

    token_ids: Ints
    position_ids: Ints
    subtree_end: Ints
    segments: tuple[Segment, ...]

    def __len__(self) -> int:
        return len(self.token_ids)


@dataclass(frozen=True, slots=True)
class Targets:
    """What is predicted where: parallel arrays of length N.

    A shared token with two different continuations stands here twice.

    Attributes:
        positions: Places in the row whose hidden state predicts.
        labels: Token ids to be predicted.
        weights: Loss weights (float32), those of the items included.
        sequences: Index of the sequence (within the forest) that the target belongs to.
        columns: The further columns of the sequences at these tokens (float32); 0 where a sequence has none.
    """

    positions: Ints
    labels: Ints
    weights: PerToken
    sequences: Ints
    columns: Mapping[str, PerToken] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.positions)


@dataclass(frozen=True, slots=True)
class Forest:
    """A batch: the layout of its tokens and the targets of its items.

    Attributes:
        layout: The row of T tokens.
        targets: The N predictions that are learned.
        items: What was laid out.
        sequence_items: For each of the S sequences, the index of its item.
        last_positions: For each of the S sequences, the place in the row of the last token that is computed of it.
        sequence_places: For each of the S sequences, which of the sequences of its item it is.
    """

    layout: Layout
    targets: Targets
    items: tuple[Item, ...]
    sequence_items: Ints
    last_positions: Ints
    sequence_places: Ints

    @property
    def row_ids(self) -> tuple[str, ...]:
        """Row id of every item."""
        return tuple(item.row_id for item in self.items)

    @property
    def target_items(self) -> Ints:
        """For each of the N targets, the index of its item."""
        return self.sequence_items[self.targets.sequences]

    @property
    def num_source_tokens(self) -> int:
        """Tokens that the sequences have when nothing is shared."""
        return sum(item.num_tokens for item in self.items)


def common_prefix_length(a: ArrayLike, b: ArrayLike) -> int:
    """Number of tokens with which both begin."""
    first, second = np.asarray(a), np.asarray(b)
    limit = min(len(first), len(second))
    different = np.flatnonzero(first[:limit] != second[:limit])
    return int(different[0]) if len(different) else limit


def sort_key(token_ids: ArrayLike) -> bytes:
    """Sorts rows of token ids as tuples of them would be sorted: neighbours share most."""
    return np.asarray(token_ids, ">i4").tobytes()


def build_layout(rows: Sequence[ArrayLike], *, share_prefixes: bool = True) -> tuple[Layout, list[Ints]]:
    """Lay rows of token ids out as a forest.

    Args:
        rows: At least one, none empty; sorted when beginnings are shared, so that neighbours share most.
        share_prefixes: Store a shared beginning once. Without it, every row is a tree of its own.

    Returns:
        The layout, and for each row the places of its tokens in the layout.
    """
    paths: list[Ints] = []
    token_ids: list[Ints] = []
    position_ids: list[Ints] = []
    arrays = [np.asarray(row, np.int64) for row in rows]
    subtree_end = np.empty(sum(map(len, arrays)), np.int64)
    path = previous = np.empty(0, np.int64)
    total = 0
    for row in arrays:
        shared = common_prefix_length(previous, row) if share_prefixes else 0
        fresh = len(row) - shared
        subtree_end[path[shared:]] = total  # what the row before has for itself ends here
        path = np.concatenate([path[:shared], np.arange(total, total + fresh)])
        paths.append(path)
        token_ids.append(row[shared:])
        position_ids.append(np.arange(shared, len(row)))
        total += fresh
        previous = row
    subtree_end[path] = total
    subtree_end, depth = subtree_end[:total], np.concatenate(position_ids)
    return Layout(np.concatenate(token_ids), depth, subtree_end, find_segments(depth, subtree_end)), paths


def on_path(layout: Layout, last: int | Ints) -> NDArray[np.bool_]:
    """Which of the T tokens a sequence consists of that ends at a place of the layout.

    Args:
        layout: T tokens.
        last: The place, or several in an array [S, 1]; the result is then [S, T].
    """
    return (np.arange(len(layout)) <= last) & (last < layout.subtree_end)


def sequence_lengths(layout: Layout) -> Ints:
    """For each of the T tokens, the tokens of the sequence that it is of; of the longest, where several share it."""
    lengths_T = np.empty(len(layout), np.int64)
    for segment in layout.segments:
        lengths_T[segment.start : segment.end] = layout.position_ids[segment.start : segment.subtree_end].max() + 1
    return lengths_T


def build_forest(items: Sequence[Item], *, share_prefixes: bool = True) -> Forest:
    """Lay items out in one row, with what they learn.

    The last token of a sequence predicts nothing and is left out, as is all that follows the last target.

    Args:
        items: The items of the batch; their order does not matter to the loss.
        share_prefixes: Store a shared beginning once.

    Returns:
        The forest, its sequences sorted by token ids when beginnings are shared.
    """
    placed = [
        (sequence, index, place) for index, item in enumerate(items) for place, sequence in enumerate(item.sequences)
    ]
    if share_prefixes:
        placed.sort(key=lambda one: sort_key(one[0].inputs))
    sequences = [sequence for sequence, _, _ in placed]
    layout, paths = build_layout([s.inputs for s in sequences], share_prefixes=share_prefixes)
    learned = [np.flatnonzero(s.weights) for s in sequences]
    weights = [
        s.weights[at] * np.float64(items[index].weight) for (s, index, _), at in zip(placed, learned, strict=True)
    ]
    targets = Targets(
        np.concatenate([path[at - 1] for path, at in zip(paths, learned, strict=True)]),
        np.concatenate([s.token_ids[at].astype(np.int64) for s, at in zip(sequences, learned, strict=True)]),
        np.concatenate(weights).astype(np.float32),
        np.repeat(np.arange(len(sequences)), [len(at) for at in learned]),
        _columns(sequences, learned),
    )
    of_items, places = np.array([(index, place) for _, index, place in placed], np.int64).T
    last = np.array([path[-1] for path in paths], np.int64)
    return Forest(layout, targets, tuple(items), of_items, last, places)


def _columns(sequences: Sequence[TokenSequence], learned: Sequence[Ints]) -> dict[str, PerToken]:
    names = dict.fromkeys(name for sequence in sequences for name in sequence.columns)
    return {
        name: np.concatenate([
            sequence.columns[name][at] if name in sequence.columns else np.zeros(len(at), np.float32)
            for sequence, at in zip(sequences, learned, strict=True)
        ])
        for name in names
    }  # fmt: skip


def find_segments(position_ids: Ints, subtree_end: Ints) -> tuple[Segment, ...]:
    """The runs of tokens without a branch, in row order.

    A run goes on while the depth grows by one and the subtree ends at the same place.
    """
    breaks = (np.diff(subtree_end) != 0) | (np.diff(position_ids) != 1)
    starts = np.concatenate([[0], np.flatnonzero(breaks) + 1, [len(position_ids)]]).tolist()
    return tuple(Segment(start, end, int(subtree_end[start])) for start, end in itertools.pairwise(starts))
