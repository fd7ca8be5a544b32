"""The steps of a training that learns from answers of its own model, and what its validations measure."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial

from torch import nn

from weitiao.data.example import Example, as_answer
from weitiao.errors import DataError
from weitiao.evaluation.metrics.base import Item as Answered
from weitiao.methods.scorer import open_scorer
from weitiao.objectives.policy import Policy
from weitiao.objectives.policy_config import PolicyConfig
from weitiao.objectives.reward import reward_items
from weitiao.rollouts.reference import Reference
from weitiao.rollouts.rollouts import Rollouts
from weitiao.rollouts.vllm import VllmServer
from weitiao.rollouts.writing import Write, Writer, write_here
from weitiao.runs.run_dir import RunDir
from weitiao.study.dataset import Tell
from weitiao.study.prepared import Prepared
from weitiao.study.score import conversations, scores_of
from weitiao.training.checkpoint import State
from weitiao.training.engine import Engine
from weitiao.training.interrupt import Interrupt
from weitiao.training.item_losses import ItemLoss
from weitiao.training.validation import validation_losses


def make_rollouts(
    prepared: Prepared, engine: Engine, run: RunDir, state: State, interrupt: Interrupt, tell: Tell
) -> Rollouts | None:
    """Where the steps of a training come from that learns from answers of its own model; None for others."""
    recipe, data, rewards = prepared.recipe, prepared.data, prepared.rewards
    if rewards is None:
        return None
    settings, objective = recipe.objective, engine.objective
    learned = settings if isinstance(settings, PolicyConfig) else None
    if isinstance(objective, Policy):
        objective.temperature = recipe.rollouts.generation.temperature
    if engine.is_main:
        rewards.open_models(partial(scoring, device=str(engine.accelerator.device)))
    rows = (*data.data.train, *data.data.validation)
    write: Write = write_here
    if recipe.rollouts.engine != "here":
        write = VllmServer(
            recipe.rollouts.engine,
            partial(recipe.method.build().save, base=recipe.model.name, revision=None),
            run.rollouts / "adapter",
        )
    writer = Writer({one.row_id: one for one in rows}, data.tokenizer, rewards, write)
    reference = None
    if learned is not None and learned.kl > 0 and engine.is_main:
        reference = Reference(objective.model, run.beginning, first=state.step == 0)
    return Rollouts(
        prepared.plan,
        data.validation,
        recipe.rollouts,
        learned,
        writer,
        engine,
        reference,
        run.rollouts,
        run.metrics_path,
        interrupt,
        tell,
        state.step,
    )


def judging(rollouts: Rollouts) -> Callable[[nn.Module], list[ItemLoss]]:
    """What a validation measures on answers to held-out prompts.

    The loss of greedy answers is their negative reward; where it is not rewards that are learned, that of the objective
    on answers drawn as in a rollout, always by the same numbers.
    """
    engine, plan, config = rollouts.engine, rollouts.plan, rollouts.config
    learned = rollouts.settings is not None
    drawn = config.greedy if learned else config.generation

    def judged(model: nn.Module) -> list[ItemLoss]:
        samples = rollouts.writer.answers(model, rollouts.validation, 1, drawn)
        rollouts.writer.score(samples)
        used = [one for one in samples if not one.dropped]
        if not used:
            raise DataError(f"No validation row can be scored: {samples[0].dropped}", "Correct the reward.")
        if learned:
            return [ItemLoss(one.row_id, -(one.reward or 0.0), 1.0) for one in used]
        with engine.precision.computing():
            items, budget = [rollouts.measurer.item(one) for one in used], plan.token_budget
            found = validation_losses(engine.objective, items, token_budget=budget, share_prefixes=plan.share_prefixes)
        return found.items

    return judged


def scoring(model: str, *, device: str) -> Callable[[Sequence[Answered]], list[float]]:
    """What scores answers by a reward model, which reads them with its own tokenizer and template.

    Raises:
        ModelError: It gives no score, or more than one.
    """
    scorer = open_scorer(model, device=device)

    def scores(items: Sequence[Answered]) -> list[float]:
        rows = [
            as_answer(Example(f"{model}, answer {place}", (*one.prompt, {"role": "assistant", "content": one.answer})))
            for place, one in enumerate(items)
        ]
        sequences = conversations(rows, scorer, lambda line: None, skip=True)
        found = scores_of(scorer, reward_items(sequences, 1), lambda line: None) if sequences else []
        by_place = {one.row_id: score for one, score in zip(sequences, found, strict=True)}
        return [by_place.get(row.row_id, math.nan) for row in rows]  # NaN where its template takes no such answer

    return scores
