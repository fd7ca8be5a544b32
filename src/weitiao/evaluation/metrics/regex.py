"""The metric `regex`: what a user's pattern finds in the answer."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Literal

from pydantic import Field, PrivateAttr, field_validator

from weitiao.evaluation.metrics.base import Item, Metric
from weitiao.evaluation.metrics.normalize import normalized


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
