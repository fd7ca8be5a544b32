"""From the recipe's `data` and `rendering` sections to sequences, with everything worth telling printed once."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

from weitiao.data.load import DataSet, load_data
from weitiao.data.rejected import add_rejected
from weitiao.models.load import load_tokenizer
from weitiao.models.names import resolve_model
from weitiao.recipe import Recipe
from weitiao.rendering.config import RenderingConfig
from weitiao.rendering.render import render
from weitiao.rendering.sequence import Sequence
from weitiao.rendering.templates import apply_template, fixed_date
from weitiao.training.run_dir import RunDir

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

Tell = Callable[[str], None]

NO_LIMIT = 2**31
"""More tokens than any row has."""


@dataclass(frozen=True, slots=True)
class RenderedData:
    """The data of a recipe, ready to be learned from.

    Attributes:
        tokenizer: With the template that was rendered with.
        data: The examples of all parts.
        train, validation: Their sequences.
    """

    tokenizer: PreTrainedTokenizerFast
    data: DataSet
    train: tuple[Sequence, ...]
    validation: tuple[Sequence, ...]

    @property
    def fingerprint(self) -> str:
        """Changes when any token or weight of the training data changes."""
        digest = hashlib.sha256()
        for sequence in self.train:
            digest.update(repr((sequence.token_ids, sequence.weights)).encode())
        return digest.hexdigest()


def prepare_tokenizer(recipe: Recipe) -> PreTrainedTokenizerFast:
    """The tokenizer of the recipe's model, with the recipe's template."""
    tokenizer = load_tokenizer(recipe.model)
    apply_template(tokenizer, dated(recipe))
    return tokenizer


def dated(recipe: Recipe) -> RenderingConfig:
    """The section `rendering`, with the day of the run where the recipe leaves it open and the run has begun."""
    path = None if recipe.run_dir is None else RunDir(recipe.run_dir).environment_path
    if recipe.rendering.date != "auto" or path is None or not path.is_file():
        return recipe.rendering
    day = json.loads(path.read_text(encoding="utf-8")).get("date")
    return recipe.rendering.model_copy(update={"date": date.fromisoformat(day)}) if day else recipe.rendering


def model_context(recipe: Recipe) -> int:
    """Positions that the recipe's model has, from its configuration alone; `NO_LIMIT` where it names none."""
    from transformers import AutoConfig

    from weitiao.models.parts import context_length

    path = resolve_model(recipe.model)
    config = AutoConfig.from_pretrained(str(path), trust_remote_code=recipe.model.trust_remote_code)
    return context_length(config) or NO_LIMIT


def load_rendered(recipe: Recipe, *, max_context: int, tell: Tell, rejected_path: Path | None = None) -> RenderedData:
    """Read, check, split and render the data of a recipe.

    Args:
        recipe: Its sections `data`, `rendering` and `model` are used.
        max_context: Positions that the model has.
        tell: Gets every line that a person should see.
        rejected_path: Where rows go that `on_bad_rows: skip` leaves out.
    """
    skip = recipe.data.on_bad_rows == "skip"
    data = load_data(recipe.data, rejected_path=rejected_path)
    for line in (*data.summaries, *data.overlaps):
        tell(str(line))
    tokenizer = prepare_tokenizer(recipe)
    if day := fixed_date(tokenizer):
        tell(f"The chat template prints the date: in this run it is {day} (rendering.date).")
    parts = []
    for name, examples in (("train", data.train), ("validation", data.validation)):
        rendered = (
            render(examples, tokenizer, recipe.rendering, max_context=max_context, skip_bad_rows=skip)
            if examples
            else None
        )
        parts.append(rendered.sequences if rendered else ())
        if rendered:
            if rejected_path is not None:
                add_rejected(rejected_path, examples, rendered.refused)
            for line in rendered.report:
                tell(f"{name}: {line}")
    return RenderedData(tokenizer, data, *parts)
