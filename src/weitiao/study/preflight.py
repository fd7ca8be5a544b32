"""What would stop a training, or leave a setting without effect, found before its first step."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Sequence
from dataclasses import replace

from torch import nn

from weitiao.errors import DataError, RecipeError, RunError
from weitiao.forest.plan import num_tokens
from weitiao.models.asking import asked
from weitiao.models.attention_choice import Call, describe_choice
from weitiao.models.boundary import loading
from weitiao.models.parts import causal_model, evaluating
from weitiao.models.probe import ANOTHER
from weitiao.recipe import Recipe
from weitiao.rendering.items import Item, TokenSequence
from weitiao.runs.run_dir import RunDir
from weitiao.study.dataset import RenderedData, Tell
from weitiao.training.checkpoint import State
from weitiao.training.config import TrainConfig
from weitiao.training.engine import learned_parameters
from weitiao.training.precision import Precision
from weitiao.training.schedule import warmup_steps

_FEW = 16
"""Tokens of a row by which a model's layers are asked what they want of attention."""


def check_budget(items: Iterable[Item], budget: int, *, share_prefixes: bool, more: int = 0) -> None:
    """Require that every item alone is within the token budget, with so many more tokens behind it.

    Raises:
        DataError: The longest one is not.
    """
    lengths = [(num_tokens(item, share_prefixes=share_prefixes) + more, item) for item in items]
    long = [(length, item) for length, item in lengths if length > budget]
    if long:
        length, longest = max(long, key=lambda pair: pair[0])
        what = "1 sequence is" if len(long) == 1 else f"{len(long):,} sequences are"
        raise DataError(
            f"{what} longer than train.token_budget={budget}; the longest is {longest.row_id}, of {length:,} tokens.",
            f"Set train.token_budget to {length} or more (or to auto), or lower rendering.max_length.",
        )


def check_settings(config: TrainConfig, data: RenderedData, num_steps: int, tell: Tell) -> None:
    """Require that what the section `train` asks for can be done with this data; say what has no effect.

    Raises:
        RecipeError: Validations are asked for, and there is no validation data.
    """
    asked = {"patience": config.patience is not None, "validate_answers": config.validate_answers > 0}
    if not data.validation and (names := [name for name, is_asked in asked.items() if is_asked]):
        raise RecipeError(
            f"train.{names[0]} needs validation data, and the recipe has none.",
            f"Add data.validation=FILE, or a fraction: data.validation=0.05; or leave train.{names[0]} out.",
        )
    if (warmup := warmup_steps(config, num_steps)) >= num_steps > 1:
        tell(f"The learning rate only rises: train.warmup takes {warmup:,} steps, and there are {num_steps:,}")
    if config.batch_size > len(data.train):
        tell(f"A step has all {len(data.train):,} training sequences: train.batch_size is {config.batch_size:,}")


def attention_line(recipe: Recipe, model: nn.Module, rows: Sequence[TokenSequence]) -> str | None:
    """By what attention will be computed, and why; None for a model without any.

    Args:
        recipe: Of the training.
        model: Its model, before or after something that learns was put into it.
        rows: At least one.

    Raises:
        ModelError: `model.attention` names a backend that cannot.
    """
    device, longest = causal_model(model).device, max(row.num_inputs for row in rows)
    name, few = type(causal_model(model)).__name__, rows[0].token_ids[:_FEW].tolist()
    with (
        loading(f"{name} cannot be run on a forest of rows", remedy=ANOTHER),
        evaluating(model),
        Precision(recipe.train.precision, device).computing(),
    ):
        # which mask of its own a layer has makes no difference to what can compute it
        found = {replace(one, rule=None) for one in asked(model, few)}
    calls = [
        Call(
            device,
            one.dtype,
            one.head_dim,
            one.value_dim,
            window=one.window if one.window is not None and one.window < longest else None,
            shared=recipe.train.share_prefixes,
            learns=True,
            capped=one.capped,
            sinks=one.sinks,
        )
        for one in sorted(found, key=str)
    ]
    return describe_choice(recipe.model.attention, calls) if calls else None


def check_disk(run: RunDir, model: nn.Module, config: TrainConfig, state: State, num_steps: int, *, best: bool) -> int:
    """Require room for all that a run will keep: checkpoints (weights and two moments), the best weights, the result.

    Args:
        run: Its directory.
        model: With the parameters that learn.
        config: The recipe's section.
        state: Where the run stands.
        num_steps: Steps of the whole run.
        best: Whether there are validations.

    Returns:
        Bytes that are left over.

    Raises:
        RunError: There is not enough.
    """
    weights = sum(p.numel() * p.element_size() for p in learned_parameters(model).values())
    saves = -(-(num_steps - state.step) // config.save_every)
    # A new one is written beside the old ones before the oldest of them goes.
    checkpoints = min(config.keep_checkpoints + 1, len(run.complete_checkpoints()) + saves)
    needed = 3 * weights * checkpoints + weights * (3 if best else 1)
    there = sum(file.stat().st_size for file in run.checkpoints.rglob("*") if file.is_file())
    free = shutil.disk_usage(run.path).free
    if free + there < needed:
        raise RunError(
            f"{run.path} has {free / 2**20:,.1f} MiB free, and the run needs {(needed - there) / 2**20:,.1f} MiB "
            f"for {checkpoints} checkpoints and its result.",
            "Free some space, lower train.keep_checkpoints, or choose another run_dir.",
        )
    return free + there - needed
