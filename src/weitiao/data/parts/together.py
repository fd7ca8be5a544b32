"""Which rows must stand on one side of a split: those that ask the same, and those that ask almost the same."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterable, Iterator, Sequence
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from weitiao.data.parts.asked import Asked, Boilerplate, find_boilerplate, own_text
from weitiao.text.folding import signatures
from weitiao.text.near import Pairs, similar_pairs, similar_to

NEAR_THRESHOLD = 0.8
"""From which Jaccard similarity of their shingles on two inputs are almost the same."""
NUM_SAMPLED = 1_000
_BATCH_ROWS = 512
_NEIGHBOURS = 3
_SMALL_GROUP = 20


class Together:
    """Positions that must stay together (a union-find), as they are added one after the other."""

    def __init__(self) -> None:
        self._parents: list[int] = []
        self._draws: list[bytes | None] = []
        self._inputs: list[int] = []
        self._first_with: dict[Hashable, int] = {}

    def add(self, draw: bytes | None, *keys: Hashable) -> None:
        """Adds the next position.

        Args:
            draw: `Asked.draw`; None for a position that belongs to no part.
            keys: It stays together with all positions that share one of these; the first is that of its input.
        """
        position = len(self._parents)
        self._parents.append(position)
        self._draws.append(draw)
        self._inputs.append(self._first_with.setdefault(keys[0], position) if draw is not None else -1)
        for key in keys if draw is not None else ():
            roots = sorted((self._root(self._first_with.setdefault(key, position)), self._root(position)))
            self._parents[roots[1]] = roots[0]

    def join_near(self, rows: Iterable[Asked | None], shared: Boilerplate, *, most: int) -> int:
        """Joins positions that ask almost the same, the most alike first (Kruskal's algorithm).

        Positions were added with the first key of what they ask; those that share another one are as alike as can be.

        Args:
            rows: What each position asks.
            shared: What many rows share.
            most: No group grows beyond so many positions by this, since likeness makes chains that could hold all.

        Returns:
            How many pairs were therefore left apart.
        """
        roots = np.array([self._root(position) for position in range(len(self._parents))], dtype=np.int64)
        also: dict[bytes, list[int]] = {}
        table, signed = _signatures(_noted(rows, also), shared)
        # Ties are broken, and neighbours chosen, by content: the order of the rows must not matter.
        order = np.lexsort((table[:, 1], table[:, 0], self._numbers()))
        rank = np.empty(len(order), dtype=np.int64)
        rank[order] = np.arange(len(order))
        least = np.full(len(order), len(order), dtype=np.int64)
        np.minimum.at(least, roots, rank)
        pairs = _near_pairs(table, order[signed[order]], roots)
        linked = [(self._first_with.get(key, here[0]), there) for key, here in also.items() for there in here]
        more = np.array(linked, dtype=np.int64).reshape(-1, 2)
        ends = np.concatenate([np.stack([pairs.first, pairs.second], axis=1), more])
        units = np.sort(least[roots[ends]], axis=1)
        agreement = np.concatenate([pairs.agreement, np.ones(len(more))])
        sizes, apart = Counter(roots.tolist()), 0
        for first, second in order[units[np.lexsort((units[:, 1], units[:, 0], -agreement))]].tolist():
            low, high = sorted((self._root(first), self._root(second)))
            if low == high:
                continue
            if sizes[low] + sizes[high] > most:
                apart += 1
                continue
            self._parents[high] = low
            sizes[low] += sizes.pop(high)
        return apart

    def units(self) -> dict[bytes, list[int]]:
        """The positions that stay together, under the smallest `draw` of any of them: independent of their order."""
        members: dict[int, list[int]] = {}
        for position, draw in enumerate(self._draws):
            if draw is not None:
                members.setdefault(self._root(position), []).append(position)
        return {min(draw for p in unit if (draw := self._draws[p]) is not None): unit for unit in members.values()}

    def num_inputs(self, positions: Iterable[int]) -> int:
        """How many different inputs stand at some positions."""
        return len({self._inputs[position] for position in positions})

    def is_in(self, position: int) -> bool:
        """Whether a position belongs to a part."""
        return self._draws[position] is not None

    def _numbers(self) -> NDArray[np.uint64]:
        """A number per position that depends on its content only."""
        return np.array([int.from_bytes((draw or b"")[:8], "big") for draw in self._draws], dtype=np.uint64)

    def _root(self, position: int) -> int:
        while self._parents[position] != position:
            self._parents[position] = self._parents[self._parents[position]]
            position = self._parents[position]
        return position


def largest_group(counts: Iterable[int]) -> int:
    """How large a group of rows that are almost the same may grow, so that several of them fill a part.

    Args:
        counts: How many rows the parts shall get. Only the first counts, which does not change with the second.

    Returns:
        A tenth of the part, or 20 rows, but not more than the part.
    """
    count = next(iter(counts))
    return min(count, max(_SMALL_GROUP, count // 10))


def sample_of(rows: Iterable[Asked]) -> list[Asked]:
    """A thousand rows, chosen by their content, in bounded memory."""
    import heapq

    return heapq.nsmallest(NUM_SAMPLED, rows, key=lambda row: row.draw)


def stay_together(rows: Sequence[Asked], *, near: bool, most: int) -> tuple[dict[bytes, list[int]], int]:
    """Groups of rows that must stand on one side.

    Args:
        rows: What the rows ask.
        near: Whether rows that ask almost the same stay together, too.
        most: See `Together.join_near`.

    Returns:
        The positions of each group under a key that depends on its content only, and how many near pairs are apart.
    """
    together = Together()
    for row in rows:
        together.add(row.draw, row.keys[0])
    apart = together.join_near(rows, find_boilerplate(sample_of(rows)), most=most) if near else 0
    return together.units(), apart


def twins_of(rows: Sequence[Asked], others: Sequence[Asked], *, near: bool = True) -> list[int]:
    """Which rows ask the same as one of some others, or almost the same.

    Args:
        rows: What the rows ask.
        others: What the others ask.
        near: Whether almost counts.

    Returns:
        Positions in `rows`, ascending.
    """
    num_keys = None if near else 1
    taken = {key for other in others for key in other.keys[:num_keys]}
    found = {i for i, row in enumerate(rows) if not taken.isdisjoint(row.keys[:num_keys])}
    if near and others and rows:
        both = [*rows, *others]
        table, signed = _signatures(both, find_boilerplate(sample_of(both)))
        places = np.flatnonzero(signed)
        ours, theirs = places[places < len(rows)], places[places >= len(rows)]
        found.update(similar_to(table, ours, theirs, threshold=NEAR_THRESHOLD)[0].tolist())
    return sorted(found)


def _near_pairs(table: NDArray[np.uint16], places: NDArray[np.int64], units: NDArray[np.int64]) -> Pairs:
    """Pairs of alike positions among some, in whose order neighbours are chosen."""
    # Of positions that stay together and look alike, one is enough.
    looks = np.ascontiguousarray(table[places]).view(f"V{table.itemsize * table.shape[1]}").ravel()
    _, looks = np.unique(looks, return_inverse=True)
    _, first = np.unique(np.stack([units[places], looks], axis=1), axis=0, return_index=True)
    return similar_pairs(table, places[np.sort(first)], threshold=NEAR_THRESHOLD, neighbours=_NEIGHBOURS)


def _noted(rows: Iterable[Asked | None], also: dict[bytes, list[int]]) -> Iterator[Asked | None]:
    """Hands rows on, and notes the positions that ask something within their input."""
    for position, row in enumerate(rows):
        for key in row.keys[1:] if row is not None else ():
            also.setdefault(key, []).append(position)
        yield row


def _signatures(rows: Iterable[Asked | None], shared: Boilerplate) -> tuple[NDArray[np.uint16], NDArray[np.bool_]]:
    signed = [
        signatures([shared.of_own(own_text(one, shared)) if one is not None else [] for one in some])
        for some in _batches(rows)
    ]
    return np.concatenate([table for table, _ in signed]), np.concatenate([present for _, present in signed])


def _batches(rows: Iterable[Asked | None]) -> Iterator[list[Asked | None]]:
    rows = iter(rows)
    while batch := list(islice(rows, _BATCH_ROWS)):
        yield batch
