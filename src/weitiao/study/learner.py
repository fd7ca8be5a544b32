"""The model that learns: loaded, with what the method puts into it, and the optimiser over that."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from torch import nn
from transformers import PreTrainedModel

from weitiao.forest.layout import Forest
from weitiao.forest.plan import Plan
from weitiao.machine.cgroup import give_back_memory
from weitiao.methods.fused.layer import num_fused
from weitiao.methods.method import Method, Selected
from weitiao.methods.open import final_tokenizer
from weitiao.methods.start import Begun, Start, begin
from weitiao.models.attention import FOREST, runs_alone, set_backend
from weitiao.models.config import ModelConfig
from weitiao.models.host_weights import settle
from weitiao.models.load import load_model
from weitiao.models.noise import add_embedding_noise
from weitiao.models.parts import checkpoint_layers
from weitiao.models.probe import forest_or_alone, probe_forest
from weitiao.models.products import put_fast_linears
from weitiao.objectives.objective import Objective
from weitiao.recipe import Recipe
from weitiao.rendering.items import TokenSequence, sequences_of
from weitiao.runs.run_dir import RunDir
from weitiao.study.dataset import RenderedData, Tell
from weitiao.study.preflight import attention_line
from weitiao.study.prepared import in_format
from weitiao.study.rounding import state_rounding
from weitiao.study.setup import require_trainable_dtype
from weitiao.text.wording import told
from weitiao.training.engine import learned_parameters
from weitiao.training.optimizer import InBackward
from weitiao.training.router import settle_routers

_LOOKED_AT = 16
"""Steps whose data a method may look at before the first."""


def load_base(config: ModelConfig, method: Method, device: torch.device) -> PreTrainedModel:
    """The model that a method is put into, in a number format that it can learn in.

    Args:
        config: The base model, or what a run begins with in its place.
        method: Says how it is loaded.
        device: Where it goes.

    Raises:
        WeitiaoError: It cannot be loaded, or not be trained in its number format.
    """
    model = load_model(in_format(config, method), attention=FOREST, device=device, options=method.load_options())
    give_back_memory()
    require_trainable_dtype(model.dtype)
    return model


def adapt(
    recipe: Recipe,
    method: Method,
    model: PreTrainedModel,
    start: Start | None,
    data: RenderedData,
    plan: Plan | None,
    tell: Tell,
    run: RunDir | None,
) -> Begun:
    """The model with what learns in it, tried on a forest of its own rows.

    Args:
        recipe, method, data: Of the training.
        model: From `load_base`.
        start: What it goes on from, if there is such.
        plan: Of a run that begins; None for one that goes on, whose first values come from its checkpoint.
        tell: Gets every line that a person should see.
        run: The run directory, on the main process.

    Raises:
        WeitiaoError: The method does not fit the model, or the model computes other losses in a forest than alone.
    """
    rows = sequences_of((*data.train, *data.validation))
    if plan is not None:
        state_rounding(recipe, model, data.validation, tell, metrics=run.metrics_path if run else None)
    begun = begin(method, model, start, seed=recipe.train.seed)
    adapted = begun.model
    if model.device.type == "cpu":
        put_fast_linears(adapted)
    settle(adapted)
    settle_routers(adapted, recipe.train.router, whole=isinstance(method, Selected))
    checkpoint_layers(model, int(recipe.train.checkpointing))
    if line := choose_attention(recipe, adapted, rows):
        tell(line)
    if plan is not None:
        method.initialize(adapted, base=recipe.model, forests=partial(_first_forests, plan))
    if start is not None:
        tell(f"{begun.said}")
        if final_tokenizer(start.directory, recipe.model).chat_template != data.tokenizer.chat_template:
            tell(f"{start.name} was trained with another chat template than this training prints")
    if recipe.train.neftune is not None:
        add_embedding_noise(adapted, recipe.train.neftune)
    learned = sum(p.numel() for p in learned_parameters(adapted).values())
    every = sum(p.numel() for p in adapted.parameters())
    if line := _experts_instead(adapted, recipe):
        tell(line)
    # they compute in float32 and in blocks alone
    fuses = recipe.train.precision == "weights" and recipe.model.attention in ("auto", "blocks")
    fused = num_fused(adapted) if fuses else 0
    key = "progress.learned.fused" if fused else "progress.learned"
    tell(told(lambda words: words(key, learned=learned, all=every, fused=fused)))
    return begun


def _experts_instead(adapted: nn.Module, recipe: Recipe) -> str | None:
    """What PEFT put on stacks of experts though the recipe names linear layers: it reads names as earlier files had."""
    made: Any = getattr(adapted, "active_peft_config", None)
    taken = {*(getattr(made, "target_parameters", None) or ())} - {*getattr(recipe.method, "target_parameters", ())}
    if not taken:
        return None
    names = ", ".join(sorted(taken))
    return f"PEFT puts adapters on {names} of the experts in this family, and none on other layers of such names"


def choose_attention(recipe: Recipe, model: nn.Module, rows: Sequence[TokenSequence]) -> str | None:
    """Have attention computed as the recipe asks for, where that is exact; by what, and why, for a person to read."""
    asked = recipe.model.attention
    few, longest = [row.token_ids for row in rows[:4]], max(row.num_inputs for row in rows)
    if asked == "alone":
        set_backend(model, asked)
    if runs_alone(model):
        return forest_or_alone(model, few, longest=longest) or "Attention: each row alone"
    share = recipe.train.share_prefixes
    if asked != "auto":
        probe_forest(model, few, longest=longest, share_prefixes=share)
    elif (why := forest_or_alone(model, few, longest=longest, share_prefixes=share)) is not None:
        return why
    set_backend(model, asked)
    return attention_line(recipe, model, rows)


def make_optimizer(recipe: Recipe, method: Method, objective: Objective) -> torch.optim.Optimizer:
    """The optimiser over what the method put into the model, and what the objective itself learns."""
    groups = [*method.groups(objective.model), *_of_objective(objective)]
    optimizer = recipe.optimizer.build(groups, objective.model, learning_rate=recipe.train.learning_rate)
    if not isinstance(recipe.optimizer, InBackward):  # there nothing else may change, and these move nothing
        optimizer.register_step_post_hook(lambda *step: method.after_step(objective.model))
    return optimizer


def _first_forests(plan: Plan) -> list[Forest]:
    return [forest for index in range(_LOOKED_AT) for forest in plan.step(index).forests]


def _of_objective(objective: Objective) -> list[dict[str, Any]]:
    """The parameter group of what an objective itself learns, its heads for instance; none for most."""
    own = [p for name, p in learned_parameters(objective).items() if not name.startswith("model.")]
    return [{"params": own}] if own else []
