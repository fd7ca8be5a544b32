"""Which cells a baseline has, and the prompts of each, before any model is loaded."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from weitiao.baseline.fewshot.context import PromptCost, prompt_cost, require_room
from weitiao.baseline.fewshot.select import Shots, choose_shots, with_shots
from weitiao.data.example import Example
from weitiao.evaluation.answers import is_gradable, prompts_of
from weitiao.evaluation.task import Task
from weitiao.files import sha256
from weitiao.machine.versions import COMPUTING, versions
from weitiao.models.fingerprint import model_fingerprint
from weitiao.models.load import format_of
from weitiao.models.names import resolve_model
from weitiao.recipe import Recipe
from weitiao.study.dataset import model_context, prepare_tokenizer

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

Prompt = Sequence[int]

_NOT_ABOUT_ANSWERS: dict[str, Any] = {
    **dict.fromkeys(("limit", "benchmarks", "benchmark_path", "benchmark_limit"), True),
    "generation": {"batch_size", "token_budget", "share_prefixes"},
}
"""Settings of `evaluate` that change no answer of a row and no grade."""


@dataclass(frozen=True, slots=True)
class PlannedCell:
    """A model with a prompt, not yet answered.

    Attributes:
        recipe: The recipe, with the model as its model.
        prompt: `zero-shot`, or for instance `8-shot random`.
        shots: Solved examples in the prompt.
        task: The test rows, with their examples before them, and what grades the answers.
        shot_rows: Row ids of the examples, when all rows have the same ones.
        cost: Of the prompts.
        inputs: SHA-256 of all that the answers and their grades depend on.
        predictions: Name of the file that gets the answers.
    """

    recipe: Recipe
    prompt: str
    shots: int
    task: Task
    shot_rows: tuple[str, ...]
    cost: PromptCost
    inputs: str
    predictions: str

    @property
    def model(self) -> str:
        """The model's name in the recipe."""
        return self.recipe.model.name


def plan_cells(recipe: Recipe, train: Sequence[Example], task: Task, *, device: str) -> list[PlannedCell]:
    """Choose examples, render the prompts, and see that they fit.

    Args:
        recipe: Its section `baseline` says which cells there are.
        train: Rows that examples are taken from.
        task: The rows that are asked (at least one, all gradable), and what grades the answers.
        device: Where the models will run.

    Returns:
        The cells, model by model, with growing numbers of examples.

    Raises:
        WeitiaoError: A model is not there, examples cannot be chosen as asked, or do not fit into a model's context.
    """
    chosen = _choices(recipe, train, task)
    grading = _grading(recipe, train)
    models = recipe.baseline.models or (recipe.model,)
    cells: list[PlannedCell] = []
    for model, slug in zip(models, _slugs([model.name for model in models]), strict=True):
        candidate = recipe.model_copy(update={"model": model})
        cells += _of_model(candidate, slug, task, chosen, grading=grading, device=device)
    return cells


def _choices(recipe: Recipe, train: Sequence[Example], task: Task) -> dict[str, tuple[Shots, ...]]:
    """The prompts by name, and the examples that each of them puts before every row."""
    settings = recipe.baseline
    chosen: dict[str, tuple[Shots, ...]] = {}
    for num in settings.shots:
        for selection in settings.selection if num else settings.selection[:1]:
            name = f"{num}-shot {selection}" if num else "zero-shot"
            chosen[name] = choose_shots(train, task.examples, num=num, selection=selection, seed=settings.seed)
    return chosen


def _of_model(
    recipe: Recipe,
    slug: str,
    task: Task,
    chosen: dict[str, tuple[Shots, ...]],
    *,
    grading: list[object],
    device: str,
) -> list[PlannedCell]:
    tokenizer, context = prepare_tokenizer(recipe), model_context(recipe)
    fixed = [*_weights(recipe, tokenizer, device), *grading]
    bare = [len(prompt) for prompt in prompts_of(tokenizer, task.examples)]
    cells = []
    for name, shots in chosen.items():
        num = len(shots[0])
        rows = tuple(with_shots(row, examples) for row, examples in zip(task.examples, shots, strict=True))
        prompts = prompts_of(tokenizer, rows)
        lengths = [len(prompt) for prompt in prompts]
        require_room(
            lengths,
            bare,
            [row.row_id for row in rows],
            shots=num,
            max_new_tokens=task.generation.max_new_tokens,
            context=context,
            model=recipe.model.name,
        )
        cells.append(
            PlannedCell(
                recipe=recipe,
                prompt=name,
                shots=num,
                task=replace(task, name=name, examples=rows),
                shot_rows=_common_rows(shots),
                cost=prompt_cost(lengths, bare, context=context),
                inputs=_digest(fixed, rows, prompts),
                predictions=f"predictions-baseline-{slug}-{name.replace(' ', '-')}.jsonl",
            )
        )
    return cells


def _common_rows(shots: Sequence[Shots]) -> tuple[str, ...]:
    first = shots[0]
    return tuple(example.row_id for example in first) if all(one == first for one in shots) else ()


def _weights(recipe: Recipe, tokenizer: PreTrainedTokenizerFast, device: str) -> list[object]:
    """What names the model's weights, their number format, the tokens that end an answer, and what computes them."""
    dtype = format_of(recipe.model, device=device)
    path = resolve_model(recipe.model)
    generation = path / "generation_config.json"
    ends = generation.read_text(encoding="utf-8") if generation.is_file() else ""
    return [model_fingerprint(path), dtype, tokenizer.chat_template, tokenizer.eos_token_id, ends, versions(COMPUTING)]


def _grading(recipe: Recipe, train: Sequence[Example]) -> list[object]:
    """How answers are written and graded: settings, files and packages of metrics, and the training rows' labels."""
    settings = recipe.evaluate.model_dump(mode="json", exclude=_NOT_ABOUT_ANSWERS)
    metrics = recipe.evaluate.metrics
    files = [sha256(path) for one in metrics for path in one.files if path.is_file()]
    packages = versions(name for one in metrics for name in one.packages)
    return [settings, files, packages, sorted({row.answer for row in train if is_gradable(row)})]


def _digest(fixed: list[object], rows: Sequence[Example], prompts: Sequence[Prompt]) -> str:
    digest = hashlib.sha256(json.dumps([importlib.metadata.version("weitiao"), *fixed]).encode())
    for row, prompt in zip(rows, prompts, strict=True):
        content = [row.row_id, row.answer, row.columns, list(prompt)]
        digest.update(json.dumps(content, default=str).encode() + b"\n")
    return digest.hexdigest()


def _slugs(names: Sequence[str]) -> list[str]:
    """Parts of file names, one per model, all different."""
    slugs: list[str] = []
    for name in names:
        slug = base = re.sub(r"[^\w.-]+", "-", Path(name).name) or "model"
        number = 2
        while slug in slugs:
            slug, number = f"{base}-{number}", number + 1
        slugs.append(slug)
    return slugs
