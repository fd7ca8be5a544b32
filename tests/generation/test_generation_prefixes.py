"""What is kept of earlier sequences: the longest beginning is found, memory stays bounded, the oldest goes first."""

from __future__ import annotations

import random

import numpy as np
import torch
from torch import nn

from weitiao.generation.parts import Part, Prefix
from weitiao.generation.prefixes import BLOCK, Prefixes

LAYER = nn.Identity()


def kept(length: int) -> Prefix:
    """Of 2 key heads of 4 numbers: 64 bytes a token."""
    prefix = Prefix(length)
    prefix.fill(LAYER, torch.zeros(2, length, 4), torch.zeros(2, length, 4))
    return prefix


def test_the_longest_known_beginning_is_found() -> None:
    rng = random.Random(0)
    stems = [[rng.randrange(9) for _ in range(rng.choice([40, 70, 100]))] for _ in range(4)]
    sequences = [rng.choice(stems) + [rng.randrange(9) for _ in range(rng.randrange(1, 60))] for _ in range(60)]
    store, known = Prefixes(2**30), list[list[int]]()
    for tokens in sequences:
        parts = store.find("it", np.array(tokens))
        found = sum(part.length for part in parts)
        longest = 0
        for other in known:
            common = next((i for i, (a, b) in enumerate(zip(tokens, other, strict=False)) if a != b), len(other))
            common = min(common, len(tokens) - 1)
            longest = max(longest, common if common == len(other) else common // BLOCK * BLOCK)
        assert found == longest
        assert store.find("another", np.array(tokens)) == ()
        rest = len(tokens) - found
        store.put("it", np.array(tokens), (*parts, Part(kept(rest), rest)))
        known.append(tokens)
    assert store.nbytes < 64 * sum(map(len, sequences)), "beginnings are kept once"


def test_sequences_that_share_a_beginning_share_the_same_piece_of_it() -> None:
    store, stem = Prefixes(2**30), list(range(100))
    first = Part(kept(110), 110)
    store.put("it", np.array([*stem, *[7] * 10]), (first,))
    for more in ([1, 2], [7, 7, 1], [8, 8]):
        (part,) = store.find("it", np.array([*stem, *more]))
        assert part == Part(first.prefix, 96)


def test_memory_is_bounded_and_what_was_not_used_for_longest_goes() -> None:
    store = Prefixes(64 * 100)
    names = [np.full(40, number) for number in range(3)]
    for tokens in names[:2]:
        store.put("it", tokens, (Part(kept(40), 40),))
    longer = np.append(names[0], [5, 6])
    assert store.find("it", longer)  # used again
    store.put("it", names[2], (Part(kept(40), 40),))
    assert store.nbytes <= 64 * 100
    assert store.find("it", longer)
    assert not store.find("it", np.append(names[1], [5, 6]))
    store.forget("it")
    assert store.nbytes == 0
    nothing = Prefixes(0)
    nothing.put("it", names[0], (Part(kept(40), 40),))
    assert nothing.nbytes == 0
