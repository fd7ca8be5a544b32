"""Which rows are trained on and which are held out, as a pure function of their content and a seed."""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any, NamedTuple

from weitiao.data.doctor.keys import fold
from weitiao.data.example import Example, Message

_DIGEST_BYTES = 16
# `3 5` may be 3.5 or two numbers, but is not 35.
_SPACE = re.compile(r"(?<![0-9]) | (?![0-9])")


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
        return (
            f"{self.rows:,} rows of {self.part} have the same input as {self.other_rows:,} rows of {self.other} "
            "(apart from case, punctuation and white space)"
        )


def input_key(example: Example) -> bytes:
    """A digest of what a model is given: two rows with the same one must not stand on two sides of a split.

    Args:
        example: A conversation, whose turns before the last answer count (all turns, if it begins with the answer),
            or raw text, which counts as a whole.

    Returns:
        16 bytes; the same for inputs that differ in case, punctuation or white space only: `don't` is `dont`, and
        `top-up` is `top up` and `topup`.
    """
    turns = example.prompt or example.messages
    return turns_key(turns) if turns else text_key(example.text)


def turns_key(turns: Sequence[Message]) -> bytes:
    """The digest of turns that a model is given, apart from case, punctuation and white space in their content."""
    return digest([[m["role"], letters(m["content"]), m.get("tool_calls")] for m in turns])


def text_key(text: str) -> bytes:
    """The digest of raw text, apart from case, punctuation and white space."""
    return digest(letters(text))


def letters(text: str) -> str:
    """What `fold` leaves of a text, without the spaces between words."""
    return _SPACE.sub("", fold(text))


def digest(value: Any) -> bytes:
    """16 bytes that stand for a value of JSON."""
    return hashlib.blake2b(json.dumps(value, default=str).encode(), digest_size=_DIGEST_BYTES).digest()


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
    parts = choose_groups(groups, [Counter({"": count}) for count in counts], seed=seed)
    return [[rows[position] for position in part] for part in parts]


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
