"""Metrics that compare the answer with the expected text: exact match, normalised match, contains."""

from __future__ import annotations

from typing import Literal

from weitiao.evaluation.metrics.base import Item, Metric
from weitiao.evaluation.metrics.normalize import Normalization, normalized, plain_words

_FIRST_HAN = "\u2e80"  # from here on a word has no visible end


class ExactMatch(Metric):
    """Right when answer and expected answer are the same text."""

    type: Literal["exact_match"] = "exact_match"
    """The metric."""

    normalize: Normalization | None = None
    """What does not count in the comparison; `evaluate.normalize` when not given."""

    def grade(self, item: Item) -> float:
        how = self.normalize or self._normalize
        return float(normalized(item.answer, how) == normalized(item.expected, how))


class NormalizedMatch(Metric):
    """Right when the words are the same: case, punctuation, articles, spaces and full-width forms do not count."""

    type: Literal["normalized_match"] = "normalized_match"
    """The metric."""

    def grade(self, item: Item) -> float:
        return float(plain_words(item.answer) == plain_words(item.expected))


class Contains(Metric):
    """Right when the words of the expected answer stand in the answer, one after the other."""

    type: Literal["contains"] = "contains"
    """The metric."""

    def grade(self, item: Item) -> float:
        expected = plain_words(item.expected)
        if not expected:  # nothing but punctuation
            return float(item.expected.strip() in item.answer)
        return float(_stands_in(expected, plain_words(item.answer)))


def _stands_in(part: str, text: str) -> bool:
    """Whether the part is in the text, not cut out of a longer word or number of Latin letters and digits."""
    start = text.find(part)
    while start >= 0:
        end = start + len(part)
        if not (_continues(text[:start], part) or _continues(part, text[end:])):
            return True
        start = text.find(part, start + 1)
    return False


def _continues(left: str, right: str) -> bool:
    """Whether a word or a number goes on from the end of one text to the beginning of the other."""
    pair = left[-1:] + right[:1]
    return len(pair) == 2 and all(c in ".-" or (c.isalnum() and c < _FIRST_HAN) for c in pair)
