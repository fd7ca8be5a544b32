"""What a training that learns from answers of its own model asks of rows and of a recipe."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from weitiao.data.example import Example, asked
from weitiao.errors import DataError, RecipeError, RenderingError
from weitiao.objectives.policy_config import PolicyConfig
from weitiao.recipe import Recipe
from weitiao.rendering.items import Item, TokenSequence
from weitiao.rendering.render import Prompts
from weitiao.rollouts.rewards import Rewards
from weitiao.training.optimizer import InBackward

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


def prompt_items(
    recipe: Recipe, examples: Sequence[Example], tokenizer: PreTrainedTokenizerBase, context: int
) -> tuple[tuple[Item, ...], tuple[str, ...]]:
    """The prompts of rows as items that each weigh 1, and what a person should know about them.

    Raises:
        DataError: A row is raw text, or no prompt leaves room for an answer.
        RenderingError: The template refuses a row, or one is too long and `rendering.on_long` is `error`.
    """
    prompt, room = Prompts(tokenizer), recipe.rollouts.generation.max_new_tokens
    limit = min(recipe.rendering.max_length or context, context) - room
    items, long = [], []
    for row in examples:
        if not (turns := asked(row)[0]):
            raise DataError(
                f"{row.row_id} asks nothing: objective.type={recipe.objective.type} lets the model answer prompts.",
                "Give rows that are conversations or have a prompt; the answer may be missing.",
            )
        ids = prompt(turns, row.tools, where=row.row_id)
        if len(ids) > limit:
            long.append(row.row_id)
        else:
            items.append(Item(row.row_id, (TokenSequence.of(row.row_id, ids, [0.0] * (len(ids) - 1) + [1.0]),)))
    said = (
        f"{len(long):,} prompts leave no room for {room:,} tokens of an answer (the first is {long[0]})" if long else ""
    )
    if long and (recipe.rendering.on_long == "error" or not items):
        raise RenderingError(
            f"{said}.", "Shorten them, lower rollouts.generation.max_new_tokens, or raise rendering.max_length."
        )
    return tuple(items), (f"Left out: {said}",) if said else ()


def require_rewards(recipe: Recipe) -> Rewards | None:
    """What answers are worth, ready to score, where a model learns from its own; None for other objectives.

    Raises:
        RecipeError: There are none, too few answers to a prompt, or a section that does not go together with them.
        WeitiaoError: A part of the reward cannot be had.
    """
    if not recipe.objective.writes:
        return None
    name = recipe.objective.type
    if recipe.data.replay is not None:
        raise RecipeError(
            f"data.replay: general rows have answers to learn, and objective.type={name} learns from its own.",
            "Leave data.replay out.",
        )
    if isinstance(recipe.optimizer, InBackward):
        raise RecipeError(
            f"optimizer.type={recipe.optimizer.type} takes a step at once, and objective.type={name} adds them up.",
            "Choose another optimizer.",
        )
    if isinstance(recipe.objective, PolicyConfig):
        _require_learnable(recipe, recipe.objective)
    return Rewards(recipe.rollouts.rewards)


def _require_learnable(recipe: Recipe, objective: PolicyConfig) -> None:
    """Refuse answers that say nothing about which are good."""
    name = recipe.objective.type
    if recipe.rollouts.engine != "here" and (recipe.method.type != "lora" or recipe.method.start is not None):
        raise RecipeError(
            "rollouts.engine: a vLLM server takes plain LoRA adapters on its own base model.",
            "Use method.type=lora without `start` (merge what lies below it), or rollouts.engine=here.",
        )
    if not recipe.rollouts.rewards:
        raise RecipeError(
            f"objective.type={name} needs a reward, and rollouts.rewards is empty.",
            "Say what answers are worth, for instance: rollouts: {rewards: [number]}, or rewards: [my.py:score].",
        )
    if recipe.rollouts.samples < (least := objective.least_samples):
        raise RecipeError(
            f"objective.type={name} holds the answers to a prompt against each other.",
            f"Set rollouts.samples to {least} or more.",
        )


def room_for_answers(recipe: Recipe) -> int:
    """Tokens that stand behind a prompt when it is learned from."""
    return recipe.rollouts.generation.max_new_tokens if recipe.objective.writes else 0
