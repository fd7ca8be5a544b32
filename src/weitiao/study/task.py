"""The task of a recipe: training, `weitiao baseline`, `eval` and `compare` do the same one."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from weitiao.data.load import DataSet, load_data
from weitiao.errors import DataError, RecipeError, RenderingError
from weitiao.evaluation.answer_files import AnswersKey, answers_key
from weitiao.evaluation.answers import is_gradable, prompts_of
from weitiao.evaluation.task import Task, evaluate, make_task
from weitiao.machine.versions import COMPUTING, versions
from weitiao.models.config import ModelConfig
from weitiao.models.load import format_of
from weitiao.recipe import Recipe
from weitiao.rendering.render import Prompts
from weitiao.seeding import shuffled
from weitiao.study.dataset import RenderedData
from weitiao.study.setup import device_here
from weitiao.training.validation import AnswerValidation

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedTokenizerBase


def askable(
    task: Task, recipe: Recipe, tokenizers: Iterable[PreTrainedTokenizerBase], tell: Callable[[str], None]
) -> Task:
    """The task without the rows that a chat template refuses, where the recipe leaves out bad rows.

    Args:
        task: The task.
        recipe: Says whether bad rows are left out.
        tokenizers: Of all models that are asked: they are asked the same rows. None is loaded without need.
        tell: Gets every line that a person should see.

    Raises:
        DataError: No row is left.
    """
    if recipe.data.on_bad_rows != "skip":
        return task
    for tokenizer in tokenizers:
        kept, reasons, prompt = [], [], Prompts(tokenizer)
        for example in task.examples:
            try:
                if is_gradable(example):
                    prompt(example.prompt, example.tools, where=example.row_id)
            except RenderingError as error:
                reasons.append(error.what)
            else:
                kept.append(example)
        if reasons and not kept:
            raise DataError(
                f"{task.name}: No row can be asked: {reasons[0]}",
                "Correct the rows, or set rendering.template to a template that takes them.",
            )
        if reasons:
            rows = "1 row that" if len(reasons) == 1 else f"{len(reasons):,} rows that"
            tell(f"{task.name}: Left out {rows} cannot be asked: {reasons[0]}")
        task = replace(task, examples=tuple(kept))
    return task


def task_from_recipe(
    recipe: Recipe,
    data: DataSet | None = None,
    *,
    part: Literal["test", "validation"] = "test",
    sample: int | None = None,
) -> Task:
    """What a recipe's model is asked, and how its answers are graded.

    Args:
        recipe: Its sections `data` and `evaluate` are used. `evaluate.limit` holds for the test rows.
        data: Its data, when it was read before.
        part: Which rows are asked.
        sample: So many of the gradable rows only, chosen by `train.seed`.

    Raises:
        RecipeError: No metric of the recipe grades answers.
        WeitiaoError: The data cannot be read, or a metric cannot be built or cannot grade a row.
    """
    data = data or load_data(recipe.data, rows=recipe.objective.rows())
    if not recipe.evaluate.graders:
        raise RecipeError(
            "evaluate.metrics: `perplexity` grades no answers, and no other metric is there.",
            "Put a metric in front of it, for instance: metrics: [exact_match, perplexity].",
        )
    examples = data.test[: recipe.evaluate.limit] if part == "test" else data.validation
    if sample is not None:
        gradable = [example for example in examples if is_gradable(example)]
        chosen = sorted(shuffled(len(gradable), seed=recipe.train.seed, epoch=0)[:sample])
        examples = tuple(gradable[place] for place in chosen)
    training_answers = [example.answer for example in data.task_train if is_gradable(example)]
    return make_task(examples, recipe.evaluate, training_answers=training_answers, name=part)


def key_of_answers(
    task: Task,
    tokenizer: PreTrainedTokenizerBase,
    model: ModelConfig,
    weights: str,
    prompts: Sequence[Sequence[int]] | None = None,
) -> AnswersKey:
    """What the answers of a model to the gradable rows of a task are made from; with its note they are found again.

    Args:
        task: Rows, and how answers are written.
        tokenizer: With the chat template that is used.
        model: The model, or the base model of the adapter.
        weights: Hash of model and adapter.
        prompts: Of the rows, when they are known.
    """
    generation = Path(tokenizer.name_or_path, "generation_config.json")  # names further tokens that end an answer
    ends = [tokenizer.eos_token_id, generation.read_text(encoding="utf-8") if generation.is_file() else ""]
    made_by = json.dumps([weights, ends, versions(COMPUTING)])
    prompts = prompts_of(tokenizer, task.gradable) if prompts is None else prompts
    return answers_key(made_by, format_of(model, device=device_here()), task.gradable, prompts, task.generation)


def validation_task(recipe: Recipe, data: RenderedData) -> Task | None:
    """What a validation asks the model; None when the recipe does not want answers."""
    if not recipe.train.validate_answers:
        return None
    task = task_from_recipe(recipe, data.data, part="validation", sample=recipe.train.validate_answers)
    task = askable(task, recipe, [data.tokenizer], lambda line: None)  # said when the rows were rendered
    if not task.examples:
        raise RecipeError(
            "train.validate_answers: no validation row has an answer to compare with.",
            "Set data.validation to rows that have one, or train.validate_answers to 0.",
        )
    return task


def answer_validation(model: torch.nn.Module, data: RenderedData, task: Task | None) -> AnswerValidation | None:
    """What lets the model answer the task; its prompts are tried now."""
    if task is None:
        return None
    prompts_of(data.tokenizer, task.gradable, room_in=model)

    def scores(model: torch.nn.Module) -> dict[str, float]:
        return {name: one.value for name, one in evaluate(model, data.tokenizer, task).scores.metrics.items()}

    return AnswerValidation(task.metrics[0].title, scores)
