"""Which of the methods that were tried: the table's rows, and the advice that respects the intervals."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from weitiao.evaluation.paired import paired_difference
from weitiao.evaluation.statistics import Estimate

_SIGNIFICANT = 0.05


@dataclass(frozen=True, slots=True)
class Cell:
    """A method with a learning rate, and how it did in the last rung that it was in.

    Attributes:
        name: Method and learning rate; also that of its folder.
        entry: What the recipe says of the method.
        learning_rate: The highest of its schedule.
        rung: From 1; 0 before the first.
        path: The run directory.
        failed: Why it could not be trained; None when it could.
        score: Of the first metric, on validation rows.
        grades: The grade of each row.
        validation_loss: Of the weights that were kept.
        seconds: Of the training, loading included.
        peak_memory_bytes: Of the training.
        num_trainable: Parameters that learn.
        size_bytes: Of the result on the disk.
        retention: What changed in accuracy over the retention suite; None where it was not asked.
        lost: Parts of the suite that are surely worse.
    """

    name: str
    entry: dict[str, Any]
    learning_rate: float
    rung: int = 0
    path: Path | None = None
    failed: str | None = None
    score: Estimate | None = None
    grades: tuple[float, ...] = ()
    validation_loss: float = math.inf
    seconds: float = 0.0
    peak_memory_bytes: int = 0
    num_trainable: int = 0
    size_bytes: int = 0
    retention: Estimate | None = None
    lost: tuple[str, ...] = ()

    @property
    def rank(self) -> tuple[float, float]:
        """The higher the better: by score, and of equal ones by the loss."""
        return (-math.inf if self.score is None else self.score.value, -self.validation_loss)


@dataclass(frozen=True, slots=True)
class Tournament:
    """What the tournament found; also in `methods/tournament.json` of the run directory.

    Attributes:
        primary: The metric.
        cells: All of them, those of the last rung first, the best ahead.
        chosen: Name of the advised cell.
        equal: Names of the cells of the last rung that are not surely worse than the best, the best first.
        advice: In one sentence.
        path: The file.
    """

    primary: str
    cells: tuple[Cell, ...]
    chosen: str
    equal: tuple[str, ...]
    advice: str
    path: Path


def advise(finalists: Sequence[Cell]) -> tuple[str, tuple[str, ...], str]:
    """The advised cell, those that are not surely worse than the best, and a sentence about it.

    Args:
        finalists: Cells of the same rung; at least one.
    """
    best, *others = sorted(finalists, key=lambda one: one.rank, reverse=True)
    limit = _SIGNIFICANT / max(1, len(others))  # the best is chosen among all: each has to be worse by more than chance
    tests = {one.name: paired_difference(one.grades, best.grades).p_value for one in others}
    equal = [best, *(one for one in others if tests[one.name] >= limit)]
    keeping = [one for one in equal if not one.lost] or equal
    chosen = min(keeping, key=lambda one: one.seconds)
    names = tuple(one.name for one in equal)
    if not any(best.grades):
        nothing = f"None of {len(finalists)} answered a row of the sample rightly; {best.name} has the lowest loss."
        return best.name, names, f"{nothing} Raise tournament.rows."
    if not others:
        return chosen.name, names, f"{chosen.name} is the only one that was left to compare."
    if len(equal) == 1:
        worst = max(tests.values())
        return chosen.name, names, f"{best.name}: all others of the last rung are worse (p at most {worst:.2g})."
    kept = "" if len(keeping) == len(equal) else ", of those that forget nothing for certain,"
    advice = (
        f"No winner: {len(equal)} of {len(finalists)} are not surely worse than the best ({best.name}). Of these{kept} "
        f"{chosen.name} was trained in the least time."
    )
    return chosen.name, names, advice
