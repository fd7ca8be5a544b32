"""The metric that a user wrote: a Python function in a file."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from numbers import Real
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

from pydantic import PrivateAttr, field_validator

from weitiao.errors import RecipeError
from weitiao.evaluation.metrics.base import Item, Metric, find_or_keep
from weitiao.user_code import REFERENCE, line_in, load_name, split

_SIGNATURE = "Write it as `def {name}(answer: str, expected: str, row: dict) -> float`"


class Function(Metric):
    """A Python function `(answer, expected, row)` that returns a number from 0 to 1, or whether the answer is right.

    `row` holds the row's columns, and `messages` (the turns that were asked) and `row_id` beside them. The code of the
    file runs with the rights of this program.
    """

    type: Literal["function"] = "function"
    """The metric."""

    path: str
    """File and function: `my.py:score`. A relative path is looked up in the recipe's folder, then in the current
    one."""

    range: ClassVar[tuple[float, float]] = (0.0, 1.0)

    _call: Callable[[str, str, dict[str, Any]], float | bool] = PrivateAttr()

    @field_validator("path")
    @classmethod
    def _names_both(cls, value: str) -> str:
        if REFERENCE.fullmatch(value) is None:
            raise ValueError("write it as FILE.py:FUNCTION")
        return value

    @property
    def title(self) -> str:
        """What the score is called."""
        return self.name or self.parts[1]

    @property
    def files(self) -> tuple[Path, ...]:
        """Files whose content its grades depend on."""
        return (self.parts[0],)

    @property
    def parts(self) -> tuple[Path, str]:
        """File and name of the function."""
        return split(self.path)

    def located(self, folders: Sequence[Path]) -> Self:
        path, function = self.parts
        return self.model_copy(update={"path": f"{find_or_keep(path, folders)}:{function}"})

    def prepare(self) -> None:
        path, function = self.parts
        self._call = load_name(path, function, remedy=self._remedy)

    @property
    def _remedy(self) -> str:
        numbers = ", with a result from 0 to 1." if self.range[1] == 1 else ", with a finite number as its result."
        return _SIGNATURE.format(name=self.parts[1]) + numbers

    def grade(self, item: Item) -> float:
        path, function = self.parts
        row = {**item.columns, "messages": list(item.prompt), "row_id": item.row_id}
        try:
            found = self._call(item.answer, item.expected, row)
        except Exception as error:
            raise RecipeError(
                f"{line_in(error, path)}: {function} failed on {item.row_id}: {type(error).__name__}: {error}",
                self._remedy,
            ) from error
        # numpy's scalars are numbers, too; its booleans are not registered as such
        grade = float(found) if isinstance(found, Real) or type(found).__name__ in ("bool", "bool_") else math.nan
        if not (math.isfinite(grade) and self.range[0] <= grade <= self.range[1]):
            numbers = "number from 0 to 1" if self.range[1] == 1 else "finite number"
            raise RecipeError(
                f"{path}: {function} returned {found!r} for {item.row_id}, not a {numbers}.", self._remedy
            )
        return grade

    def check(self, item: Item) -> None:
        """Grade the expected answer as if it were the model's: what is no grade mostly shows there already."""
        self.grade(replace(item, answer=item.expected))

    def as_reward(self) -> RewardFunction:
        return RewardFunction.model_validate(self.model_dump())


class RewardFunction(Function):
    """The same as a reward: its numbers may have any size."""

    range: ClassVar[tuple[float, float]] = (-math.inf, math.inf)

    def check(self, item: Item) -> None:
        """Nothing: a row need not have an answer, and an answer without a reward is dropped."""
