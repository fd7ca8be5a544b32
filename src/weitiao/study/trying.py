"""Prompts that a person tries by hand: a few rows as the baseline would ask them, in words that are not saved."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from weitiao.baseline.config import Selection
from weitiao.baseline.fewshot import choose_shots, with_shots
from weitiao.data.config import SourceConfig
from weitiao.data.example import Example
from weitiao.data.formats.templates import variable
from weitiao.data.load import held_out_rows, load_data
from weitiao.data.reading.files import objects_of
from weitiao.data.writing.revise import revise, rows_of
from weitiao.errors import DataError
from weitiao.evaluation.answers import is_gradable, prompts_of
from weitiao.evaluation.task import Task
from weitiao.recipe import Recipe
from weitiao.study.dataset import prepare_tokenizer
from weitiao.study.sources import head_of, meant, settings_of, understood
from weitiao.study.task import task_from_recipe


@dataclass(frozen=True, slots=True)
class Tried:
    """Rows under a prompt.

    Attributes:
        part: Whose they are: `validation`, or `train` where no rows are held out for it. Never those of the test part:
            who chose a prompt by them would know nothing of others.
        num_rows: How many rows the part has that can be graded.
        task: The rows, their metrics, and how answers are written.
        prompts: The token ids of each row's prompt.
        texts: The same as text, as the model sees it.
        template: The chat template that they were printed with, where it is not the model's own.
    """

    part: str
    num_rows: int
    task: Task
    prompts: tuple[tuple[int, ...], ...]
    texts: tuple[str, ...]
    template: str | None


def words_of(source: SourceConfig, record: str) -> tuple[dict[str, str], tuple[str, ...]]:
    """How a source asks now.

    Args:
        source: The source.
        record: What the objective takes (`Rows.record`).

    Returns:
        `prompt` and `system` as templates, those that it has; and the names of its columns.

    Raises:
        DataError: The source cannot be read.
    """
    head = head_of(source)
    roles, templates = understood(source, head, record)
    for role in ("prompt", "system"):
        if role not in templates and (names := [name for name, one in roles.items() if one == role]):
            templates[role] = "\n".join(map(variable, names))
    columns = dict.fromkeys(str(key) for row in objects_of(head) for key in row)
    return {role: text for role, text in templates.items() if role != "completion"}, tuple(columns)


def try_prompt(
    recipe: Recipe, words: Mapping[str, str], *, shots: int = 0, selection: Selection = "random", num: int = 8
) -> Tried:
    """A few rows under another prompt.

    Args:
        recipe: Its data, and how its answers are graded.
        words: Templates over the columns of a row, `prompt` and `system`, in place of what the recipe has; an empty
            `system` is none.
        shots: Solved training examples before the question.
        selection: Which, as `baseline.selection`.
        num: So many rows at most, the same every time.

    Raises:
        WeitiaoError: A template cannot be used, no row can be graded, or the rows cannot be read.
    """
    kind = recipe.objective.rows()
    data = load_data(recipe.data, rows=kind)
    part = "validation" if any(map(is_gradable, data.validation)) else "train"
    if part == "train":
        data = replace(data, validation=data.task_train)
    gradable = sum(map(is_gradable, data.validation))
    if not gradable:
        raise DataError("No row has a question and an answer to compare with.", "Say on the page of the data which.")
    task = task_from_recipe(recipe, data, part="validation", sample=num)
    pool: tuple[Example, ...] = data.task_train
    if words:
        drafted = {
            name: tuple(meant(one, asking(one, words, kind.record)) for one in sources)
            for name, sources in recipe.data.sources.items()
            if name in ("train", "validation")
        }
        whole = dict.fromkeys(recipe.data.fractions)  # no row goes elsewhere because its words are others
        again = load_data(recipe.data.model_copy(update={**whole, **drafted}), rows=kind)
        by_id = {one.row_id: one for one in (*again.train, *again.validation)}
        task = replace(task, examples=tuple(by_id[one.row_id] for one in task.examples if one.row_id in by_id))
        pool = tuple(by_id[one.row_id] for one in pool if one.row_id in by_id)
    chosen = choose_shots(pool, task.examples, num=shots, selection=selection, seed=recipe.baseline.seed)
    task = replace(task, examples=tuple(with_shots(row, some) for row, some in zip(task.examples, chosen, strict=True)))
    tokenizer = prepare_tokenizer(recipe)
    prompts = prompts_of(tokenizer, task.examples)
    texts = tuple(str(tokenizer.decode(one)) for one in prompts)
    own = recipe.rendering.template == recipe.rendering.date == "auto"
    return Tried(part, gradable, task, tuple(map(tuple, prompts)), texts, None if own else str(tokenizer.chat_template))


def asking(source: SourceConfig, words: Mapping[str, str], record: str) -> dict[str, Any]:
    """The settings with which a source asks in other words; arguments as of `words_of` and `try_prompt`.

    Raises:
        DataError: The source cannot be read, or its rows are no questions in columns.
    """
    head = head_of(source)
    roles, templates = understood(source, head, record)
    if words.get("prompt") and set(roles.values()) & {"messages", "text"}:
        raise DataError(
            "`prompt`: these rows are whole conversations or texts, which no prompt can be put around.",
            "Leave it empty; a system text can be tried.",
        )
    kept = {name: role for name, role in roles.items() if role not in words}
    others = {role: text for role, text in {**templates, **words}.items() if text}
    return {**settings_of(kept, next(iter(objects_of(head)), {})), **others}


def part_files(recipe: Recipe, folder: Path) -> dict[str, dict[int, Path]]:
    """Write the rows of the training sources to a file for each part, so that other words move no row to another part.

    Args:
        recipe: Some of its parts are fractions.
        folder: Where they go.

    Returns:
        For `train` and each fraction, the file of each training source that has rows in it.

    Raises:
        DataError: The rows cannot be read or written.
    """
    held = held_out_rows(recipe.data, recipe.objective.rows())
    files: dict[str, dict[int, Path]] = {part: {} for part in ("train", *held)}
    for index, source in enumerate(recipe.data.train):
        places = {}
        for at, file, row in rows_of(source):
            part = next((name for name, rows in held.items() if (file, row.number) in rows), "train")
            places[at] = "" if row.problem else part
        for part, written in files.items():
            if part in places.values():
                written[index] = folder / f"{part}-{index}.jsonl"
                revise(source, written[index], drop={at for at, one in places.items() if one != part}, edits={})
    return files
