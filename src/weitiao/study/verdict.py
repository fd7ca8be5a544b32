"""What a run directory tells: its verdict, as long as it is that of the results there, and the rows behind a step."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from weitiao.console import quoted
from weitiao.errors import RunError
from weitiao.recipe import load_recipe
from weitiao.rendering.items import sequences_of
from weitiao.runs.belonging import Belonging, Belongings
from weitiao.runs.record import read_records
from weitiao.runs.run_dir import RunDir
from weitiao.study.dataset import load_rendered
from weitiao.training.item_losses import ItemLoss, mean_loss
from weitiao.training.losses import read_losses
from weitiao.verdict.verdict import VERDICT_FILE, Verdict, read_verdict

_WHY: dict[Belonging, str] = {
    "skipped": "the last call of `weitiao run` skipped it",
    "outdated": "something that it was decided from has changed since",
    "replaced": "the weights, or the comparison that it was decided from, are others now",
}


def verdict_of(run: Path) -> Verdict:
    """The verdict in a run directory.

    Raises:
        RunError: There is none, it is damaged, or it belongs to something else than what lies there.
    """
    found = read_verdict(run)
    belonging = Belongings(run, read_records(run)).of(VERDICT_FILE, "verdict")
    if belonging != "belongs":
        raise RunError(
            f"The verdict in {run} ({found.decision}) does not belong to what lies there: {_WHY[belonging]}.",
            f"Decide again with: weitiao run {quoted(run)}",
        )
    return found


@dataclass(frozen=True, slots=True)
class Culprit:
    """A row of a step.

    Attributes:
        row_id: Where it stands.
        loss: Mean loss per unit of weight, over all its sequences in the step.
        weight: Its weight in the step.
        prompt, answer: Its text up to the first learned token, and from there on; that of its longest sequence.
    """

    row_id: str
    loss: float
    weight: float
    prompt: str
    answer: str


def rows_behind(run_path: Path, step: int, *, num: int, overrides: Sequence[str] = ()) -> list[Culprit]:
    """The rows of a step with the highest loss.

    Args:
        run_path: A run directory.
        step: The step, counted from 1.
        num: How many at most.
        overrides: `section.key=value`, as on the command line.

    Raises:
        RunError: The run has no record of that step.
    """
    of_rows: defaultdict[str, list[ItemLoss]] = defaultdict(list)
    for row in read_losses(RunDir(run_path).losses, step).to_pylist():
        of_rows[row["row_id"]].append(ItemLoss(row["row_id"], row["loss"], row["weight"]))
    losses = {row_id: mean_loss(found) for row_id, found in of_rows.items()}
    recipe = load_recipe(run_path, overrides)
    data = load_rendered(recipe, tell=lambda line: None)
    longest = {sequence.row_id: sequence for sequence in sorted(sequences_of(data.train), key=len)}
    culprits = []
    for row_id in sorted(losses, key=lambda row_id: losses[row_id].loss, reverse=True)[:num]:
        sequence = longest[row_id]
        first = int(np.flatnonzero(sequence.weights)[0])
        prompt, answer = (
            data.tokenizer.decode(ids.tolist()) for ids in (sequence.token_ids[:first], sequence.token_ids[first:])
        )
        culprits.append(Culprit(row_id, losses[row_id].loss, losses[row_id].weight, prompt, answer))
    return culprits
