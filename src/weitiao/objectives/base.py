"""What the settings of every objective are."""

from __future__ import annotations

import builtins
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Self

from weitiao.config import Config
from weitiao.data.example import ANSWERS, Rows

if TYPE_CHECKING:
    from torch import nn

    from weitiao.objectives.objective import Objective
    from weitiao.rendering.items import Item, TokenSequence


class ObjectiveConfigBase(Config, ABC):
    """What the configurations of all objectives can do."""

    gives_scores: ClassVar[bool] = False
    """Whether what it leaves gives answers scores, and writes none."""

    answers: ClassVar[bool] = True
    """Whether what it learns shows in answers that can be graded."""

    @abstractmethod
    def objective(self) -> builtins.type[Objective]:
        """The class of the objective."""

    def located(self, folders: Sequence[Path]) -> Self:
        """The same with what it names looked up in these folders, in this order."""
        return self

    def window_overlap(self) -> int | None:
        """Tokens that the windows of a long row have in common; None where rows are not cut into windows."""
        return None

    def rows(self) -> Rows:
        """Which rows it takes."""
        return ANSWERS

    @property
    def writes(self) -> bool:
        """Whether it learns from answers that the model writes to the prompts of rows, and not from the rows' own."""
        return self.rows().record == "prompt"

    def labels(self, sequences: Sequence[TokenSequence]) -> list[str]:
        """What each sequence of the rows is: `better` or `worse`, `good` or `bad`; empty where rows judge nothing."""
        if self.rows().record == "pair":
            return ["worse" if place % 2 else "better" for place in range(len(sequences))]
        marked = self.rows().record == "mark"
        return [("good" if one.columns["mark"][-1] > 0 else "bad") if marked else "" for one in sequences]

    def items(self, sequences: Sequence[TokenSequence]) -> tuple[Item, ...]:
        """What a step counts; see `Objective.items`."""
        return self.objective().items(sequences)

    def build(self, model: nn.Module) -> Objective:
        """The objective around a model."""
        return self.objective()(model, self)
