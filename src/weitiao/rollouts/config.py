"""The recipe section `rollouts`: how a model writes the answers that it learns from, and what they are worth."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, PrivateAttr, model_validator

from weitiao.config import Config, as_list
from weitiao.evaluation.config import MetricConfig
from weitiao.evaluation.metrics.base import Item, Metric
from weitiao.generation.config import GenerationConfig
from weitiao.paths import find_path


class SamplingConfig(GenerationConfig):
    """How answers are written: drawn, from the distribution that is learned."""

    temperature: float = Field(default=1.0, gt=0.0)
    """Tokens are drawn, the more evenly the higher it is; what is learned is the distribution at this temperature."""


class RewardModel(Metric):
    """A reward model: a run with `objective: reward`, or any model for sequence classification with one label."""

    type: Literal["reward_model"]
    """What scores."""

    model: str = Field(min_length=1)
    """The run, an adapter, or the model by its path or hub id."""

    _score: Callable[[Sequence[Item]], list[float]] | None = PrivateAttr(None)

    def located(self, folders: Sequence[Path]) -> RewardModel:
        return self.model_copy(update={"model": str(find_path(self.model, folders) or self.model)})

    def by(self, score: Callable[[Sequence[Item]], list[float]]) -> RewardModel:
        """The same, with what runs the model."""
        metric = self.model_copy()
        metric._score = score
        return metric

    def grade(self, item: Item) -> float:
        return self.grade_all([item])[0]

    def grade_all(self, items: Sequence[Item]) -> list[float]:
        assert self._score is not None, "a training opens the model"
        return self._score(items)


class RewardConfig(Config):
    """A part of the reward: `number`, `my.py:score`, or `{type: json_valid, weight: 0.5}` with its settings."""

    by: Annotated[RewardModel | MetricConfig, AfterValidator(lambda metric: metric.as_reward())]
    """What scores an answer: a metric of `evaluate.metrics`, a reward model (`reward_model`), or a Python function
    (`my.py:score`, called with answer, expected answer and row), whose numbers may have any size."""

    weight: float = 1.0
    """By which its score is multiplied; the weighted scores of all parts are added up."""

    @model_validator(mode="before")
    @classmethod
    def _written_flat(cls, value: Any) -> Any:
        if isinstance(value, str):
            return {"by": value}
        if isinstance(value, dict) and "by" not in value:
            return {"by": {k: v for k, v in value.items() if k != "weight"}, "weight": value.get("weight", 1.0)}
        return value

    @property
    def title(self) -> str:
        """What the part is called."""
        return self.by.title

    def located(self, folders: Sequence[Any]) -> RewardConfig:
        """The same with its paths looked up in these folders, in this order."""
        return self.model_copy(update={"by": self.by.located(folders)})


class RolloutsConfig(Config):
    """Of objectives that learn from answers of the model itself (`grpo`, `rloo`, `reinforce`, `ppo`, and `distill` with
    `on_policy`)."""

    rewards: Annotated[tuple[RewardConfig, ...], BeforeValidator(as_list)] = ()
    """What answers are worth; at least one."""

    prompts: int | None = Field(default=None, ge=1)
    """Prompts that are answered before the model learns from the answers; `train.batch_size`, which counts prompts
    here, when not given."""

    samples: int = Field(default=8, ge=1)
    """Answers to every prompt; objectives that hold them against each other need two."""

    repeats: int = Field(default=1, ge=1)
    """How often the model learns from the answers of a rollout before it writes new ones."""

    engine: str = Field(default="here", pattern="^(here|https?://.+)$")
    """What writes the answers: `here`, the model in memory, or the URL of a vLLM server, which gets the adapter before
    every rollout (LoRA on the server's own base model)."""

    generation: SamplingConfig = SamplingConfig()
    """How answers are written."""

    def located(self, folders: Sequence[Any]) -> RolloutsConfig:
        """The same with its paths looked up in these folders, in this order."""
        return self.model_copy(update={"rewards": tuple(one.located(folders) for one in self.rewards)})

    @property
    def greedy(self) -> GenerationConfig:
        """How held-out prompts are answered: by the likeliest tokens."""
        return self.generation.model_copy(update={"temperature": 0.0, "top_k": None, "top_p": 1.0})

    def num_prompts(self, there: int, batch_size: int) -> int:
        """Prompts of a rollout, of so many that there are."""
        return min(self.prompts or batch_size, there)

    def steps(self, there: int, batch_size: int) -> int:
        """Optimiser steps between two rollouts."""
        return self.repeats * -(-self.num_prompts(there, batch_size) // batch_size)

    def steps_per_epoch(self, there: int, batch_size: int) -> int:
        """Optimiser steps in which every prompt is answered, up to the end of the rollout that is under way then."""
        return -(-there // self.num_prompts(there, batch_size)) * self.steps(there, batch_size)
