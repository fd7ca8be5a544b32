"""From the recipe's `data` and `rendering` sections to sequences, with everything worth telling printed once."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from weitiao.data.load import DataSet, load_data
from weitiao.models.load import load_tokenizer
from weitiao.models.names import resolve_model
from weitiao.recipe import Recipe
from weitiao.rendering.render import render
from weitiao.rendering.sequence import Sequence
from weitiao.rendering.templates import apply_template

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

Tell = Callable[[str], None]


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
    apply_template(tokenizer, recipe.rendering)
    return tokenizer


def model_context(recipe: Recipe) -> int:
    """Positions that the recipe's model has, from its configuration alone."""
    from transformers import AutoConfig

    path = resolve_model(recipe.model)
    config = AutoConfig.from_pretrained(str(path), trust_remote_code=recipe.model.trust_remote_code)
    return int(config.max_position_embeddings)


def load_rendered(recipe: Recipe, *, max_context: int, tell: Tell, rejected_path: Path | None = None) -> RenderedData:
    """Read, check, split and render the data of a recipe.

    Args:
        recipe: Its sections `data`, `rendering` and `model` are used.
        max_context: Positions that the model has.
        tell: Gets every line that a person should see.
        rejected_path: Where rows go that `on_bad_rows: skip` leaves out.
    """
    data = load_data(recipe.data, rejected_path=rejected_path)
    for line in (*data.summaries, *data.overlaps):
        tell(str(line))
    tokenizer = prepare_tokenizer(recipe)
    parts = []
    for name, examples in (("train", data.train), ("validation", data.validation)):
        rendered = render(examples, tokenizer, recipe.rendering, max_context=max_context) if examples else None
        parts.append(rendered.sequences if rendered else ())
        if rendered:
            for line in rendered.report:
                tell(f"{name}: {line}")
    return RenderedData(tokenizer, data, *parts)
