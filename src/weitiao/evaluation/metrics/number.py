"""The metric `number`: the number of an answer, compared by its value."""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Sequence
from typing import Any

from weitiao.errors import DataError
from weitiao.evaluation.metrics.base import Item, Metric

_MARK = "####"
"""In GSM8K (https://arxiv.org/abs/2110.14168) the number after this is the answer."""

_RELATIVE_TOLERANCE = 1e-9  # two ways to write one number may differ by rounding
_MIXED = re.compile(r"(?<=\d)(?=[¼-¾⅐-⅞]|\\[dt]?frac)")
_LATEX_FRACTION = re.compile(r"\\[dt]?frac\s*\{\s*([^{}]+?)\s*\}\s*\{\s*([^{}]+?)\s*\}")


class Number(Metric):
    """Right when the number of the answer is the number of the expected answer.

    Args:
        name: What the score is called.
        tolerance: By how much the two may differ.
        decimal_comma: Whether the comma separates decimals and the point thousands.
    """

    def __init__(self, name: str, *, tolerance: float, decimal_comma: bool) -> None:
        super().__init__(name)
        self.tolerance = tolerance
        self._decimal, self._thousands = ",." if decimal_comma else ".,"
        self._pattern = _pattern(self._decimal, self._thousands)

    def grade(self, item: Item) -> float:
        expected, answer = self._expected(item), self.extract(item.answer)
        if answer is None or not math.isfinite(answer):
            return 0.0
        slack = _RELATIVE_TOLERANCE * max(abs(answer), abs(expected))
        return float(abs(answer - expected) <= self.tolerance + slack)

    def check(self, item: Item) -> None:
        self._expected(item)

    def details(self, items: Sequence[Item], grades: Sequence[float]) -> dict[str, Any]:
        return {"num_without_number": sum(self.extract(item.answer) is None for item in items)}

    def extract(self, text: str) -> float | None:
        """The number that a text gives as its answer: the one right behind `####`, else the last one.

        Signs, thousands separators, currencies, decimals, exponents, fractions (`3/4`, `1 1/2`, `½`, also in LaTeX)
        and full-width digits are read; a percent sign does not change the value.
        """
        text = unicodedata.normalize("NFKC", _MIXED.sub(" ", text)).replace("{,}", ",")
        text = _LATEX_FRACTION.sub(r"\1/\2", text.replace("\N{FRACTION SLASH}", "/").replace("\N{MINUS SIGN}", "-"))
        for part in text.split(_MARK)[1:]:
            found = self._pattern.search(part)
            if found and not re.search(r"\w", part[: found.start()]):  # a Markdown heading has words there
                return self._value(found)
        values = [self._value(found) for found in self._pattern.finditer(text)]
        return values[-1] if values else None

    def _expected(self, item: Item) -> float:
        value = self.extract(item.expected)
        if value is None:
            raise DataError(
                f"{item.row_id}: the expected answer has no number for the metric {self.name}: {item.expected[:60]!r}",
                "Correct or remove the row, or choose another metric.",
            )
        return value

    def _value(self, found: re.Match[str]) -> float:
        value = self._plain(found["number"])
        if found["denominator"] is not None and (divisor := self._plain(found["denominator"])):
            value = float(found["whole"] or 0) + value / divisor
        return -value if "-" in (found["sign"], found["inner"]) else value

    def _plain(self, digits: str) -> float:
        return float(digits.replace(self._thousands, "").replace(self._decimal, "."))


def _pattern(decimal: str, thousands: str) -> re.Pattern[str]:
    """A number in running text, with the groups `sign`, `inner` (a sign after the currency), `whole` (of a mixed
    number), `number` and `denominator`. A minus behind a letter, a digit or a bracket is no sign."""
    decimal, thousands = re.escape(decimal), re.escape(thousands)
    digits = rf"(?:\d{{1,3}}(?:{thousands}\d{{3}})+(?!\d)|\d+)(?:{decimal}\d+)?"
    fraction = rf"\s*/\s*(?P<denominator>{digits})(?!\d|\s*/)"  # not a date
    return re.compile(
        rf"(?<![A-Za-z0-9_])(?<!\d{decimal})(?<!\d/)"  # not within a word, a version number or a date
        rf"(?:(?<![)\]])(?P<sign>[-+]))?(?:[$€£¥₹]\s?(?P<inner>-)?)?"
        rf"(?:(?P<whole>\d+)\s+(?=\d+\s*/\s*\d))?"
        rf"(?P<number>(?:{digits}|{decimal}\d+)(?:[eE][-+]?\d+)?)(?:{fraction})?"
    )
