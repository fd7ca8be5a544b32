"""The metric `number`: the number of an answer, compared by its exact value."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence
from decimal import Decimal
from fractions import Fraction
from typing import Any, Literal

from pydantic import Field, PrivateAttr

from weitiao.errors import DataError
from weitiao.evaluation.metrics.base import Item, Metric

_MARK = "####"
"""In GSM8K (https://arxiv.org/abs/2110.14168) the number after this is the answer."""

_MOST_DIGITS_OF_EXPONENT = 4  # a number that is written in ten characters shall not fill the memory
_MINUS = str.maketrans(dict.fromkeys("\N{MINUS SIGN}\N{EN DASH}", "-") | {"\N{FRACTION SLASH}": "/"})
_MIXED = re.compile(r"(?<=\d)(?=[¼-¾⅐-⅞]|\\[dt]?frac)")
_LATEX_FRACTION = re.compile(r"\\[dt]?frac\s*\{\s*([^{}]+?)\s*\}\s*\{\s*([^{}]+?)\s*\}")
_LATEX_SPACE = re.compile(r"\\[,;:! ]|\{,\}(?=\d)")
_BOXED = re.compile(r"\\f?box(?:ed)?\s*\{((?:[^{}]|\{[^{}]*\})*)\}")
_ANSWER_IS = re.compile(
    r"\banswer\b[\s*_]*(?:(?:is|are|equals|would\s+be|will\s+be)\b(?!\s+not\b)|[:=])"
    r"|答案\s*(?:是|为|為|等于|[:=])",
    re.IGNORECASE,
)
_SENTENCE_END = re.compile(r"[.!?。!?](?=\s|$)|[。！？\n]")
_NEXT_QUESTION = re.compile(r"(?<=\S)\s*\n\s*(?:Q|Question|问题|问)\s*\d*\s*:", re.IGNORECASE)
_SUM_BEFORE_RESULT = re.compile(r"(?:\s*[-+*/×÷x·^]\s*[$€£¥₹(]?-?[\d.,]+\)?)+\s*=")
_RANGE = re.compile(r"\s*(?:-|~|to|至|到)\s*(?=[$€£¥₹]?\d)")
# Times and dates are no numbers.
_TIME_OR_DATE = r"\d{1,2}:\d\d(?::\d\d)?|\d{1,4}\s*/\s*\d{1,2}\s*/\s*\d{1,4}|\d{4}-\d\d-\d\d"


class Number(Metric):
    """Right when the number of the answer has exactly the expected value. It is the one behind `####`, else that in
    `\\boxed{}`, else the first behind "answer is" or "answer:", else the last one."""

    type: Literal["number"] = "number"
    """The metric."""

    tolerance: float = Field(default=0.0, ge=0, allow_inf_nan=False)
    """By how much the two may differ; 0 compares exact decimals, so 0.333 is not 1/3."""

    decimal_comma: bool = False
    """Whether `1.234,5` is meant, and not `1,234.5`."""

    _decimal: str = PrivateAttr()
    _thousands: str = PrivateAttr()
    _pattern: re.Pattern[str] = PrivateAttr()
    _no_number: re.Pattern[str] = PrivateAttr()

    def prepare(self) -> None:
        self._decimal, self._thousands = ",." if self.decimal_comma else ".,"
        self._pattern = _pattern(self._decimal, self._thousands)
        versions = "" if self.decimal_comma else r"|\d+(?:\.\d+){2,}"  # with a decimal comma that is 1.234.567
        self._no_number = re.compile(rf"(?<![\w.:/-])(?:{_TIME_OR_DATE}{versions})(?![\d/:]\d|\d)")

    def grade(self, item: Item) -> float:
        expected, answer = self._expected(item), self.extract(item.answer)
        tolerance = Fraction(Decimal(repr(self.tolerance)))  # 0.01 is one hundredth
        return float(answer is not None and abs(answer - expected) <= tolerance)

    def check(self, item: Item) -> None:
        self._expected(item)

    def details(self, items: Sequence[Item]) -> dict[str, Any]:
        return {"num_without_number": sum(self.extract(item.answer) is None for item in items)}

    def extract(self, text: str) -> Fraction | None:
        r"""The number that a text gives as its answer.

        It is the one right behind `####`, else the one in the last `\boxed{}`, else the first behind the last "answer
        is" (or "answer:", 答案是), else the last one. Signs, thousands separators, currencies, decimals, exponents,
        fractions (`3/4`, `1 1/2`, `½`, also in LaTeX) and full-width digits are read; a percent sign or a unit does not
        change the value, and of a range the end counts. Times, dates and version numbers are no numbers. What follows
        the beginning of another question (`Q:`) is no part of the answer.
        """
        text = self._plain_text(text)
        if next_question := _NEXT_QUESTION.search(text):
            text = text[: next_question.start()]
        for value in self._marked(text):
            if value is not None:
                return value
        values = [value for found in self._pattern.finditer(text) if (value := self._value(found)) is not None]
        return values[-1] if values else None

    def _plain_text(self, text: str) -> str:
        """The text with one spelling of digits, minus and fractions, and without what looks like a number."""
        text = _LATEX_SPACE.sub(lambda found: "," if found[0] == "{,}" else " ", _MIXED.sub(" ", text))
        text = unicodedata.normalize("NFKC", text.translate(_MINUS)).translate(_MINUS)
        return self._no_number.sub("_", _LATEX_FRACTION.sub(r"\1/\2", text))

    def _marked(self, text: str) -> Iterator[Fraction | None]:
        """The numbers that the text marks as its answer, the best mark first."""
        for part in text.split(_MARK)[1:]:
            boxed = _BOXED.match(part.strip())
            found = self._pattern.search(part)
            if boxed or (found and not re.search(r"\w", part[: found.start()])):  # a Markdown heading has words there
                yield self._first(boxed[1] if boxed else part)
        for found in reversed(list(_BOXED.finditer(text))):
            yield self._first(found[1])
        for found in reversed(list(_ANSWER_IS.finditer(text))):
            rest = text[found.end() :].lstrip(" \t\r\n*_:")
            yield self._first(_SENTENCE_END.split(rest, maxsplit=1)[0])

    def _first(self, clause: str) -> Fraction | None:
        """The first number of a clause; of a sum that is worked out its result, of a range its end."""
        found = self._pattern.search(clause)
        if found is None:
            return None
        further = _SUM_BEFORE_RESULT.match(clause, found.end()) or _RANGE.match(clause, found.end())
        if further and (result := self._pattern.search(clause, further.end())):
            found = result
        return self._value(found)

    def _expected(self, item: Item) -> Fraction:
        value = self.extract(item.expected)
        if value is None:
            raise DataError(
                f"{item.row_id}: the expected answer has no number for the metric {self.title}: {item.expected[:60]!r}",
                "Correct or remove the row, or choose another metric.",
            )
        return value

    def _value(self, found: re.Match[str]) -> Fraction | None:
        value = self._exact(found["number"], odd=found["odd"] is not None)
        if value is None:
            return None
        if found["denominator"] is not None and (divisor := self._exact(found["denominator"])):
            value = Fraction(found["whole"] or 0) + value / divisor
        return -value if "-" in (found["sign"], found["inner"]) else value

    def _exact(self, digits: str, *, odd: bool = False) -> Fraction | None:
        """The exact value, whatever the number of digits; None for exponents beyond all measure."""
        if odd:  # the other mark separates the decimals, because it cannot separate thousands
            digits = digits.replace(self._thousands, ".")
        else:
            digits = re.sub(rf"[{re.escape(self._thousands)}\s]", "", digits).replace(self._decimal, ".")
        exponent = re.split("[eE]", digits)[1:]
        if exponent and len(exponent[0].lstrip("+-0")) > _MOST_DIGITS_OF_EXPONENT:
            return None
        return Fraction(Decimal(digits))


def _pattern(decimal: str, thousands: str) -> re.Pattern[str]:
    """A number in running text, with the groups `sign`, `inner` (a sign after the currency), `whole` (of a mixed
    number), `number`, `odd` (decimals behind the mark of thousands: `12,5`) and `denominator`. A minus behind a letter,
    a digit or a bracket is no sign."""
    point, comma = re.escape(decimal), re.escape(thousands)
    grouped = rf"[1-9]\d{{0,2}}(?:(?:{comma}\d{{3}})+|(?: \d{{3}})+)(?!\d)"
    digits = rf"(?:{grouped}|\d+)(?:{point}\d+)?"
    no_thousands = rf"0{comma}\d+|\d+{comma}(?:\d{{1,2}}|\d{{4,}})|\d{{4,}}{comma}\d{{3}}"
    odd = rf"(?<!\d{comma})(?:{no_thousands})(?!\d|{comma}\d|{point}\d)"
    fraction = rf"\s*/\s*(?P<denominator>{digits})(?!\d|\s*/)"
    return re.compile(
        rf"(?<![A-Za-z0-9_])(?<!\d{point})(?<!\d/)"  # not within a word or a fraction
        rf"(?:(?<![)\]])(?P<sign>[-+]))?(?:[$€£¥₹]\s?(?P<inner>-)?)?"
        rf"(?:(?P<whole>\d+)\s+(?=\d+\s*/\s*\d))?"
        rf"(?P<number>(?:(?P<odd>{odd})|{digits}|{point}\d+)(?:[eE][-+]?\d+)?)(?:{fraction})?"
    )
