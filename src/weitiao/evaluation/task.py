"""A task: rows, how they are answered, and what grades the answers. Training, evaluation and baseline share it."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from weitiao.data.example import Example
from weitiao.evaluation.answers import Prediction, check_rows, graded, is_gradable, write_answers
from weitiao.evaluation.config import EvaluationConfig
from weitiao.evaluation.likelihood import Progress
from weitiao.evaluation.metrics.base import Metric, normalized
from weitiao.evaluation.metrics.labels import Accuracy, MacroF1, is_closed_label_set
from weitiao.evaluation.metrics.matching import ExactMatch, NormalizedMatch
from weitiao.evaluation.scores import Scores, score
from weitiao.generation.config import GenerationConfig

if TYPE_CHECKING:
    from torch import nn
    from transformers import PreTrainedTokenizerBase

_TEXT_MATCHES = (ExactMatch, NormalizedMatch)
_FOR_LABELS = (Accuracy(), MacroF1())


@dataclass(frozen=True, slots=True)
class Task:
    """What a model is asked, and how its answers are graded.

    Attributes:
        name: What messages call it.
        examples: The rows. Of a conversation the last assistant turn is the expected answer, and the turns before it
            are the prompt. Rows without such an answer are not graded.
        metrics: At least one; the first is the one that is compared and decided by.
        generation: How answers are written.
    """

    name: str
    examples: tuple[Example, ...]
    metrics: tuple[Metric, ...]
    generation: GenerationConfig

    @property
    def gradable(self) -> tuple[Example, ...]:
        """The rows that have an answer to compare with."""
        return tuple(example for example in self.examples if is_gradable(example))


def make_task(
    examples: Sequence[Example], config: EvaluationConfig, *, training_answers: Iterable[str] = (), name: str = "test"
) -> Task:
    """The task of answering rows as a recipe says.

    Where answers are compared as texts and are labels of a closed set, the metrics `accuracy` and `macro_f1` are added.

    Args:
        examples: The rows, already limited.
        config: The recipe section `evaluate`; has at least one metric that grades answers.
        training_answers: Expected answers of other rows: few rows do not show all labels, nor that answers are labels.
        name: What messages call it.

    Raises:
        WeitiaoError: A file or a package that a metric needs is not there, or it cannot grade a row; the message names
            it.
    """
    answers = [*training_answers, *(example.answer for example in examples if is_gradable(example))]
    expected = [normalized(answer, config.normalize) for answer in answers]
    metrics = list(config.graders)
    if is_closed_label_set(expected) and any(isinstance(one, _TEXT_MATCHES) for one in metrics):
        metrics += [one for one in _FOR_LABELS if one.title not in {metric.title for metric in metrics}]
    labels = sorted(set(expected))
    built = tuple(one.build(normalize=config.normalize, labels=labels) for one in metrics)
    task = Task(name, tuple(examples), built, config.generation)
    check_rows(task.gradable, built)
    return task


@dataclass(frozen=True, slots=True)
class Evaluation:
    """The scores of a model and the predictions that they were counted from."""

    scores: Scores
    predictions: tuple[Prediction, ...]


def evaluate(
    model: nn.Module, tokenizer: PreTrainedTokenizerBase, task: Task, *, on_progress: Progress | None = None
) -> Evaluation:
    """Let a model do a task, and score it.

    Args:
        model: The model with forest attention, with or without adapter.
        tokenizer: Its tokenizer, with the chat template of the training.
        task: The task.
        on_progress: Told how many answers are ready.

    Returns:
        Scores and predictions, one per gradable row in order.

    Raises:
        RenderingError: The template refuses a row, the tokenizer has none, or a prompt fills the model's context.
        WeitiaoError: A metric cannot grade an answer; the message names the row.
    """
    gradable = task.gradable
    start = time.perf_counter()
    answers = write_answers(model, tokenizer, gradable, task.generation, on_progress=on_progress) if gradable else []
    seconds = time.perf_counter() - start
    predictions = graded(answers, task.metrics)
    scores = score(predictions, task.metrics, num_ungraded=len(task.examples) - len(gradable), seconds=seconds)
    return Evaluation(scores, predictions)
