"""What a training has to know before a model is loaded: its data, and all that the recipe leaves open."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import torch

from weitiao.errors import RecipeError
from weitiao.forest.plan import Plan, num_tokens
from weitiao.machine.hardware import choose_dtype, detect_hardware
from weitiao.machine.products import FORMATS
from weitiao.machine.ranks import num_ranks
from weitiao.methods.method import Method
from weitiao.models.config import ModelConfig
from weitiao.recipe import Recipe
from weitiao.rendering.items import Item
from weitiao.rollouts.rewards import Rewards
from weitiao.study.dataset import RenderedData, Tell, describe_loss, load_rendered
from weitiao.study.prompts import require_rewards, room_for_answers
from weitiao.training.config import PrecisionName
from weitiao.training.engines import least_budget
from weitiao.training.precision import require_precision, slower
from weitiao.training.schedule import total_steps

AUTO_TOKEN_BUDGET = {"cpu": 2048, "cuda": 8192}


@dataclass(frozen=True, slots=True)
class Prepared:
    """A training before its model is there.

    Attributes:
        recipe: Nothing that decides the training is open in it.
        data: With the weights that it is learned with.
        method: As the recipe has it.
        plan: Which items form which forest at which step.
        num_steps: Of the whole run.
        rewards: What answers are worth, where the model learns from its own; else None.
    """

    recipe: Recipe
    data: RenderedData
    method: Method
    plan: Plan
    num_steps: int
    rewards: Rewards | None = None

    def with_items(self, train: tuple[Item, ...], validation: tuple[Item, ...]) -> Prepared:
        """The same with other items: those that it has, with further columns."""
        data = replace(self.data, train=train, validation=validation)
        return replace(self, data=data, plan=replace(self.plan, items=train))


def prepare(
    recipe: Recipe,
    device: torch.device,
    tell: Tell,
    *,
    known: str | None = None,
    rejected_path: Path | None = None,
) -> Prepared:
    """Load the data of a recipe, and choose what it leaves open.

    Args:
        recipe: Of the training.
        device: On which it will run.
        tell: Gets every line that a person should see.
        known: The fingerprint of the data that the run was started with.
        rejected_path: Where rows go that cannot be used.

    Raises:
        RecipeError: The number format cannot be used, or is slower here than float32; or weights that stay outside of
            the device do not go together with the rest.
    """
    plain = load_rendered(recipe, tell=tell, rejected_path=rejected_path)
    data, unit = plain.weighed(recipe, known=known)
    rewards = require_rewards(recipe)
    if rewards is not None:
        rewards.check((*data.data.train, *data.data.validation))
    elif line := describe_loss(plain, data, unit):
        tell(line)
    budget = token_budget(recipe, (*data.train, *data.validation), device)
    chosen = {"token_budget": budget, "weigh": unit}
    recipe = recipe.model_copy(update={"train": recipe.train.model_copy(update=chosen)})
    recipe = with_checkpointing(_with_precision(recipe, device.type, tell), device.type, tell)
    method = recipe.method.build()
    plan = _plan(recipe, data, budget, method)
    per_epoch = plan.steps_per_epoch
    if rewards is not None:
        per_epoch = recipe.rollouts.steps_per_epoch(len(data.train), recipe.train.batch_size)
    return Prepared(recipe, data, method, plan, total_steps(recipe.train, per_epoch), rewards)


def token_budget(recipe: Recipe, items: tuple[Item, ...], device: torch.device) -> int:
    """The recipe's budget; when left open, the device's usual one, or what has to be computed at once."""
    if isinstance(recipe.train.token_budget, int):
        return recipe.train.token_budget
    least = least_budget(recipe.optimizer, items, recipe.train.batch_size) + room_for_answers(recipe)
    share = recipe.train.share_prefixes and recipe.model.attention != "alone"
    groups = [num_tokens(item, share_prefixes=share) for item in items if len(item.sequences) > 1]
    return max(AUTO_TOKEN_BUDGET.get(device.type, 2048), least, *groups)


def _with_precision(recipe: Recipe, device: str, tell: Tell) -> Recipe:
    """The recipe with weights in float32 where a shorter format is computed in beside them. A slow one is told."""
    config, name = recipe.model, recipe.train.precision
    require_precision(name, config.dtype, device, recipe.optimizer)
    if name == "auto":
        name = choose_precision(recipe, choose_dtype(detect_hardware(), device=device))
        recipe = recipe.model_copy(update={"train": recipe.train.model_copy(update={"precision": name})})
    if name != "weights":
        return recipe.model_copy(update={"model": config.model_copy(update={"dtype": "float32"})})
    if config.dtype in FORMATS[1:] and (line := slower(config.dtype, device)):
        tell(f"model.dtype: {line}")
    return recipe


def with_checkpointing(recipe: Recipe, device: str, tell: Tell) -> Recipe:
    """The recipe with every layer computed again in the backward pass where its weights come to a GPU only to run.

    Raises:
        RecipeError: Another checkpointing is asked for, or several processes.
    """
    if not recipe.model.map_weights or device == "cpu":
        return recipe
    if num_ranks() > 1:
        raise RecipeError(
            "model.map_weights: with several processes on GPUs the weights have to be in the memory of each.",
            "Start it without torchrun, or leave model.map_weights out.",
        )
    why = "a layer's weights go when it has run, so it is computed again in the backward pass"
    if (every := int(recipe.train.checkpointing)) > 1:
        raise RecipeError(
            f"model.map_weights: on a GPU {why}, every layer and not one of {every}.",
            "Set train.checkpointing to true, or leave it out.",
        )
    if not every:
        tell(f"model.map_weights: {why} (train.checkpointing: true)")
    return recipe.model_copy(update={"train": recipe.train.model_copy(update={"checkpointing": True})})


def choose_precision(recipe: Recipe, best: Literal["bfloat16", "float32"]) -> PrecisionName:
    """What `train.precision: auto` is, given the format in which a device computes best."""
    learns_in_float32 = recipe.method.build().needs_float32 and recipe.model.dtype == "auto"
    return "bfloat16" if learns_in_float32 and best == "bfloat16" else "weights"


def in_format(config: ModelConfig, method: Method) -> ModelConfig:
    """The `model` section with the number format that the method needs, where the recipe leaves it open.

    Raises:
        RecipeError: The method trains the model's own weights, and they are to be quantised.
    """
    if method.needs_float32 and config.quantization is not None:
        raise RecipeError(
            f"model.quantization: weights that are rounded to {config.quantization} cannot learn.",
            "Choose a method with adapters (lora), or leave model.quantization out.",
        )
    open_to_it = method.needs_float32 and config.dtype == "auto"
    return config.model_copy(update={"dtype": "float32"}) if open_to_it else config


def _plan(recipe: Recipe, data: RenderedData, budget: int, method: Method) -> Plan:
    """What is learned from when; the engine has a word in how many forests are computed at once."""
    config, fixed = recipe.train, method.keep_states is not None
    share = config.share_prefixes and recipe.model.attention != "alone"
    return Plan(data.train, config.batch_size, budget, share, config.seed, fixed_batches=fixed)
