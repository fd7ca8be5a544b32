"""From the recipe's `data` and `rendering` sections to items, with everything worth telling printed once."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from weitiao.data.example import Example
from weitiao.data.load import REPLAY, DataSet, load_data
from weitiao.data.writing.rejected import add_rejected
from weitiao.models.load import load_config, load_tokenizer
from weitiao.recipe import Recipe
from weitiao.rendering.config import RenderingConfig
from weitiao.rendering.items import Item, TokenSequence
from weitiao.rendering.render import Rendered, render
from weitiao.rendering.templates import apply_template, fixed_date
from weitiao.runs.run_dir import RunDir
from weitiao.study.prompts import prompt_items
from weitiao.text.wording import Wording, told
from weitiao.training.weighing import Unit, choose_unit, mean_weights, shares, weigh_rows, weigh_source

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
        train, validation: Their items.
    """

    tokenizer: PreTrainedTokenizerFast
    data: DataSet
    train: tuple[Item, ...]
    validation: tuple[Item, ...]

    @property
    def fingerprint(self) -> str:
        """Changes when any token or weight of the training data changes."""
        return items_fingerprint(self.train)

    @property
    def validation_fingerprint(self) -> str:
        """The same for the validation data."""
        return items_fingerprint(self.validation)

    @property
    def several_sources(self) -> Mapping[str, str]:
        """Row id to source; empty where the rows of each part are from one."""
        sources = self.data.sources
        several = any(len({sources[one.row_id] for one in part}) > 1 for part in (self.train, self.validation))
        return sources if several else {}

    def weighed(self, recipe: Recipe, *, known: str | None = None) -> tuple[RenderedData, Unit]:
        """The same data with the weights that `train.weigh` and `data.replay.share` ask for, and the unit of the loss.

        Args:
            recipe: What this was made from.
            known: The fingerprint that a run was started with. Where it is that of the data as it is here, the weights
                stay: in runs from before there were these settings, every learned token weighs the same.
        """
        asked = recipe.train.weigh
        windows = recipe.objective.window_overlap() is not None  # of which a long row has more: tokens count alike
        rows = any(item.rows for item in self.train)  # a pair is one, whatever its length
        chosen: Unit = "tokens" if windows else "rows" if rows else choose_unit(self.train, self.data.sources)
        unit = chosen if asked == "auto" else asked
        if known is not None and known == self.fingerprint:
            return self, unit
        train, validation = self.train, self.validation
        if unit == "rows" and not rows:
            train, validation = weigh_rows(train), weigh_rows(validation)
        if recipe.data.replay is not None:
            train = weigh_source(train, self.data.sources, REPLAY, recipe.data.replay.share)
        return replace(self, train=train, validation=validation), unit


def describe_loss(plain: RenderedData, weighed: RenderedData, unit: Unit) -> str | None:
    """One line about what the loss counts and whose it is; None where there is one source, whose tokens count alike."""
    sources = plain.data.sources
    of_loss = shares(weighed.train, sources)
    compared = any(item.rows for item in plain.train)
    if len(of_loss) < 2 and (unit == "tokens" or compared):
        return None
    lengths = mean_weights(plain.train, sources)
    learned = {} if compared else {one: f" ({lengths[one]:,.1f} learned tokens a row)" for one in of_loss}
    parts = [f"{source} {share:.1%}{learned.get(source, '')}" for source, share in of_loss.items()]
    return f"The loss counts {unit} (train.weigh); shares of it: {', '.join(parts)}"


def items_fingerprint(items: Iterable[Item]) -> str:
    """Changes when any token, weight or column of the items changes."""
    digest = hashlib.sha256()
    for item in items:
        for sequence in item.sequences:
            weights = (sequence.weights.astype(np.float64) * item.weight).tolist()
            digest.update(repr((tuple(sequence.token_ids.tolist()), tuple(weights))).encode())
            for name, values in sorted(sequence.columns.items()):
                digest.update(name.encode() + values.tobytes())
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
    from weitiao.models.parts import context_length

    return context_length(load_config(recipe.model)) or NO_LIMIT


def load_rendered(recipe: Recipe, *, tell: Tell, rejected_path: Path | None = None) -> RenderedData:
    """Read, check, split and render the data of a recipe.

    Args:
        recipe: Its sections `data`, `rendering` and `model` are used.
        tell: Gets every line that a person should see.
        rejected_path: Where rows go that `on_bad_rows: skip` leaves out.
    """
    data = load_told(recipe, tell, rejected_path=rejected_path)
    tokenizer = prepare_tokenizer(recipe)
    if day := fixed_date(tokenizer):
        tell(f"The chat template prints the date: in this run it is {day} (rendering.date).")
    parts: list[tuple[Item, ...]] = []
    for name, examples in (("train", data.train), ("validation", data.validation)):
        if recipe.objective.writes:
            items, said = prompt_items(recipe, examples, tokenizer, model_context(recipe))
            parts.append(items)
            for line in said:
                tell(f"{name}: {line}")
            continue
        rendered = render_part(recipe, examples, tokenizer, name, tell) if examples else None
        parts.append(recipe.objective.items(rendered.sequences) if rendered else ())
        if rendered and rejected_path is not None:
            add_rejected(rejected_path, examples, rendered.refused)
    return RenderedData(tokenizer, data, *parts)


@dataclass(frozen=True, slots=True)
class Shown:
    """The training rows of a recipe for people.

    Attributes:
        tokenizer: With the template that was rendered with.
        sequences: Prompts, or what the rows have, each with what it is (see `labels` of an objective).
        items: What a step counts.
    """

    tokenizer: PreTrainedTokenizerFast
    sequences: Sequence[tuple[str, TokenSequence]]
    items: tuple[Item, ...]


def load_shown(recipe: Recipe, *, tell: Tell) -> Shown:
    """Read and render the training rows of a recipe as they are before an objective makes items of them."""
    examples, tokenizer, objective = load_told(recipe, tell).train, prepare_tokenizer(recipe), recipe.objective
    if objective.writes:
        items, _ = prompt_items(recipe, examples, tokenizer, model_context(recipe))
        prompts = [replace(item.sequences[0], weights=np.zeros_like(item.sequences[0].weights)) for item in items]
        return Shown(tokenizer, [("", one) for one in prompts], items)
    sequences = render_part(recipe, examples, tokenizer, "train", tell).sequences
    labelled = list(zip(objective.labels(sequences), sequences, strict=True))
    return Shown(tokenizer, labelled, objective.items(sequences))


def items_of_part(
    recipe: Recipe, examples: Sequence[Example], tokenizer: PreTrainedTokenizerFast, name: str, tell: Tell
) -> tuple[Item, ...]:
    """The items of some examples; what happened to them is told under the name of their part."""
    return recipe.objective.items(render_part(recipe, examples, tokenizer, name, tell).sequences) if examples else ()


def load_told(recipe: Recipe, tell: Tell, *, rejected_path: Path | None = None) -> DataSet:
    """The examples of a recipe; what was read, and what its parts have in common, is told."""
    data = load_data(recipe.data, rows=recipe.objective.rows(), rejected_path=rejected_path)
    for summary in data.summaries:
        tell(told(summary.in_words))
    for overlap in data.overlaps:
        tell(str(overlap))
    return data


def render_part(
    recipe: Recipe, examples: Sequence[Example], tokenizer: PreTrainedTokenizerFast, name: str, tell: Tell
) -> Rendered:
    """Examples as the recipe renders them; what happened to them is told under the name of their part."""
    skip = recipe.data.on_bad_rows == "skip"
    rendered = render(
        examples,
        tokenizer,
        recipe.rendering,
        max_context=model_context(recipe),
        skip_bad_rows=skip,
        window_overlap=recipe.objective.window_overlap(),
    )
    for line in rendered.report:
        tell(told(partial(_of_part, name, line)))
    return rendered


def _of_part(name: str, line: str, words: Wording) -> str:
    return words("progress.part", part=name, line=words.line(line))
