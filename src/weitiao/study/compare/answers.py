"""The answers of one side: read from a file, found again, or written now."""

from __future__ import annotations

import gc
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.text import Text

from weitiao.errors import DataError
from weitiao.evaluation.answer_files import find_answers, keep_answers, read_predictions
from weitiao.evaluation.answers import Prediction, graded, write_answers
from weitiao.evaluation.metrics.base import Metric
from weitiao.evaluation.task import Task
from weitiao.methods.open import open_model
from weitiao.rendering.config import RenderingConfig
from weitiao.study.compare.sides import Side, side_tokenizer
from weitiao.study.setup import device_here
from weitiao.study.task import key_of_answers
from weitiao.terminal.progress import answer_progress, teller

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


def written_answers(
    side: Side, task: Task, *, rendering: RenderingConfig, output: Path, console: Console
) -> tuple[Prediction, ...]:
    """The graded answers of a model to the rows of a task.

    Answers that lie in the run directory or in `output` and were made from the same weights, prompts and settings are
    taken from there; others are written now, and kept there.

    Args:
        side: A run, an adapter or a model.
        task: Rows, metrics, and how answers are written.
        rendering: Chat template of models that bring none of a training.
        output: Where answers go that belong to no run.
        console: Where progress goes.

    Raises:
        RenderingError: The template refuses a row, there is none, or a prompt fills the model's context.
        WeitiaoError: A metric cannot grade an answer.
    """
    assert side.model is not None
    tell, examples = teller(console), task.gradable
    tokenizer = side_tokenizer(side, rendering)
    key = key_of_answers(task, tokenizer, side.model, side.weights)
    directories = [directory for directory in (side.run_dir, output) if directory is not None]
    files = (path for directory in directories for path in sorted(directory.glob("predictions*.jsonl")))
    if found := find_answers(files, key, examples):
        path, answers = found
        tell(f"{side.name}: answers of {path}")
        return graded(answers, task.metrics)
    tell(f"{side.name}: {len(examples):,} rows to answer")
    predictions = graded(_generate(side, tokenizer, task, console), task.metrics)
    keep_answers(directories[0] / f"predictions-{key.name}.jsonl", predictions, key)
    return predictions


def stored_answers(side: Side, metrics: Sequence[Metric] | None) -> tuple[Prediction, ...]:
    """The answers in a file of predictions.

    Args:
        side: The file.
        metrics: Grade the answers by these; None leaves the grades that they have.

    Raises:
        RunError: The file cannot be read.
        DataError: There are no predictions in it.
        WeitiaoError: A metric cannot grade a row.
    """
    assert side.path is not None
    predictions = read_predictions(side.path)
    if not predictions:
        raise DataError(f"{side.path} holds no predictions.", "Write it again with `weitiao eval`.")
    return predictions if metrics is None else graded(predictions, metrics)


def _generate(side: Side, tokenizer: PreTrainedTokenizerBase, task: Task, console: Console) -> list[Prediction]:
    assert side.model is not None
    target = side.path if side.is_tuned and side.path is not None else side.model.name
    with console.status(Text(f"Loading {side.name}"), spinner="line"):
        opened = open_model(target, base=side.model, device=device_here())
    with answer_progress(console, batch_size=task.generation.batch_size) as on_progress:
        answers = write_answers(opened.model, tokenizer, task.gradable, task.generation, on_progress=on_progress)
    del opened
    gc.collect()  # modules refer to each other; the other side needs the memory
    return answers
