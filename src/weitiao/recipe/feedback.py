"""The recipe section `feedback`: whose answers are judged, and by whom, to become the rows that are learned."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator, Discriminator, Field, Tag, model_validator

from weitiao.config import Config, as_list
from weitiao.evaluation.judges.pairwise import JudgeConfig
from weitiao.generation.chat_server import is_server
from weitiao.paths import find_path
from weitiao.rollouts.config import RewardConfig, SamplingConfig


class RewardJudgeConfig(Config):
    """A judge that prefers the answer with the higher reward: metrics, functions, reward models."""

    rewards: Annotated[tuple[RewardConfig, ...], BeforeValidator(as_list)] = Field(min_length=1)
    """Written like `rollouts.rewards`."""

    tie: float = Field(default=0.0, ge=0)
    """Answers whose rewards are no farther apart are a tie."""

    def located(self, folders: Sequence[Path]) -> RewardJudgeConfig:
        """The same with its paths looked up in these folders, in this order."""
        return self.model_copy(update={"rewards": tuple(one.located(folders) for one in self.rewards)})

    @property
    def name(self) -> str:
        """What its judgements are stored under."""
        return "+".join(f"{one.weight:g}*{one.title}" for one in self.rewards) + f"/{self.tie:g}"


def _kind(value: Any) -> str:
    holds = "rewards" in value if isinstance(value, dict) else isinstance(value, RewardJudgeConfig)
    return "rewards" if holds else "model"


AnyJudgeConfig = Annotated[
    Annotated[RewardJudgeConfig, Tag("rewards")] | Annotated[JudgeConfig, Tag("model")], Discriminator(_kind)
]


def _named(value: Any) -> Any:
    return [{"model": one} if isinstance(one, str) else one for one in as_list(value)]


class FeedbackConfig(Config):
    """Judged answers instead of the rows' own: what `weitiao run` does before all else."""

    models: tuple[str, ...] = ()
    """Runs, adapters and models that answer the prompts of all rows; the recipe's model when none is named."""

    limit: int | None = Field(default=None, ge=1)
    """Prompts of the training, validation and test rows, so many of each at most."""

    samples: int = Field(default=2, ge=1)
    """Answers of each model to each prompt."""

    pairs: int = Field(default=1, ge=1)
    """Pairs of answers to each prompt at most: those that differ most."""

    generation: SamplingConfig = SamplingConfig()
    """How answers are written."""

    judges: Annotated[tuple[AnyJudgeConfig, ...], BeforeValidator(_named)] = Field(min_length=1)
    """Judge models and servers (with their settings, `template` for a rubric or principles), and `{rewards: [...]}` for
    a rule that can be computed. A pair goes to the answer that more of them prefer."""

    @model_validator(mode="after")
    def _two_answers(self) -> FeedbackConfig:
        if self.samples * max(len(self.models), 1) < 2:
            raise ValueError("one answer to a prompt has nothing to be held against: set samples to 2 or more")
        return self

    def located(self, folders: Sequence[Path]) -> FeedbackConfig:
        """The same with its paths looked up in these folders, in this order."""

        def found(name: str) -> str:
            return name if is_server(name) else str(find_path(name, folders) or name)

        def judge(config: RewardJudgeConfig | JudgeConfig) -> RewardJudgeConfig | JudgeConfig:
            if isinstance(config, RewardJudgeConfig):
                return config.located(folders)
            files = {
                name: find_path(path, folders) or path
                for name, path in (("template", config.template), ("api_key_file", config.api_key_file))
                if path is not None
            }
            return config.model_copy(update={"model": found(config.model), **files})

        return self.model_copy(
            update={"models": tuple(map(found, self.models)), "judges": tuple(map(judge, self.judges))}
        )
