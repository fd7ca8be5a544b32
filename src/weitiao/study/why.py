"""`weitiao why`: the rows behind a step, decoded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from weitiao.recipe import load_recipe
from weitiao.study.dataset import load_rendered, model_context
from weitiao.training.losses import read_losses
from weitiao.training.run_dir import RunDir


@dataclass(frozen=True, slots=True)
class Culprit:
    """A sequence of a step.

    Attributes:
        row_id: Where its row stands.
        loss: Mean loss per unit of weight.
        weight: Its weight in the step.
        prompt, answer: Its text up to the first learned token, and from there on.
    """

    row_id: str
    loss: float
    weight: float
    prompt: str
    answer: str


def rows_behind(run_path: Path, step: int, *, num: int, overrides: Sequence[str] = ()) -> list[Culprit]:
    """The sequences of a step with the highest loss.

    Args:
        run_path: A run directory.
        step: The step, counted from 1.
        num: How many at most.
        overrides: `section.key=value`, as on the command line.

    Raises:
        RunError: The run has no record of that step.
    """
    table = read_losses(RunDir(run_path).losses, step).slice(0, num)
    recipe = load_recipe(run_path, overrides)
    data = load_rendered(recipe, max_context=model_context(recipe), tell=lambda line: None)
    culprits = []
    for row in table.to_pylist():
        of_row = [sequence for sequence in data.train if sequence.row_id == row["row_id"]]
        sequence = min(of_row, key=lambda one: abs(one.weight - row["weight"]))  # a row may be several sequences
        first = next(i for i, weight in enumerate(sequence.weights) if weight)
        prompt, answer = (
            data.tokenizer.decode(ids) for ids in (sequence.token_ids[:first], sequence.token_ids[first:])
        )
        culprits.append(Culprit(row["row_id"], row["loss"], row["weight"], prompt, answer))
    return culprits
