"""The held-out rows of objectives that compare answers: how often the better one has the higher reward."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from functools import partial

import torch

from weitiao.data.example import Example
from weitiao.data.load import DataSet
from weitiao.errors import RecipeError
from weitiao.evaluation.reward_scores import Comparisons, compare_rewards
from weitiao.evaluation.scores import Scores
from weitiao.evaluation.statistics import Estimate, mean, proportion
from weitiao.forest.layout import Forest
from weitiao.forest.plan import pack
from weitiao.methods.open import OpenModel
from weitiao.methods.scorer import open_scorer
from weitiao.methods.start import find_start
from weitiao.models.fingerprint import model_fingerprint
from weitiao.models.names import resolve_model
from weitiao.models.parts import evaluating
from weitiao.objectives.columns import computed_columns, with_columns
from weitiao.objectives.objective import Objective
from weitiao.objectives.preference import Comparing
from weitiao.recipe import Recipe
from weitiao.rendering.items import Item
from weitiao.rollouts.rewards import Rewards
from weitiao.rollouts.writing import Writer
from weitiao.runs.run_dir import RunDir
from weitiao.study.dataset import Tell, items_of_part, model_context
from weitiao.study.prepared import token_budget
from weitiao.study.prompts import prompt_items
from weitiao.study.reference import read_columns, reference_key
from weitiao.study.rolling import scoring
from weitiao.study.score import all_scores, compared, conversations, steps_of
from weitiao.study.setup import device_here, open_recipe

REWARD = "reward"
ACCURACY, LONGER, MARKED, ERROR = "preference_accuracy", "longer_is_better", "marked_accuracy", "squared_error"


def held_out(recipe: Recipe, data: DataSet) -> tuple[str, tuple[Example, ...]]:
    """The rows that are compared: those for the test or, where there are none, for validation."""
    return ("test", data.test[: recipe.evaluate.limit]) if data.test else ("validation", data.validation)


def with_comparisons(scores: Scores, found: Comparisons) -> Scores:
    """Scores with what rewards of pairs come to."""
    details = {**scores.details, ACCURACY: asdict(found)}
    return replace(with_metric(with_metric(scores, ACCURACY, found.accuracy), LONGER, found.longer), details=details)


def with_metric(scores: Scores, name: str, found: Estimate) -> Scores:
    """Scores with another metric, which is the primary one where answers gave none."""
    primary = scores.primary if scores.primary in scores.metrics else name
    return replace(scores, primary=primary, metrics={**scores.metrics, name: found})


def reward_scores(recipe: Recipe, data: DataSet, scores: Scores, tell: Tell) -> Scores:
    """What a run with `objective: reward` gives held-out rows.

    Raises:
        WeitiaoError: It has no rows, or no weights yet.
    """
    assert recipe.run_dir is not None, "load_recipe sets run_dir"
    part, examples = held_out(recipe, data)
    if not examples:
        raise RecipeError("No row is held out.", "Set data.test or data.validation.")
    scorer = open_scorer(recipe.run_dir, base=recipe.model, device=device_here())
    skip = recipe.data.on_bad_rows == "skip"
    sequences = conversations(examples, scorer, tell, skip=skip, config=recipe.rendering, name=part)
    items = recipe.objective.items(sequences)
    every = all_scores(scorer, items, tell)
    if recipe.objective.rows().record == "step":
        steps = steps_of(sequences, every)
        assert steps is not None, "rows to learn from have labels"
        scores = with_metric(with_metric(scores, "step_accuracy", steps.accuracy), "steps_right", steps.right)
        return with_metric(scores, "first_wrong", steps.first_wrong)
    found = [float(one[-1]) for one in every]
    if recipe.objective.rows().record == "pair":
        return with_comparisons(scores, compared(sequences, found))
    wanted = [float(one.columns["score"][-1]) for one in sequences]
    error = mean([(a - b) ** 2 for a, b in zip(found, wanted, strict=True)], bounds=None)
    return replace(with_metric(scores, ERROR, error), details={ERROR: {"is_share": False}})


def implicit_rewards(recipe: Recipe, opened: OpenModel, data: DataSet, tell: Tell) -> Comparisons | None:
    """What a run with `objective: dpo` makes of held-out pairs; None where that cannot be known.

    Args:
        recipe: Of the run.
        opened: Its model.
        data: With held-out rows.
        tell: Gets every line that a person should see.
    """
    objective, forests = _held_out_forests(recipe, opened, data, tell)
    assert isinstance(objective, Comparing)
    rewards: list[tuple[float, float]] = []
    with evaluating(objective), torch.no_grad():
        for forest in forests:
            rewards += [(float(better), float(worse)) for better, worse in objective.rewards(forest).tolist()]
    pairs = [item.sequences for forest in forests for item in forest.items]
    lengths = [(better.num_learned, worse.num_learned) for better, worse in pairs]
    return compare_rewards(rewards, lengths) if rewards else None


def marked_accuracy(recipe: Recipe, opened: OpenModel, data: DataSet, tell: Tell) -> Estimate | None:
    """The share of held-out answers whose reward is on the side of the reference point that their mark says, of a run
    with `objective: kto`; the arguments are those of `implicit_rewards`."""
    objective, forests = _held_out_forests(recipe, opened, data, tell)
    with evaluating(objective), torch.no_grad():
        right = sum(float(objective(forest).metrics["accuracy"]) for forest in forests)
    rows = sum(item.rows for forest in forests for item in forest.items)
    return proportion(round(right), rows) if rows else None


def _held_out_forests(
    recipe: Recipe, opened: OpenModel, data: DataSet, tell: Tell
) -> tuple[Objective, Sequence[Forest]]:
    """The held-out items with what their objective needs; none where that cannot be known."""
    part, examples = held_out(recipe, data)
    items = items_of_part(recipe, examples, opened.tokenizer, part, tell)
    objective = recipe.objective.build(opened.model)
    if not items:
        return objective, ()
    budget = token_budget(recipe, items, opened.model.device)
    if objective.needs:
        known = _reference(recipe, part, items, budget)
        if known is None:
            tell(f"{part}: what the model said of these rows before it learned is not kept: they are not compared")
            return objective, ()
        items = known
    return objective, pack(items, token_budget=budget, share_prefixes=recipe.train.share_prefixes)


def rewards_of_answers(recipe: Recipe, opened: OpenModel, data: DataSet, tell: Tell) -> dict[str, Estimate]:
    """The reward, and each part of it, of greedy answers to held-out prompts; none where no answer can be scored.

    Args:
        recipe: Of a run that learns from answers of its own.
        opened: The model.
        data: With held-out rows.
        tell: Gets every line that a person should see.
    """
    part, examples = held_out(recipe, data)
    items, said = prompt_items(recipe, examples, opened.tokenizer, model_context(recipe))
    for line in said:
        tell(f"{part}: {line}")
    if not (items and recipe.rollouts.rewards):
        return {}
    rewards = Rewards(recipe.rollouts.rewards)
    rewards.open_models(partial(scoring, device=device_here()))
    writer = Writer({one.row_id: one for one in examples}, opened.tokenizer, rewards)
    samples = writer.answers(opened.model, items, 1, recipe.rollouts.greedy)
    writer.score(samples)
    used = [one for one in samples if not one.dropped]
    if len(used) < len(samples):
        reason = next(one.dropped for one in samples if one.dropped)
        tell(f"{part}: {len(samples) - len(used):,} answers have no reward: {reason}")
    if not used:
        return {}
    found = {REWARD: [one.reward or 0.0 for one in used]}
    found |= {f"{REWARD}/{name}": [one.rewards[name] for one in used] for name in used[0].rewards}
    return {name: mean(values, bounds=None) for name, values in found.items()}


def _reference(recipe: Recipe, part: str, items: tuple[Item, ...], budget: int) -> tuple[Item, ...] | None:
    """The items with what the model said before it learned: from the run, or by the base model if it began as that."""
    assert recipe.run_dir is not None, "load_recipe sets run_dir"
    run, fingerprint = RunDir(recipe.run_dir), model_fingerprint(resolve_model(recipe.model))
    start = find_start(recipe.method.start, kept=run.start)
    begun = fingerprint if start is None else start.fingerprint(fingerprint)
    columns = read_columns(run.reference / f"{part}.safetensors", reference_key(recipe, begun, items), items)
    if columns is None and start is None:
        objective = recipe.objective.build(open_recipe(recipe, tuned=False).model)
        with evaluating(objective):
            share = recipe.train.share_prefixes
            columns = computed_columns(items, objective.reference, token_budget=budget, share_prefixes=share)
    return None if columns is None else with_columns(items, columns)
