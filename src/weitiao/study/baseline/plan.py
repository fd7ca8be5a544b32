"""Which cells a baseline has, and the prompts of each, before any model is loaded."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from weitiao.baseline.fewshot import PromptCost, Shots, choose_shots, prompt_cost, require_room, with_shots
from weitiao.data.example import Example
from weitiao.errors import RenderingError
from weitiao.evaluation.answer_files import AnswersKey
from weitiao.evaluation.answers import prompts_of
from weitiao.evaluation.task import Task
from weitiao.methods.fingerprint import weights_hash
from weitiao.recipe import Recipe
from weitiao.study.dataset import Tell, model_context, prepare_tokenizer
from weitiao.study.task import key_of_answers


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
        key: Of all that the answers depend on.
        predictions: Name of the file that gets the answers.
    """

    recipe: Recipe
    prompt: str
    shots: int
    task: Task
    shot_rows: tuple[str, ...]
    cost: PromptCost
    key: AnswersKey
    predictions: str

    @property
    def model(self) -> str:
        """The model's name in the recipe."""
        return self.recipe.model.name


def plan_cells(recipe: Recipe, train: Sequence[Example], task: Task, tell: Tell) -> list[PlannedCell]:
    """Choose examples, render the prompts, and see that they fit.

    Args:
        recipe: Its section `baseline` says which cells there are.
        train: Rows that examples are taken from.
        task: The rows that are asked (at least one, all gradable), and what grades the answers.
        tell: Is told of numbers of examples that nobody asked for and that do not fit: they are left out.

    Returns:
        The cells, model by model, with growing numbers of examples.

    Raises:
        WeitiaoError: A model is not there, examples cannot be chosen as asked, or do not fit into a model's context.
    """
    chosen = _choices(recipe, train, task)
    models = recipe.baseline.models or (recipe.model,)
    cells: list[PlannedCell] = []
    for model, slug in zip(models, _slugs([model.name for model in models]), strict=True):
        candidate = recipe.model_copy(update={"model": model})
        cells += _of_model(candidate, slug, task, chosen, tell)
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
    recipe: Recipe, slug: str, task: Task, chosen: dict[str, tuple[Shots, ...]], tell: Tell
) -> list[PlannedCell]:
    tokenizer, context, weights = prepare_tokenizer(recipe), model_context(recipe), weights_hash(recipe.model, None)
    bare = [len(prompt) for prompt in prompts_of(tokenizer, task.examples)]
    cells = []
    for name, shots in chosen.items():
        num = len(shots[0])
        rows = tuple(with_shots(row, examples) for row, examples in zip(task.examples, shots, strict=True))
        prompts = prompts_of(tokenizer, rows)
        lengths = [len(prompt) for prompt in prompts]
        try:
            require_room(
                lengths,
                bare,
                [row.row_id for row in rows],
                shots=num,
                max_new_tokens=task.generation.max_new_tokens,
                context=context,
                model=recipe.model.name,
            )
        except RenderingError as error:
            if not num or "shots" in recipe.baseline.model_fields_set:
                raise
            # nobody asked for so many
            tell(f"Not asked with {num} examples, which is the default. {error.what} {error.remedy}")
            continue
        asked = replace(task, name=name, examples=rows)
        cells.append(
            PlannedCell(
                recipe=recipe,
                prompt=name,
                shots=num,
                task=asked,
                shot_rows=_common_rows(shots),
                cost=prompt_cost(lengths, bare, context=context),
                key=key_of_answers(asked, tokenizer, recipe.model, weights, prompts),
                predictions=f"predictions-baseline-{slug}-{name.replace(' ', '-')}.jsonl",
            )
        )
    return cells


def _common_rows(shots: Sequence[Shots]) -> tuple[str, ...]:
    first = shots[0]
    return tuple(example.row_id for example in first) if all(one == first for one in shots) else ()


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
