"""What stands behind a step of a run: its rows with the highest loss, or the answers that the model wrote to them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

import numpy as np

from weitiao.errors import RunError
from weitiao.recipe import load_recipe
from weitiao.rendering.items import TokenSequence
from weitiao.rollouts.samples import Sample, notable, read_rollout, rollout_path, rollouts_in
from weitiao.runs.run_dir import RunDir
from weitiao.study.dataset import load_shown
from weitiao.training.item_losses import ItemLoss, mean_loss
from weitiao.training.losses import read_losses
from weitiao.training.metrics import read_metrics


@dataclass(frozen=True, slots=True)
class Culprit:
    """A row of a step, or one of the answers that it is about.

    Attributes:
        row_id: Where it stands.
        loss: Mean loss per unit of weight, over all its sequences in the step; of rows that are computed together, of
            all of them.
        weight: Its weight in the step.
        prompt, answer: Its text up to the first learned token, and from there on; that of its longest sequence.
        label: What the answer is: `better` or `worse`, `good` or `bad`; its reward and advantage where the model wrote
            it; empty for others.
    """

    row_id: str
    loss: float
    weight: float
    prompt: str
    answer: str
    label: str = ""


def rows_behind(run_path: Path, step: int, *, num: int, overrides: Sequence[str] = ()) -> list[Culprit]:
    """The rows of a step with the highest loss, each with all the answers that were compared, judged or written.

    Args:
        run_path: A run directory.
        step: The step, counted from 1.
        num: How many at most.
        overrides: `section.key=value`, as on the command line.

    Raises:
        RunError: The run has no record of that step.
    """
    run = RunDir(run_path)
    of_rows: defaultdict[str, list[ItemLoss]] = defaultdict(list)
    for row in read_losses(run.losses, step).to_pylist():
        of_rows[row["row_id"]].append(ItemLoss(row["row_id"], row["loss"], row["weight"]))
    losses = {row_id: mean_loss(found) for row_id, found in of_rows.items()}
    recipe = load_recipe(run_path, overrides)
    shown = load_shown(recipe, tell=lambda line: None)
    known: defaultdict[str, dict[str, TokenSequence]] = defaultdict(dict)
    for label, sequence in sorted(shown.sequences, key=lambda one: len(one[1])):
        known[sequence.row_id][label] = sequence
    together = {item.row_id: dict.fromkeys(one.row_id for one in item.sequences) for item in shown.items}

    def text(ids: np.ndarray[tuple[int], np.dtype[np.int32]]) -> str:
        return str(shown.tokenizer.decode(ids.tolist()))

    culprits = []
    for at in sorted(losses, key=lambda row_id: losses[row_id].loss, reverse=True)[:num]:
        one = losses[at]
        if recipe.objective.writes:
            prompt = text(known[at][""].token_ids)
            written = _written(run, step, at)
            culprits += [Culprit(at, one.loss, one.weight, prompt, it.answer, _worth(it)) for it in written]
            continue
        for row_id in together[at]:
            for label, sequence in sorted(known[row_id].items()):
                first = int(np.flatnonzero(sequence.weights)[0])
                parts = text(sequence.token_ids[:first]), text(sequence.token_ids[first:])
                culprits.append(Culprit(row_id, one.loss, one.weight, *parts, label))
    return culprits


def answers_of_run(run_path: Path, num: int) -> dict[str, list[tuple[Sample | None, Sample]]]:
    """The best and the worst answers of a run's last rollout, and those that changed most since its first.

    Raises:
        RunError: The run has no rollouts.
    """
    if not (paths := rollouts_in(RunDir(run_path).rollouts)):
        raise RunError(
            f"{run_path} learned from no answers of its own.", "Name a step, to see the rows behind it: --step N."
        )
    first, last = (read_rollout(path).used for path in (paths[0], paths[-1]))
    return notable(first, last, num)


def _written(run: RunDir, step: int, row_id: str) -> list[Sample]:
    """The answers to a row that a step learned from, or that could not be scored; the best first."""
    number = next(int(line["rollout"]) for line in read_metrics(run.metrics_path) if line["step"] == step)
    path = rollout_path(run.rollouts, number - 1)
    if not path.is_file():
        raise RunError(f"The answers that step {step} learned from are gone: {path}.", "Name a later step.")
    samples = [one for one in read_rollout(path).samples if one.row_id == row_id]
    return sorted(samples, key=lambda one: (one.reward is not None, one.reward), reverse=True)


def _worth(one: Sample) -> str:
    if one.dropped:
        return f"dropped: {one.dropped}"
    if not one.rewards:
        return ""
    advantage = one.columns.get("advantage")
    return f"reward {one.reward:.3g}" + (f", advantage {fmean(advantage):+.3g}" if advantage else "")
