"""Which rows must stay together, and how many of each label a part of a split gets."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Mapping, Sequence


class Links:
    """Positions that must stay together, because they share an input or a group (a union-find)."""

    def __init__(self) -> None:
        self._parents: list[int] = []
        self._keys: list[bytes | None] = []
        self._first_with: dict[Hashable, int] = {}

    def add(self, key: bytes | None, *, group: str | None = None) -> None:
        """Adds the next position.

        Args:
            key: The digest of its input; None for a position that belongs to no part.
            group: What else it may share with others.
        """
        position = len(self._parents)
        self._parents.append(position)
        self._keys.append(key)
        if key is None:
            return
        for link in (key, group):
            if link is not None:
                self._join(self._first_with.setdefault(link, position), position)

    def units(self) -> dict[bytes, list[int]]:
        """The positions that stay together, under the smallest digest of any of them: independent of their order."""
        members: dict[int, list[int]] = {}
        for position, key in enumerate(self._keys):
            if key is not None:
                members.setdefault(self._root(position), []).append(position)
        return {min(key for p in unit if (key := self._keys[p]) is not None): unit for unit in members.values()}

    def num_inputs(self, positions: Sequence[int]) -> int:
        """How many different inputs stand at some positions."""
        return len({self._keys[position] for position in positions})

    def _root(self, position: int) -> int:
        while self._parents[position] != position:
            self._parents[position] = self._parents[self._parents[position]]
            position = self._parents[position]
        return position

    def _join(self, one: int, other: int) -> None:
        roots = sorted((self._root(one), self._root(other)))
        self._parents[roots[1]] = roots[0]


def stratified_quotas(counts: Sequence[int], sizes: Mapping[str, int]) -> list[Counter[str]]:
    """Divides the rows of each part among the labels, as all rows divide among them.

    Args:
        counts: How many rows each part shall get; fewer in all than there are rows.
        sizes: How many rows each label has.

    Returns:
        For each part the rows of each label: the exact share rounded up or down, the largest remainders up, as long
        as every label keeps a row that no part takes. A part gets fewer rows than its count only when all labels are
        down to that one row.
    """
    total = sum(sizes.values())
    free = Counter({label: size - 1 for label, size in sizes.items()})
    quotas = []
    for count in counts:
        exact = {label: count * size / total for label, size in sizes.items()}
        quota = Counter({label: min(int(part), free[label]) for label, part in exact.items()})
        order = sorted(exact, key=lambda label: (quota[label] - exact[label], label))
        while (missing := count - quota.total()) > 0:
            open_labels = [label for label in order if quota[label] < free[label]][:missing]
            if not open_labels:
                break
            quota.update(open_labels)
        free.subtract(quota)
        quotas.append(quota)
    return quotas
