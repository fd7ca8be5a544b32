"""Settings of the metrics that compare texts, labels and numbers."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Literal

from pydantic import Field, field_validator

from weitiao.evaluation.metrics.config_base import MetricConfigBase, Normalize, Setting

if TYPE_CHECKING:
    from weitiao.evaluation.metrics.base import Metric


class ExactMatchConfig(MetricConfigBase):
    """Right when answer and expected answer are the same text."""

    type: Literal["exact_match"] = "exact_match"
    """The metric."""

    normalize: Normalize | None = None
    """What does not count in the comparison; `evaluate.normalize` when not given."""

    def build(self, setting: Setting) -> Metric:
        from weitiao.evaluation.metrics.matching import ExactMatch

        return ExactMatch(self.title, self.normalize or setting.normalize)


class NormalizedMatchConfig(MetricConfigBase):
    """Right when the words are the same: case, punctuation, articles, spaces and full-width forms do not count."""

    type: Literal["normalized_match"] = "normalized_match"
    """The metric."""

    def build(self, setting: Setting) -> Metric:
        from weitiao.evaluation.metrics.matching import NormalizedMatch

        return NormalizedMatch(self.title)


class ContainsConfig(MetricConfigBase):
    """Right when the words of the expected answer stand in the answer, one after the other."""

    type: Literal["contains"] = "contains"
    """The metric."""

    def build(self, setting: Setting) -> Metric:
        from weitiao.evaluation.metrics.matching import Contains

        return Contains(self.title)


class AccuracyConfig(MetricConfigBase):
    """The share of answers that are the expected label of a closed set."""

    type: Literal["accuracy"] = "accuracy"
    """The metric."""

    labels: tuple[str, ...] = ()
    """The closed set; the expected answers of the training and test rows when not given."""

    def build(self, setting: Setting) -> Metric:
        from weitiao.evaluation.metrics.labels import Accuracy

        return Accuracy(self.title, self.labels or setting.labels, setting.normalize)


class MacroF1Config(MetricConfigBase):
    """The mean of F1 over the labels of the test rows, each of equal weight."""

    type: Literal["macro_f1"] = "macro_f1"
    """The metric."""

    labels: tuple[str, ...] = ()
    """The closed set; the expected answers of the training and test rows when not given."""

    def build(self, setting: Setting) -> Metric:
        from weitiao.evaluation.metrics.labels import MacroF1

        return MacroF1(self.title, self.labels or setting.labels, setting.normalize)


class NumberConfig(MetricConfigBase):
    """Right when the number of the answer has exactly the expected value. It is the one behind `####`, else that in
    `\\boxed{}`, else the first behind "answer is" or "answer:", else the last one."""

    type: Literal["number"] = "number"
    """The metric."""

    tolerance: float = Field(default=0.0, ge=0, allow_inf_nan=False)
    """By how much the two may differ; 0 compares exact decimals, so 0.333 is not 1/3."""

    decimal_comma: bool = False
    """Whether `1.234,5` is meant, and not `1,234.5`."""

    def build(self, setting: Setting) -> Metric:
        from weitiao.evaluation.metrics.number import Number

        return Number(self.title, tolerance=self.tolerance, decimal_comma=self.decimal_comma)


class RegexConfig(MetricConfigBase):
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

    @field_validator("pattern")
    @classmethod
    def _compiles(cls, value: str) -> str:
        try:
            re.compile(value)
        except re.error as error:
            raise ValueError(f"is no valid regular expression: {error}") from error
        return value

    def build(self, setting: Setting) -> Metric:
        from weitiao.evaluation.metrics.regex import Regex

        return Regex(
            self.title, pattern=self.pattern, take=self.take, compare=self.compare, normalize=setting.normalize
        )
