"""Metrics of an answer by itself, for rewards above all: its length, how much it repeats itself, its language."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import ClassVar, Literal

from pydantic import Field, PrivateAttr, model_validator

from weitiao.evaluation.metrics.base import HAN, KANA, Item, Metric
from weitiao.quality.language import Identifier, language_of, load_identifier

_WORDS = re.compile(rf"[{KANA}{HAN}]|[^\W{KANA}{HAN}]+")
"""A Chinese character or a kana counts as a word."""


def words_of(text: str) -> Sequence[str]:
    """The words of a text in small letters, without punctuation."""
    return _WORDS.findall(text.casefold())


class Length(Metric):
    """1 for an answer within a band of lengths; outside it falls to 0 along a line."""

    type: Literal["length"]
    """The metric."""

    least: int = Field(default=0, ge=0)
    """The shortest answer that is graded 1."""

    most: int | None = Field(default=None, ge=1)
    """The longest one; None sets no limit."""

    slack: int = Field(default=0, ge=0)
    """How far outside of the band the grade reaches 0; with 0 at once."""

    unit: Literal["words", "characters"] = "words"
    """What is counted. A Chinese character is a word."""

    @model_validator(mode="after")
    def _agree(self) -> Length:
        if self.most is not None and self.most < self.least:
            raise ValueError(f"most={self.most} is less than least={self.least}")
        return self

    def grade(self, item: Item) -> float:
        length = len(words_of(item.answer) if self.unit == "words" else item.answer.strip())
        above = 0 if self.most is None else length - self.most
        outside = max(self.least - length, above, 0)
        return float(outside == 0) if not self.slack else max(0.0, 1 - outside / self.slack)


class Repetition(Metric):
    """The share of an answer's runs of words that stand in it for the first time; 1 repeats nothing."""

    type: Literal["repetition"]
    """The metric."""

    words: int = Field(default=3, ge=1)
    """Words of a run."""

    def grade(self, item: Item) -> float:
        words = words_of(item.answer)
        runs = [tuple(words[start : start + self.words]) for start in range(len(words) - self.words + 1)]
        return len(set(runs)) / len(runs) if runs else 1.0


class Language(Metric):
    """Right when an answer of four words or more is in a language; a shorter one when it is in its script."""

    packages: ClassVar[tuple[str, ...]] = ("py3langid",)
    extra: ClassVar[str] = "data"

    type: Literal["language"]
    """The metric."""

    code: str = Field(pattern="^[a-z]{2}$")
    """ISO 639-1: `en`, `zh`, ..."""

    _identify: Identifier = PrivateAttr()

    def prepare(self) -> None:
        self._identify = load_identifier()

    def grade(self, item: Item) -> float:
        return float(language_of(item.answer, self._identify) == self.code)
