"""Which rows are trained on and which are held out, as a pure function of their content and a seed."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import NamedTuple

from weitiao.data.example import Example
from weitiao.data.parts.asked import Asked
from weitiao.data.parts.together import largest_group, stay_together, twins_of

_DIGEST_BYTES = 16


class Keyed(NamedTuple):
    """An example and what it asks."""

    asked: Asked
    example: Example


@dataclass(frozen=True, slots=True)
class Overlap:
    """Rows of two parts that ask the same.

    Attributes:
        part: The one part.
        rows: How many of its rows ask what a row of the other part asks.
        other: The other part.
        other_rows: How many of its rows ask what a row of the one part asks.
        near: Whether rows that ask almost the same are counted, too.
    """

    part: str
    rows: int
    other: str
    other_rows: int
    near: bool = False

    def __str__(self) -> str:
        same = "the same or almost the same input" if self.near else "the same input"
        return (
            f"{self.rows:,} rows of {self.part} have {same} as {self.other_rows:,} rows of {self.other} "
            "(apart from case, punctuation and white space)"
        )


def seeded_order(keys: Sequence[bytes], *, seed: int, purpose: str) -> list[int]:
    """Shuffles by content: the order depends on the keys and the seed, not on where the rows stand in a file.

    Args:
        keys: One per row; equal keys keep their order.
        seed: The recipe's seed.
        purpose: What the order is for, so that two uses of one seed do not choose the same rows.

    Returns:
        The positions in `keys`, shuffled.
    """
    salt = f"{purpose}:{seed}:".encode()
    return sorted(range(len(keys)), key=lambda i: hashlib.blake2b(salt + keys[i], digest_size=_DIGEST_BYTES).digest())


class HeldOut(NamedTuple):
    """What was taken from a set of rows.

    Attributes:
        parts: The rows of each part in their order, and last those that no part took.
        apart: Pairs of rows that ask almost the same and may stand on two sides, since their group would be too large.
    """

    parts: list[list[Keyed]]
    apart: int


def hold_out(rows: Sequence[Keyed], counts: Sequence[int], *, seed: int, near: bool = True) -> HeldOut:
    """Takes parts from a set of rows, with rows that ask the same kept together.

    Args:
        rows: The rows of all sources.
        counts: How many rows each part shall get.
        seed: The recipe's seed.
        near: Whether rows that ask almost the same are kept together, too.
    """
    if not counts:
        return HeldOut([list(rows)], 0)
    groups, apart = stay_together([row.asked for row in rows], near=near, most=largest_group(counts))
    parts = choose_groups(groups, [Counter({"": count}) for count in counts], seed=seed)
    return HeldOut([[rows[position] for position in part] for part in parts], apart)


def choose_groups(
    groups: Mapping[bytes, Sequence[int]],
    quotas: Sequence[Counter[str]],
    *,
    seed: int,
    labels: Sequence[str] | None = None,
) -> list[list[int]]:
    """Takes parts from groups of rows that must stay together.

    Groups are gone through in seeded order, and a part takes each group that still fits its quotas. A part is
    therefore smaller than asked for only when no remaining group fits.

    Args:
        groups: The positions of the rows of each group, by a key that depends on their content only.
        quotas: For each part, how many rows of each label it shall get.
        seed: The seed.
        labels: The label of each position; without it every row has the label "".

    Returns:
        The positions of each part in ascending order, and last those that no part took.
    """
    keys = list(groups)
    remaining = [groups[keys[i]] for i in seeded_order(keys, seed=seed, purpose="split")]
    parts: list[list[int]] = []
    for quota in quotas:
        room = dict(quota)
        part: list[int] = []
        left: list[Sequence[int]] = []
        for group in remaining:
            needed = Counter(labels[position] for position in group) if labels is not None else {"": len(group)}
            if all(room.get(label, 0) >= count for label, count in needed.items()):
                part += group
                for label, count in needed.items():
                    room[label] -= count
            else:
                left.append(group)
        parts.append(part)
        remaining = left
    parts.append([position for group in remaining for position in group])
    return [sorted(part) for part in parts]


def find_overlaps(parts: Mapping[str, Sequence[Keyed]], *, near: bool = False) -> tuple[Overlap, ...]:
    """Counts the rows that ask what a row of another part asks, too.

    Args:
        parts: The rows of each part by its name.
        near: Whether rows that ask almost the same count.

    Returns:
        One entry for each pair of parts that have such rows.
    """
    found = []
    asked = {name: [row.asked for row in rows] for name, rows in parts.items()}
    for part, other in combinations(parts, 2):
        rows = twins_of(asked[part], asked[other], near=near)
        if rows:
            other_rows = twins_of(asked[other], asked[part], near=near)
            found.append(Overlap(part, len(rows), other, len(other_rows), near))
    return tuple(found)


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
