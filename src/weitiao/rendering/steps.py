"""Where the steps of an answer end in tokens."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

import numpy as np

from weitiao.data.example import Example
from weitiao.data.reading.rows import BadRow
from weitiao.rendering.chat import Leaf
from weitiao.rendering.items import TokenSequence
from weitiao.rendering.tokens import Encoder

STEP, NO_STEP = "step", -1.0
"""The column with the label of each step at the token that ends it, and what it has at all others."""


def with_steps(
    example: Example, leaf: Leaf, ids: Sequence[int], sequence: TokenSequence, encoder: Encoder
) -> TokenSequence:
    """A sequence with the column `step`. A step ends at the token that holds its last character, also where that token
    reaches over what follows; the last one ends with the answer, at the end-of-turn token.

    Args:
        example: With the steps of its last turn.
        leaf: The text in which that turn is learned.
        ids: The token ids of this text.
        sequence: What is left of them; steps that are cut off are left out.
        encoder: What made them.

    Raises:
        BadRow: The template does not print the answer as it is, two steps end in one token, none is left, or that
            cannot be known.
    """
    turn, content = leaf.learned[-1], str(example.messages[-1]["content"])
    found = leaf.text.find(content.strip(), turn.start)
    whole, begins = encoder.begins(leaf.text)
    if found < 0:
        raise BadRow("", "the chat template does not print the answer as its steps are written")
    if whole != ids:
        raise BadRow("", "a token reaches over the beginning of an answer, so its steps cannot be found in tokens")
    found -= len(content) - len(content.lstrip())
    ends = [bisect_right(begins, found + end - 1) - 1 for end, _ in example.steps[:-1]] + [len(ids) - 1]
    if any(one >= other for one, other in pairwise(ends)):
        raise BadRow("", "two of its steps end in the same token: another objective.separator would keep them apart")
    column = np.full(len(ids), NO_STEP, np.float32)
    column[ends] = [label for _, label in example.steps]
    if ends[0] >= len(sequence):
        raise BadRow("", f"its first step is longer than {len(sequence):,} tokens")
    return replace(sequence, columns={STEP: column[: len(sequence)]})
