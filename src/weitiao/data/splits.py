"""Which rows are trained on and which are held out, as a pure function of their content and a seed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import NamedTuple

from weitiao.data.example import Example

_DIGEST_BYTES = 16


class Keyed(NamedTuple):
    """An example with the digest of its input."""

    key: bytes
    example: Example


@dataclass(frozen=True, slots=True)
class Overlap:
    """Rows with the same input in two parts, which only happens with parts that have files of their own.

    Attributes:
        part: The one part.
        rows: How many of its rows have an input that the other part has too.
        other: The other part.
        other_rows: How many of its rows have an input that the one part has too.
    """

    part: str
    rows: int
    other: str
    other_rows: int

    def __str__(self) -> str:
        return f"{self.rows:,} rows of {self.part} have the same input as {self.other_rows:,} rows of {self.other}"


def input_key(example: Example) -> bytes:
    """A digest of what a model is given: two rows with the same one must not stand on two sides of a split.

    Args:
        example: A conversation, whose turns before the last answer count (all turns, if it begins with the answer),
            or raw text, which counts as a whole.

    Returns:
        16 bytes; the same for inputs that differ in upper and lower case or in white space only.
    """
    turns = example.prompt or example.messages
    parts = [[m["role"], _folded(m["content"]), m.get("tool_calls")] for m in turns] or _folded(example.text)
    text = json.dumps(parts, default=str)
    return hashlib.blake2b(text.encode(), digest_size=_DIGEST_BYTES).digest()


def _folded(text: str) -> str:
    return " ".join(text.casefold().split())


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


def hold_out(rows: Sequence[Keyed], counts: Sequence[int], *, seed: int) -> list[list[Keyed]]:
    """Takes parts from a set of rows, with rows of the same input kept together.

    Groups of equal input are gone through in seeded order, and a part takes each group that still fits its count.
    A part is therefore smaller than asked for only when no remaining group fits.

    Args:
        rows: The rows of all sources.
        counts: How many rows each part shall get.
        seed: The recipe's seed.

    Returns:
        The rows of each part in their order, and last those that no part took.
    """
    groups: dict[bytes, list[int]] = {}
    for position, row in enumerate(rows):
        groups.setdefault(row.key, []).append(position)
    inputs = list(groups)
    remaining = [groups[inputs[i]] for i in seeded_order(inputs, seed=seed, purpose="split")]
    parts: list[list[int]] = []
    for count in counts:
        part: list[int] = []
        left: list[list[int]] = []
        for group in remaining:
            if len(part) + len(group) <= count:
                part += group
            else:
                left.append(group)
        parts.append(part)
        remaining = left
    parts.append([position for group in remaining for position in group])
    return [[rows[position] for position in sorted(part)] for part in parts]


def find_overlaps(parts: Mapping[str, Sequence[Keyed]]) -> tuple[Overlap, ...]:
    """Counts the rows whose input stands in another part, too.

    Args:
        parts: The rows of each part by its name.

    Returns:
        One entry for each pair of parts that share an input.
    """
    found = []
    for part, other in combinations(parts, 2):
        shared = {row.key for row in parts[part]} & {row.key for row in parts[other]}
        if shared:
            counts = [sum(row.key in shared for row in parts[name]) for name in (part, other)]
            found.append(Overlap(part, counts[0], other, counts[1]))
    return tuple(found)
