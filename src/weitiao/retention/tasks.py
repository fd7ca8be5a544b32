"""Tasks of the user in the retention suite: from the recipe's words to parts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import TypeAdapter, ValidationError

from weitiao.data.config import DataConfig, SourceConfig
from weitiao.data.example import Example
from weitiao.data.reading.paths import resolve_sources
from weitiao.errors import RecipeError
from weitiao.evaluation.answers import Prediction, check_rows, is_gradable
from weitiao.evaluation.choice import read_choices
from weitiao.files import sha256
from weitiao.paths import find_path, places_of
from weitiao.records import first_problem
from weitiao.retention.config import ChoiceTaskConfig, GenerateTaskConfig, LossTaskConfig, RetentionConfig, TaskConfig
from weitiao.retention.parts import GENERATED_TOKEN, ChoicePart, Part, Scoring, num_tokens
from weitiao.retention.scores import PartScores, loss_of
from weitiao.yaml_text import read_yaml

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_ADAPTER: TypeAdapter[TaskConfig] = TypeAdapter(TaskConfig)


def resolve_tasks(config: RetentionConfig, folders: Sequence[Path]) -> RetentionConfig:
    """Read the tasks that are given as files, and make all paths absolute. A second call changes nothing.

    Args:
        config: The recipe section.
        folders: Where relative paths are looked up, in this order.

    Raises:
        RecipeError: A task file is missing or holds no task.
        DataError: There is no such data.
    """
    tasks = []
    for task in config.tasks:
        if isinstance(task, str):
            path = _find(task, folders)
            tasks.append(_absolute(_read(path), [path.parent, *folders]))
        else:
            tasks.append(_absolute(task, folders))
    return config.model_copy(update={"tasks": tuple(tasks)})


def task_part(task: TaskConfig) -> Part:
    """The part that a task becomes; its rows are read.

    Args:
        task: With an absolute path.

    Raises:
        DataError: Its rows cannot be used.
    """
    if isinstance(task, ChoiceTaskConfig):
        items = read_choices(
            Path(task.data),
            question=task.question,
            choices=task.choices,
            answer=task.answer,
            template=task.template,
        )
        return ChoicePart(task.name, items, metric=task.metric)
    examples = _examples(task.data)
    if isinstance(task, LossTaskConfig):
        return LossPart(task.name, examples)
    gradable = tuple(filter(is_gradable, examples))
    labels = tuple(sorted({example.answer for example in gradable}))
    return GeneratePart(task.name, gradable, task, labels)


@dataclass(frozen=True)
class LossPart(Part):
    """The loss on the rows of the user: on the last answer of a conversation, on all of a raw text."""

    holds = "examples"

    examples: tuple[Example, ...]

    @property
    def needs_chat_template(self) -> bool:
        return any(example.messages for example in self.examples)

    def work(self, tokenizer: PreTrainedTokenizerBase) -> float:
        return num_tokens(tokenizer, _texts(self.examples))

    def score(self, scoring: Scoring) -> tuple[PartScores, ...]:
        return (loss_of(self.name, scoring.answer_likelihoods(self.examples)),)


@dataclass(frozen=True)
class GeneratePart(Part):
    """Answers to the rows of the user, graded by a metric, and the loss of the expected answers."""

    holds = "examples"

    examples: tuple[Example, ...]
    task: GenerateTaskConfig
    labels: tuple[str, ...]

    @property
    def needs_chat_template(self) -> bool:
        return True

    @property
    def packages(self) -> tuple[str, ...]:
        return self.task.metric.packages

    def identity(self) -> str:
        """Files that grade the answers count by their content, wherever they lie."""
        # the settings of metrics had such names when the first scores were kept
        metric = repr(self.task.metric).replace("(", "Config(", 1)
        for path in self.task.metric.files:
            metric = metric.replace(str(path), sha256(path) if path.is_file() else str(path))
        return repr((self.name, self.examples, metric, self.task.generation, self.labels))

    def work(self, tokenizer: PreTrainedTokenizerBase) -> float:
        generated = GENERATED_TOKEN * self.task.generation.max_new_tokens * len(self.examples)
        return 2 * num_tokens(tokenizer, _texts(self.examples)) + generated

    def score(self, scoring: Scoring) -> tuple[PartScores, ...]:
        metric = self.task.metric.build(labels=self.labels)
        check_rows(self.examples, (metric,))

        def grade(written: Sequence[Prediction]) -> list[float]:
            return metric.grade_all([one.item for one in written])

        return scoring.answered(self.name, self.examples, self.task.generation, grade, lambda answers: 0.0)


def _examples(source: SourceConfig) -> tuple[Example, ...]:
    from weitiao.data.load import load_data

    return load_data(DataConfig(train=(source,))).train


def _texts(examples: Sequence[Example]) -> list[str]:
    return [example.text or "\n".join(str(one.get("content")) for one in example.messages) for example in examples]


def _find(name: str, folders: Sequence[Path]) -> Path:
    found = find_path(name, folders)
    if found is None or not found.is_file():
        looked = " and ".join(str(place.parent) for place in places_of(name, folders))
        raise RecipeError(f"retention.tasks: there is no file {name}; looked in {looked}.", "Check the path.")
    return found


def _read(path: Path) -> TaskConfig:
    values = read_yaml(path)
    try:
        return _ADAPTER.validate_python(values)
    except ValidationError as error:
        raise RecipeError(
            f"{path}: {first_problem(error)}.",
            "A task has name, type (choice, loss or generate), data, and what its type adds; see docs/retention.md.",
        ) from error


def _absolute(task: TaskConfig, folders: Sequence[Path]) -> TaskConfig:
    source = SourceConfig(path=task.data) if isinstance(task, ChoiceTaskConfig) else task.data
    resolve_sources((source,), folders)  # refuses what is not there
    return task.located(folders)
