"""What a metric is: a grade for each answer, and a score with its interval for all of them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from weitiao.data.example import Message
from weitiao.evaluation.statistics import Estimate, mean


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


class Metric(ABC):
    """Grades answers from 0 (wrong) to 1 (right).

    Args:
        name: What the score is called in tables and files.
    """

    def __init__(self, name: str) -> None:
        self.name = name

    @abstractmethod
    def grade(self, item: Item) -> float:
        """How good an answer is, 0 to 1.

        Raises:
            WeitiaoError: The row cannot be graded so; the message names it.
        """

    def grade_all(self, items: Sequence[Item]) -> list[float]:
        """The grades of many answers, for metrics that work faster on many at once."""
        return [self.grade(item) for item in items]

    def check(self, item: Item) -> None:  # noqa: B027 - most metrics can use any row
        """Refuse a row whose expected answer this metric cannot use, before time is spent on answers.

        Args:
            item: The row, with an empty answer.

        Raises:
            WeitiaoError: The row cannot be graded so; the message names it.
        """

    def estimate(self, items: Sequence[Item], grades: Sequence[float]) -> Estimate:
        """The score of the whole set with its 95 % interval; the mean of the grades where a metric says nothing else.

        Args:
            items: At least one.
            grades: Their grades.
        """
        return mean(grades)

    def details(self, items: Sequence[Item], grades: Sequence[float]) -> dict[str, Any]:
        """What else is worth knowing about the grades, as plain JSON values."""
        return {}
