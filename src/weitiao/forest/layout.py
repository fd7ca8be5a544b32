"""Sequences laid out as a forest of prefixes in one row of T tokens.

Depth first, every shared beginning once. Key j is visible to query i iff `j <= i < subtree_end[j]`: one integer per
token is the whole attention mask, and ordinary packing is the special case in which nothing is shared.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence as Rows
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from weitiao.rendering.sequence import Sequence

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
        weights: Loss weights (float32).
        sequences: Index of the sequence (within the forest) that the target belongs to.
    """

    positions: Ints
    labels: Ints
    weights: NDArray[np.float32]
    sequences: Ints

    def __len__(self) -> int:
        return len(self.positions)


@dataclass(frozen=True, slots=True)
class Forest:
    """A batch: the layout of its tokens and the targets of its sequences.

    Attributes:
        layout: The row of T tokens.
        targets: The N predictions that are learned.
        row_ids: Row id of every sequence, in the order of `targets.sequences`.
        num_source_tokens: Tokens that the sequences have when nothing is shared.
    """

    layout: Layout
    targets: Targets
    row_ids: tuple[str, ...]
    num_source_tokens: int

    @property
    def weight(self) -> float:
        """The sum of the loss weights."""
        return float(self.targets.weights.sum(dtype=np.float64))


def common_prefix_length(a: Rows[int], b: Rows[int]) -> int:
    """Number of tokens with which both begin."""
    limit = min(len(a), len(b))
    if a[:limit] == b[:limit]:
        return limit
    low, high = 0, limit  # a[:low] == b[:low] and a[:high] != b[:high]: slices compare in C, tokens one by one do not
    while high - low > 1:
        middle = (low + high) // 2
        if a[low:middle] == b[low:middle]:
            low = middle
        else:
            high = middle
    return low


def build_layout(rows: Rows[tuple[int, ...]], *, share_prefixes: bool = True) -> tuple[Layout, list[Ints]]:
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
    subtree_end = np.empty(sum(map(len, rows)), np.int64)
    path: Ints = np.empty(0, np.int64)
    previous: tuple[int, ...] = ()
    total = 0
    for row in rows:
        shared = common_prefix_length(previous, row) if share_prefixes else 0
        fresh = len(row) - shared
        subtree_end[path[shared:]] = total  # what the row before has for itself ends here
        path = np.concatenate([path[:shared], np.arange(total, total + fresh)])
        paths.append(path)
        token_ids.append(np.asarray(row[shared:], np.int64))
        position_ids.append(np.arange(shared, len(row)))
        total += fresh
        previous = row
    subtree_end[path] = total
    subtree_end, depth = subtree_end[:total], np.concatenate(position_ids)
    return Layout(np.concatenate(token_ids), depth, subtree_end, find_segments(depth, subtree_end)), paths


def build_forest(sequences: Rows[Sequence], *, share_prefixes: bool = True) -> Forest:
    """Lay sequences out in one row, with what they learn.

    The last token of a sequence predicts nothing and is left out, as is all that follows the last target.

    Args:
        sequences: The sequences of the batch; their order does not matter to the loss.
        share_prefixes: Store a shared beginning once.

    Returns:
        The forest, its sequences sorted by token ids when beginnings are shared.
    """
    ordered = sorted(sequences, key=lambda s: s.inputs) if share_prefixes else list(sequences)
    layout, paths = build_layout([s.inputs for s in ordered], share_prefixes=share_prefixes)
    weights = [np.asarray(s.weights, np.float32) for s in ordered]
    learned = [np.flatnonzero(w) for w in weights]
    labels = [np.asarray(s.token_ids, np.int64)[at] for s, at in zip(ordered, learned, strict=True)]
    targets = Targets(
        np.concatenate([path[at - 1] for path, at in zip(paths, learned, strict=True)]),
        np.concatenate(labels),
        np.concatenate([w[at] for w, at in zip(weights, learned, strict=True)]),
        np.repeat(np.arange(len(ordered)), [len(at) for at in learned]),
    )
    return Forest(layout, targets, tuple(s.row_id for s in ordered), sum(map(len, ordered)))


def find_segments(position_ids: Ints, subtree_end: Ints) -> tuple[Segment, ...]:
    """The runs of tokens without a branch, in row order.

    A run goes on while the depth grows by one and the subtree ends at the same place.
    """
    breaks = (np.diff(subtree_end) != 0) | (np.diff(position_ids) != 1)
    starts = np.concatenate([[0], np.flatnonzero(breaks) + 1, [len(position_ids)]]).tolist()
    return tuple(Segment(start, end, int(subtree_end[start])) for start, end in itertools.pairwise(starts))
