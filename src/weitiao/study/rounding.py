"""What rounding the weights of a base model costs before anything is learned: the validation loss with and without."""

from __future__ import annotations

import time
from pathlib import Path

from transformers import PreTrainedModel

from weitiao.data.example import ANSWERS
from weitiao.json_text import json_text
from weitiao.models.attention import FOREST
from weitiao.models.load import load_model
from weitiao.recipe import Recipe
from weitiao.rendering.items import Item
from weitiao.study.dataset import Tell
from weitiao.training.item_losses import mean_loss
from weitiao.training.validation import validation_losses

_ROWS = 200


def state_rounding(
    recipe: Recipe, model: PreTrainedModel, validation: tuple[Item, ...], tell: Tell, *, metrics: Path | None
) -> None:
    """Say once, at the start of a training, what the quantisation of its base model costs on validation rows.

    The weights before rounding are read from their files as they are needed, so they need next to no memory.

    Args:
        recipe: With its token budget.
        model: The base model with rounded weights.
        validation: Validation rows; the first 200 are used.
        tell: Gets the line.
        metrics: The file that is begun with the figures; None to write none.
    """
    objective = recipe.objective
    known = objective.rows() == ANSWERS and objective.type != "distill"  # whose teacher is not there yet
    if recipe.model.quantization is None or not validation or not known:
        return  # before anything is learned, answers are compared by chance alone
    start, items = time.perf_counter(), validation[:_ROWS]
    update = {"quantization": None, "map_weights": True}
    exact = load_model(recipe.model.model_copy(update=update), attention=FOREST, device=model.device)
    losses = {}
    for name, one in (("exact", exact), ("rounded", model)):
        found = validation_losses(
            objective.build(one),
            items,
            token_budget=int(recipe.train.token_budget),
            share_prefixes=recipe.train.share_prefixes,
        )
        losses[name] = mean_loss(found.items).loss
    seconds = time.perf_counter() - start
    tell(
        f"{recipe.model.quantization}: the validation loss of the base model is {losses['rounded']:.4f}, and "
        f"{losses['exact']:.4f} before its weights were rounded ({len(items)} rows, {seconds:.0f} s)"
    )
    if metrics is not None:
        line = {"step": 0, "rounding": {**losses, "rows": len(items), "seconds": seconds}}
        metrics.write_text(json_text(line, ascii=True) + "\n", encoding="utf-8")
