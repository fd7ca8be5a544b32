"""The metric `regex`: what a user's pattern finds in the answer."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Literal

from weitiao.evaluation.metrics.base import Item, Metric
from weitiao.evaluation.metrics.normalize import Normalization, normalized


class Regex(Metric):
    """Right when the pattern finds the expected answer in the answer.

    Args:
        name: What the score is called.
        pattern: What is searched for; its first group counts, or the whole of it when it has none.
        take: Which of several places counts.
        compare: Whether what is found has to be the expected answer; without it, finding something is enough.
        normalize: What does not count when the two are compared.
    """

    def __init__(
        self,
        name: str,
        *,
        pattern: str,
        take: Literal["first", "last"],
        compare: bool,
        normalize: Normalization,
    ) -> None:
        super().__init__(name)
        self._pattern = re.compile(pattern)
        self._take = take
        self._compare = compare
        self._normalize: Normalization = normalize

    def grade(self, item: Item) -> float:
        answer = self.extract(item.answer)
        if answer is None or not self._compare:
            return float(answer is not None)
        expected = self.extract(item.expected)
        expected = item.expected if expected is None else expected  # a bare label, where the answer is a sentence
        return float(normalized(answer, self._normalize) == normalized(expected, self._normalize))

    def details(self, items: Sequence[Item], grades: Sequence[float]) -> dict[str, Any]:
        return {"num_without_match": sum(self.extract(item.answer) is None for item in items)}

    def extract(self, text: str) -> str | None:
        """What the pattern finds in a text; None when it finds nothing."""
        found = list(self._pattern.finditer(text))
        if not found:
            return None
        match = found[0 if self._take == "first" else -1]
        return match[1] if self._pattern.groups and match[1] is not None else match[0]
