"""The recipe section `retention`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BeforeValidator, Field

from weitiao.config import Config
from weitiao.data.config import SourceConfig, TemplateText
from weitiao.evaluation.metrics.config import MetricConfig
from weitiao.generation.config import GenerationConfig
from weitiao.paths import find_path

Source = Annotated[SourceConfig, BeforeValidator(lambda value: {"path": value} if isinstance(value, str) else value)]
"""Rows, as a source of the `data` section; a path alone is short for one."""


class ChoiceTaskConfig(Config):
    """A multiple-choice task of the user, answered by likelihood."""

    type: Literal["choice"]
    """A question with several answers, one of them right."""

    name: str = Field(min_length=1)
    """What it is called in tables."""

    data: str = Field(min_length=1)
    """A file of rows. A relative path is looked up in the folder of the file that names it, then in the current one."""

    question: str = "question"
    """Column of the question."""

    choices: str | tuple[str, ...] = "choices"
    """Column of the list of choices, or a list of columns with one choice each."""

    answer: str = "answer"
    """Column of the right choice: its place from 0, its letter, or its text."""

    template: TemplateText = "Question: {{ question }}\nAnswer:"
    """A Jinja template over `question` and the row's columns: the text in front of a choice."""

    metric: Literal["acc", "acc_norm"] = "acc"
    """Which choice counts as the model's: the one with the highest likelihood, or with the highest per character."""

    def located(self, folders: Sequence[Path]) -> Self:
        """The same with its file looked up in these folders, in this order, and made absolute."""
        return self.model_copy(update={"data": str(find_path(self.data, folders) or self.data)})


class _RowsTaskConfig(Config):
    """A task over rows with answers."""

    type: Literal["loss", "generate"]
    """How it is measured."""

    name: str = Field(min_length=1)
    """What it is called in tables."""

    data: Source
    """The rows, as a source of the `data` section: a path, format, columns, templates."""

    def located(self, folders: Sequence[Path]) -> Self:
        """The same with its files looked up in these folders, in this order, and made absolute."""
        path = str(find_path(self.data.path, folders) or self.data.path)
        return self.model_copy(update={"data": self.data.model_copy(update={"path": path})})


class LossTaskConfig(_RowsTaskConfig):
    """A task of the user that is measured by the loss: of the answers, or of raw text."""

    type: Literal["loss"]
    """Nats per token of the answers that the rows have; of raw text all tokens count."""


class GenerateTaskConfig(_RowsTaskConfig):
    """A task of the user whose answers are generated and scored."""

    type: Literal["generate"]
    """The model answers; a metric grades each answer."""

    metric: MetricConfig
    """What grades an answer, as in `evaluate.metrics`."""

    generation: GenerationConfig = GenerationConfig()
    """How answers are generated."""

    def located(self, folders: Sequence[Path]) -> Self:
        return super().located(folders).model_copy(update={"metric": self.metric.located(folders)})


TaskConfig = Annotated[ChoiceTaskConfig | LossTaskConfig | GenerateTaskConfig, Field(discriminator="type")]


SuitePart = Literal[
    "knowledge-en", "knowledge-zh", "instructions-en", "instructions-zh", "arithmetic", "text-en", "text-zh"
]


class RetentionConfig(Config):
    """What is measured before and after the training, outside the target task."""

    suite: Literal["full", "small", "none"] = "full"
    """The general suite that comes with the program: all of it, a quarter of it, or nothing of it."""

    parts: Annotated[tuple[SuitePart, ...], Field(min_length=1)] | None = None
    """Only these parts of it, for instance those in the languages that the model knows; all when not given."""

    tasks: tuple[TaskConfig | str, ...] = ()
    """Further tasks: each written here, or the path of a YAML file that holds one."""

    limit: int | None = Field(default=None, ge=1)
    """At most so many items of every part."""

    token_budget: int = Field(default=2048, ge=1)
    """Tokens computed at once. It limits the memory and changes nothing else."""

    def located(self, folders: Sequence[Path]) -> RetentionConfig:
        """The same with the files of its tasks looked up in these folders, in this order, and made absolute."""
        tasks = (
            str(find_path(task, folders) or task) if isinstance(task, str) else task.located(folders)
            for task in self.tasks
        )
        return self.model_copy(update={"tasks": tuple(tasks)})
