"""`weitiao score`: what a reward model gives answers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from weitiao.data.config import DataConfig
from weitiao.data.conversion.records import compared_format
from weitiao.data.example import STEPS, Example, Rows, as_answer
from weitiao.data.load import load_data
from weitiao.data.reading.files import OpenedSource, objects_of
from weitiao.data.reading.paths import resolve_paths
from weitiao.errors import DataError
from weitiao.evaluation.reward_scores import Comparisons, ScoreReport, Spread, Steps, compare_rewards, judge_steps
from weitiao.forest.layout import Forest
from weitiao.methods.scorer import Scorer
from weitiao.models.asking import attention_function
from weitiao.models.attention import computing_by, set_backend
from weitiao.models.in_float32 import in_float32
from weitiao.models.losses import target_states
from weitiao.models.parts import context_length, evaluating
from weitiao.objectives.columns import computed_columns
from weitiao.objectives.preference_config import RewardConfig
from weitiao.objectives.reward import read_scores, reward_items
from weitiao.objectives.steps import judged
from weitiao.recipe import load_recipe
from weitiao.rendering.config import RenderingConfig
from weitiao.rendering.items import Item, PerToken, TokenSequence
from weitiao.rendering.render import render
from weitiao.rendering.steps import NO_STEP, STEP
from weitiao.runs.run_dir import RunDir
from weitiao.study.dataset import NO_LIMIT, Tell
from weitiao.study.prepared import AUTO_TOKEN_BUDGET

_APART = 1e-3
"""How far the scores of a row alone and in a forest may be apart, beside their size."""


def score_rows(
    scorer: Scorer, path: str, *, on_bad_rows: Literal["error", "skip"], tell: Tell
) -> tuple[ScoreReport, list[dict[str, Any]]]:
    """Score the rows of a file: conversations, prompts with answers, pairs, or answers in steps (labels are optional).

    Args:
        scorer: The reward model.
        path: The file, a directory of files, or a data set of the hub.
        on_bad_rows: What becomes of rows that cannot be used.
        tell: Gets every line that a person should see.

    Returns:
        The report; and of each row its id, and `score`, or `chosen_score`, `rejected_score` and `margin`. Answers in
        steps have `step_scores`, too, and `minimum` and `product` of their sigmoids.

    Raises:
        DataError: The rows cannot be used.
    """
    config = resolve_paths(DataConfig.model_validate({"train": path, "on_bad_rows": on_bad_rows}), (Path.cwd(),))
    kind = compared_format(objects_of(OpenedSource(config.train[0]).head), labelled=False)
    rows = Rows("pair" if kind == "preference" else "mark" if kind == "kto" else "answer")
    if kind == "stepwise":
        rows = replace(STEPS, separator=_separator(scorer.name), labelled=False)
    data = load_data(config, rows=rows)
    tell(str(data.summaries[0]).replace("train:", "score:", 1))
    examples = [as_answer(one) if rows.record == "answer" else one for one in data.train]
    if not all(one.messages for one in examples):
        raise DataError(f"{path} is raw text, which has no answer to be scored.", "Give conversations, or pairs.")
    sequences = conversations(examples, scorer, tell, skip=on_bad_rows == "skip")
    size = 2 if rows.record == "pair" else 1
    every = all_scores(scorer, reward_items(sequences, size), tell)
    scores, values = [float(one[-1]) for one in every], np.concatenate(every, dtype=np.float64)
    found = list(_as_rows(sequences, scores, size))
    if rows.record == "step":
        found = [{**row, **_of_steps(one)} for row, one in zip(found, every, strict=True)]
    spread = Spread(len(values), *(float(one) for one in (values.mean(), values.std(), values.min(), values.max())))
    comparisons = compared(sequences, scores) if size == 2 else None
    steps = steps_of(sequences, every) if rows.record == "step" else None
    return ScoreReport(scorer.name, len(found), len(examples) - len(found), spread, comparisons, steps), found


def conversations(
    examples: Sequence[Example],
    scorer: Scorer,
    tell: Tell,
    *,
    skip: bool,
    config: RenderingConfig | None = None,
    name: str = "score",
) -> tuple[TokenSequence, ...]:
    """Examples as a scorer reads them.

    Args:
        examples: The rows.
        scorer: Its tokenizer prints them.
        tell: Gets what happened to them.
        skip: Leave out what cannot be rendered.
        config: How they are rendered; as the scorer's template has it if None.
        name: What they are called.
    """
    limit = context_length(scorer.model.config) or NO_LIMIT
    rendered = render(examples, scorer.tokenizer, config or RenderingConfig(), max_context=limit, skip_bad_rows=skip)
    for line in rendered.report:
        tell(f"{name}: {line}")
    return rendered.sequences


def scores_of(scorer: Scorer, items: Sequence[Item], tell: Tell) -> list[float]:
    """The score of every conversation, read at its last token; see `all_scores`."""
    return [float(one[-1]) for one in all_scores(scorer, items, tell)]


def all_scores(scorer: Scorer, items: Sequence[Item], tell: Tell) -> list[PerToken]:
    """The scores of every conversation of items that `reward_items` made, each prompt computed once: one, or one of
    every step."""
    budget = max(AUTO_TOKEN_BUDGET["cpu"], *(item.num_tokens for item in items))

    def compute(forest: Forest) -> dict[str, torch.Tensor]:
        return {"score": read_scores(scorer.head, target_states(scorer.model, forest))}

    def scores(some: Sequence[Item]) -> list[PerToken]:
        with evaluating(scorer.model):
            found = computed_columns(some, compute, token_budget=budget, share_prefixes=True)
        return [one["score"] for one in found]

    few = sorted(items, key=lambda item: item.num_tokens)[:2]
    with in_float32(scorer.model):  # in shorter formats rounding could hide a mistake, or look like one
        together = np.concatenate(scores(few), dtype=np.float64)
        with attention_function(scorer.model, "eager"), computing_by(scorer.model, "alone"):
            alone = np.concatenate(scores(few), dtype=np.float64)
    if np.abs(alone - together).max() > _APART * (1 + np.abs(alone).max()):
        tell("In this family, scores in a forest of rows are not those of rows alone: each row is run alone.")
        set_backend(scorer.model, "alone")
    return scores(items)


def compared(sequences: Sequence[TokenSequence], scores: Sequence[float]) -> Comparisons:
    """What scores of pairs, the better answer first, come to."""
    lengths = [one.num_learned for one in sequences]
    return compare_rewards(
        list(zip(scores[::2], scores[1::2], strict=True)), list(zip(lengths[::2], lengths[1::2], strict=True))
    )


def steps_of(sequences: Sequence[TokenSequence], scores: Sequence[PerToken]) -> Steps | None:
    """What scores of steps come to; None where some have no label."""
    labels = [one.columns[STEP][one.columns[STEP] != NO_STEP] for one in sequences]
    if any(np.isnan(one).any() for one in labels):
        return None
    rows_N = np.repeat(np.arange(len(labels)), [len(one) for one in labels])
    scores_N, labels_N = (torch.from_numpy(np.concatenate(some)) for some in (scores, labels))
    agree_N, missed_N = judged(scores_N, labels_N, rows_N)
    return judge_steps(rows_N, agree_N.numpy(), (labels_N >= 0.5).numpy(), missed_N.numpy())


def _of_steps(scores: PerToken) -> dict[str, Any]:
    """The scores of all steps of a row, and the least and the product of their probabilities to be right."""
    right = torch.from_numpy(scores).double().sigmoid()
    return {"step_scores": scores.tolist(), "minimum": float(right.min()), "product": float(right.prod())}


def _separator(name: str) -> str:
    """What joined the steps that a run learned from."""
    run = Path(name)
    objective = load_recipe(run).objective if RunDir(run).recipe_path.is_file() else None
    return objective.separator if isinstance(objective, RewardConfig) else STEPS.separator


def _as_rows(sequences: Sequence[TokenSequence], scores: Sequence[float], size: int) -> Iterator[dict[str, Any]]:
    for start in range(0, len(scores), size):
        row: dict[str, Any] = {"row_id": sequences[start].row_id}
        if size == 1:
            yield row | {"score": scores[start]}
        else:
            better, worse = scores[start : start + 2]
            yield row | {"chosen_score": better, "rejected_score": worse, "margin": better - worse}
