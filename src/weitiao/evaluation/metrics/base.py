"""What a metric is: its settings, a grade for each answer, and a score with its interval for all of them."""

from __future__ import annotations

import re
import unicodedata
from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

from pydantic import Field, PrivateAttr

from weitiao.config import Config
from weitiao.data.example import Message
from weitiao.errors import MissingExtraError
from weitiao.evaluation.paired import PairedDifference, paired_difference, paired_difference_of_sums
from weitiao.evaluation.statistics import CONFIDENCE, Estimate, Floats, mean, statistic_of_sums
from weitiao.paths import find_path


@dataclass(frozen=True, slots=True)
class Item:
    """An answer and what it is compared with.

    Attributes:
        answer: What the model wrote.
        expected: The answer that the row has.
        prompt: The turns that were asked.
        columns: The other columns of the row.
        row_id: The `Example.row_id`, for errors.
    """

    answer: str
    expected: str
    prompt: tuple[Message, ...] = ()
    columns: dict[str, Any] = field(default_factory=dict)
    row_id: str = ""


@dataclass(frozen=True, slots=True)
class WholeSet:
    """A score that is made from sums over all items, and is not the mean of their grades.

    Attributes:
        items: What each item contributes to the sums [N, K].
        statistic: The score [B], 0 to 1, of sums [B, K].
    """

    items: Floats
    statistic: Callable[[Floats], Floats]


class BaseScore(Config):
    """A score that a recipe asks for: what it is called, and what it depends on."""

    name: str | None = Field(default=None, pattern=r"^[\w.:-]+$")
    """What the score is called in tables and files; the type (for a function: its name) when not given."""

    remote: ClassVar[bool] = False
    """Whether it asks a server in batches of `batch_size`; one that fails is not asked again for each answer."""

    packages: ClassVar[tuple[str, ...]] = ()
    """Packages of others that its grades depend on."""

    extra: ClassVar[str] = "eval"
    """The extra of weitiao that they come with."""

    @property
    def files(self) -> tuple[Path, ...]:
        """Files whose content its grades depend on."""
        return ()

    @property
    def kind(self) -> str:
        """Its type."""
        return str(self.__dict__["type"])

    @property
    def title(self) -> str:
        """What the score is called."""
        return self.name or self.kind

    def located(self, folders: Sequence[Path]) -> Self:
        """The same with its paths looked up in these folders, in this order."""
        return self


class Metric(BaseScore):
    """Grades answers from 0 (wrong) to 1 (right). Its fields are its settings in a recipe; `build` makes it ready.

    A new metric is one file with a subclass of this, and one line in the union of `evaluation/config.py`.
    """

    _normalize: Normalization = PrivateAttr("whitespace")
    _labels: Sequence[str] = PrivateAttr(())

    def build(self, *, normalize: Normalization = "whitespace", labels: Sequence[str] = ()) -> Self:
        """The metric, ready to grade.

        Args:
            normalize: `evaluate.normalize`, for metrics that leave it open.
            labels: The expected answers of the training and test rows, for metrics of labels that leave them open.

        Raises:
            WeitiaoError: A file or a package that it needs is not there.
        """
        built = self.model_copy()
        built._normalize, built._labels = normalize, labels
        try:
            built.prepare()
        except ImportError as error:
            if not self.packages:
                raise
            raise MissingExtraError(f"The metric `{self.title}` (type {self.kind})", self.extra) from error
        return built

    def prepare(self) -> None:
        """Load what the metric needs, once."""

    def as_reward(self) -> Metric:
        """The same as a part of a reward: its numbers may have any size, and where it knows nothing it gives NaN."""
        return self

    @abstractmethod
    def grade(self, item: Item) -> float:
        """How good an answer is, 0 to 1.

        Raises:
            WeitiaoError: The row cannot be graded so; the message names it.
        """

    def grade_all(self, items: Sequence[Item]) -> list[float]:
        """The grades of many answers, for metrics that work faster on many at once."""
        return [self.grade(item) for item in items]

    def check(self, item: Item) -> None:
        """Refuse a row whose expected answer this metric cannot use, before time is spent on answers.

        Args:
            item: The row, with an empty answer.

        Raises:
            WeitiaoError: The row cannot be graded so; the message names it.
        """

    def whole_set(self, items: Sequence[Item]) -> WholeSet | None:
        """What the score of the whole set is made from; None where it is the mean of the grades."""
        return None

    def estimate(self, items: Sequence[Item], grades: Sequence[float], *, confidence: float = CONFIDENCE) -> Estimate:
        """The score of the whole set with its interval.

        Args:
            items: At least one.
            grades: Their grades.
            confidence: Of the interval.
        """
        whole = self.whole_set(items)
        if whole is None:
            return mean(grades, confidence=confidence)
        return statistic_of_sums(whole.items, whole.statistic, confidence=confidence)

    def difference(
        self, items: tuple[Sequence[Item], Sequence[Item]], grades: tuple[Sequence[float], Sequence[float]]
    ) -> PairedDifference:
        """How much better B is than A in the score of the whole set.

        Args:
            items: The answers of A and of B to the same rows in the same order.
            grades: Their grades.
        """
        before, after = (self.whole_set(answers) for answers in items)
        if before is None or after is None:
            return paired_difference(*grades)
        return paired_difference_of_sums(before.items, after.items, before.statistic, grades=grades)

    def details(self, items: Sequence[Item]) -> dict[str, Any]:
        """What else is worth knowing about the grades, as plain JSON values."""
        return {}


def find_or_keep(path: Path, folders: Sequence[Path]) -> Path:
    """The path in the first folder that has it, made absolute; the path as it is when none has."""
    return find_path(path, folders) or path


Normalization = Literal["none", "whitespace", "casefold"]

KANA = r"\u3040-\u30ff"
HAN = r"\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
"""Ranges of characters for regular expressions: Japanese syllables, and Chinese characters."""

_ARTICLES = frozenset({"a", "an", "the"})
_SYMBOLS = frozenset("$+<=>^`|~")  # with those that Unicode calls punctuation, the ones of ASCII
_OF_NUMBERS = re.compile(r"(?<=\d)\.(?=\d)|(?<!\w)-(?=\d)")
_SPACE_BESIDE_HAN = re.compile(rf"(?<=[{KANA}{HAN}]) | (?=[{KANA}{HAN}])")


def normalized(text: str, normalization: Normalization) -> str:
    """What of an answer counts in the comparison.

    Args:
        text: An answer.
        normalization: `none` leaves it; `whitespace` strips both ends and brings equivalent Unicode spellings to one
            (NFC: an accented letter as one code point or as two is the same text); `casefold` also ignores case, as
            the caseless match of the Unicode Standard, section 3.13, does.
    """
    if normalization == "none":
        return text
    text = text.strip()
    if normalization == "casefold":
        text = unicodedata.normalize("NFD", text).casefold()
    return unicodedata.normalize("NFC", text)


def plain_words(text: str) -> str:
    """A text reduced to its words: no case, no punctuation, no English articles, single spaces.

    After the evaluation script of SQuAD (P. Rajpurkar et al., https://arxiv.org/abs/1606.05250), in any script:
    full-width and half-width forms are one (Unicode NFKC), punctuation is whatever Unicode calls so, and spaces beside
    Chinese characters and kana do not count. Unlike there, the point and the minus of a number stay, and a text that
    is nothing but articles (the choice `A`) stays too.
    """
    text = unicodedata.normalize("NFKC", text).casefold().replace("\N{MINUS SIGN}", "-")
    of_numbers = {found.start() for found in _OF_NUMBERS.finditer(text)}
    kept = "".join(c for place, c in enumerate(text) if place in of_numbers or not _is_punctuation(c))
    words = kept.split()
    return _SPACE_BESIDE_HAN.sub("", " ".join([word for word in words if word not in _ARTICLES] or words))


def _is_punctuation(character: str) -> bool:
    return character in _SYMBOLS or unicodedata.category(character).startswith("P")
