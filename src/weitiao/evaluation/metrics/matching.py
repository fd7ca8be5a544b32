"""Metrics that look for the expected text in the answer: exact match, normalised match, contains, and a pattern."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Literal

from pydantic import Field, PrivateAttr, field_validator

from weitiao.evaluation.metrics.base import Item, Metric, Normalization, normalized, plain_words

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


class Regex(Metric):
    """Right when a pattern finds the expected answer in the answer."""

    type: Literal["regex"]
    """The metric."""

    pattern: str = Field(min_length=1)
    """A Python regular expression. Its first group counts, or the whole of it when it has none. What it finds in the
    answer is compared with what it finds in the expected answer, or with all of that when it finds nothing there."""

    take: Literal["first", "last"] = "first"
    """Which counts when the pattern is found more than once."""

    compare: bool = True
    """Whether what is found has to be the expected answer; without it, finding something is enough."""

    _compiled: re.Pattern[str] = PrivateAttr()

    @field_validator("pattern")
    @classmethod
    def _compiles(cls, value: str) -> str:
        try:
            re.compile(value)
        except re.error as error:
            raise ValueError(f"is no valid regular expression: {error}") from error
        return value

    def prepare(self) -> None:
        self._compiled = re.compile(self.pattern)

    def grade(self, item: Item) -> float:
        answer = self.extract(item.answer)
        if answer is None or not self.compare:
            return float(answer is not None)
        expected = self.extract(item.expected)
        expected = item.expected if expected is None else expected  # a bare label, where the answer is a sentence
        return float(normalized(answer, self._normalize) == normalized(expected, self._normalize))

    def details(self, items: Sequence[Item]) -> dict[str, Any]:
        return {"num_without_match": sum(self.extract(item.answer) is None for item in items)}

    def extract(self, text: str) -> str | None:
        """What the pattern finds in a text; None when it finds nothing."""
        found = list(self._compiled.finditer(text))
        if not found:
            return None
        match = found[0 if self.take == "first" else -1]
        return match[1] if self._compiled.groups and match[1] is not None else match[0]
