"""The recipe section `retention`."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, field_validator

from weitiao.config import Config
from weitiao.data.config import SourceConfig
from weitiao.evaluation.metrics.config import MetricConfig
from weitiao.generation.config import GenerationConfig


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

    template: str = "Question: {{ question }}\nAnswer:"
    """A Jinja template over `question` and the row's columns: the text in front of a choice."""

    metric: Literal["acc", "acc_norm"] = "acc"
    """Which choice counts as the model's: the one with the highest likelihood, or with the highest per character."""

    @field_validator("template")
    @classmethod
    def _template_compiles(cls, value: str) -> str:
        from weitiao.data.templates import RowTemplate

        RowTemplate(value)
        return value


class LossTaskConfig(Config):
    """A task of the user that is measured by the loss: of the answers, or of raw text."""

    type: Literal["loss"]
    """Nats per token of the answers that the rows have; of raw text all tokens count."""

    name: str = Field(min_length=1)
    """What it is called in tables."""

    data: SourceConfig
    """The rows, as a source of the `data` section: a path, format, columns, templates."""

    @field_validator("data", mode="before")
    @classmethod
    def _from_path(cls, value: Any) -> Any:
        return {"path": value} if isinstance(value, str) else value


class GenerateTaskConfig(Config):
    """A task of the user whose answers are generated and scored."""

    type: Literal["generate"]
    """The model answers; a metric grades each answer."""

    name: str = Field(min_length=1)
    """What it is called in tables."""

    data: SourceConfig
    """The rows, as a source of the `data` section: a path, format, columns, templates."""

    metric: MetricConfig
    """What grades an answer, as in `evaluate.metrics`."""

    generation: GenerationConfig = GenerationConfig()
    """How answers are generated."""

    @field_validator("data", mode="before")
    @classmethod
    def _from_path(cls, value: Any) -> Any:
        return {"path": value} if isinstance(value, str) else value


TaskConfig = Annotated[ChoiceTaskConfig | LossTaskConfig | GenerateTaskConfig, Field(discriminator="type")]


class RetentionConfig(Config):
    """What is measured before and after the training, outside the target task."""

    suite: Literal["full", "small", "none"] = "full"
    """The general suite that comes with the program: all of it, a quarter of it, or nothing of it."""

    tasks: tuple[TaskConfig | str, ...] = ()
    """Further tasks: each written here, or the path of a YAML file that holds one."""

    limit: int | None = Field(default=None, ge=1)
    """At most so many items of every part."""

    token_budget: int = Field(default=2048, ge=1)
    """Tokens computed at once. It limits the memory and changes nothing else."""
