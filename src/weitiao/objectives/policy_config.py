"""The settings of objectives that learn from answers that the model itself writes."""

from __future__ import annotations

import builtins
import math
from abc import abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field, field_validator, model_validator

from weitiao.data.example import PROMPTS, Rows
from weitiao.objectives.base import ObjectiveConfigBase

if TYPE_CHECKING:
    from weitiao.objectives.advantages import Floats, Scored
    from weitiao.objectives.objective import Objective


class PolicyConfig(ObjectiveConfigBase):
    """What the objectives have in common that learn from scored answers of the model itself."""

    least_samples: ClassVar[int] = 2
    """Answers to a prompt without which nothing is learned from it."""
    values: ClassVar[bool] = False
    """Whether it learns what the answers will be worth, too."""

    clip: tuple[float, float] = (0.2, 0.2)
    """How far below and above 1 the ratio of a token's probabilities, now and when it was written, still counts."""

    ratio: Literal["token", "sequence"] = "token"
    """Whose ratio is clipped: each token's, or the geometric mean over the answer (GSPO,
    https://arxiv.org/abs/2507.18071)."""

    normalize: Literal["token", "sequence", "constant"] = "token"
    """What the loss is divided by: the tokens of all answers (DAPO, https://arxiv.org/abs/2503.14476); those of each
    answer, then the answers (the GRPO paper: a token of a long answer counts less); or for every answer
    `rollouts.generation.max_new_tokens` (Dr. GRPO, https://arxiv.org/abs/2503.20783)."""

    kl: float = Field(default=0.0, ge=0)
    """Coefficient of the KL divergence from the model that the training began with. With 0 it is not computed."""

    kl_estimator: Literal["k1", "k2", "k3"] = "k3"
    """How the divergence is estimated from the tokens (http://joschu.net/blog/kl-approx.html)."""

    kl_in: Literal["loss", "reward"] = "loss"
    """Where it counts: added to the loss, or taken off the reward of every token."""

    entropy: float = Field(default=0.0, ge=0)
    """Bonus on the entropy of every token, which keeps the model from growing sure of itself too early."""

    @field_validator("clip")
    @classmethod
    def _below_and_above(cls, value: tuple[float, float]) -> tuple[float, float]:
        if not (0 < value[0] <= 1 and value[1] > 0):
            raise ValueError("give [low, high], low above 0 and at most 1, high above 0: for instance [0.2, 0.28]")
        return value

    def rows(self) -> Rows:
        return PROMPTS

    def objective(self) -> builtins.type[Objective]:
        from weitiao.objectives.policy import Policy

        return Policy

    @abstractmethod
    def columns(self, answers: Sequence[Scored]) -> list[dict[str, Floats]]:
        """What is known of every token of the answers of a rollout once they are scored, by name: its `advantage`."""

    @property
    def most_kl(self) -> float:
        """The mean KL of a token to the model that wrote the answers, above which nothing more is learned from them."""
        return math.inf

    @property
    def adapts_kl(self) -> bool:
        """Whether the coefficient of KL changes from rollout to rollout."""
        return False

    def next_kl(self, kl: float, measured: float, num_answers: int) -> float:
        """The coefficient of KL for the next rollout.

        Args:
            kl: That of this one.
            measured: The KL of this one, a mean over tokens.
            num_answers: Its answers.
        """
        return kl


class GrpoConfig(PolicyConfig):
    """Group relative policy optimisation (https://arxiv.org/abs/2402.03300): answers are held against the others to
    the same prompt."""

    type: Literal["grpo"]
    """The objective."""

    kl: float = Field(default=0.04, ge=0)
    """Coefficient of the KL divergence from the model that the training began with. With 0 it is not computed."""

    divide_by_std: bool = True
    """Whether advantages are divided by the standard deviation within the group. Without, prompts of which nearly all
    answers are alike do not weigh more (Dr. GRPO, https://arxiv.org/abs/2503.20783)."""

    def columns(self, answers: Sequence[Scored]) -> list[dict[str, Floats]]:
        from weitiao.objectives.advantages import of_groups

        return [{"advantage": one} for one in of_groups(answers, divide_by_std=self.divide_by_std)]


class RewardedKlConfig(PolicyConfig):
    """Objectives that take the divergence off the reward by default."""

    kl_estimator: Literal["k1", "k2", "k3"] = "k1"
    """How the divergence is estimated from the tokens (http://joschu.net/blog/kl-approx.html)."""

    kl_in: Literal["loss", "reward"] = "reward"
    """Where it counts: added to the loss, or taken off the reward of every token."""


class RlooConfig(RewardedKlConfig):
    """REINFORCE leave-one-out (https://arxiv.org/abs/2402.14740): the mean reward of the others to the same prompt is
    the baseline. The loss is a sum over tokens, clipped, so that a rollout can be used more than once."""

    type: Literal["rloo"]
    """The objective."""

    normalize: Literal["token", "sequence", "constant"] = "constant"
    """What the loss is divided by: the tokens of all answers (DAPO, https://arxiv.org/abs/2503.14476); those of each
    answer, then the answers (the GRPO paper: a token of a long answer counts less); or for every answer
    `rollouts.generation.max_new_tokens` (Dr. GRPO, https://arxiv.org/abs/2503.20783)."""

    kl: float = Field(default=0.05, ge=0)
    """Coefficient of the KL divergence from the model that the training began with. With 0 it is not computed."""

    def columns(self, answers: Sequence[Scored]) -> list[dict[str, Floats]]:
        from weitiao.objectives.advantages import leave_one_out

        return [{"advantage": one} for one in leave_one_out(answers)]


class ReinforceConfig(RewardedKlConfig):
    """REINFORCE++ (https://arxiv.org/abs/2501.03262): what is still to come, whitened over all tokens of a rollout."""

    least_samples: ClassVar[int] = 1

    type: Literal["reinforce"]
    """The objective."""

    kl: float = Field(default=0.01, ge=0)
    """Coefficient of the KL divergence from the model that the training began with. With 0 it is not computed."""

    def columns(self, answers: Sequence[Scored]) -> list[dict[str, Floats]]:
        from weitiao.objectives.advantages import to_go

        return [{"advantage": one} for one in to_go(answers)]


class PpoConfig(RewardedKlConfig):
    """Proximal policy optimisation (https://arxiv.org/abs/1707.06347) with a value head on the final states, and the
    details of https://arxiv.org/abs/2403.17031."""

    least_samples: ClassVar[int] = 1
    values: ClassVar[bool] = True

    type: Literal["ppo"]
    """The objective."""

    kl: float = Field(default=0.05, ge=0)
    """Coefficient of the KL divergence from the model that the training began with. With 0 it is not computed."""

    kl_target: float | None = Field(default=None, gt=0)
    """The mean KL of a token that is aimed at: after every rollout, `kl` is changed by up to a fifth, times answers by
    `kl_horizon` (https://arxiv.org/abs/1909.08593, section 2.2, which counts whole answers). Needs `kl_in: reward`."""

    kl_horizon: int = Field(default=1000, ge=1)
    """Answers over which the coefficient follows `kl_target`."""

    stop_kl: float | None = Field(default=None, gt=0)
    """The mean KL of a token to the model that wrote the answers, above which the other steps from a rollout are passed
    over."""

    discount: float = Field(default=1.0, gt=0, le=1)
    """By which a reward counts less for every token before it (gamma)."""

    trace: float = Field(default=0.95, ge=0, le=1)
    """Lambda of the advantages (https://arxiv.org/abs/1506.02438): 0 trusts the values, 1 what really came."""

    whiten_rewards: bool = False
    """Whether the rewards of all tokens of a rollout are divided by their standard deviation."""

    whiten_advantages: bool = True
    """Whether the advantages of all tokens of a rollout get mean 0 and variance 1."""

    value_weight: float = Field(default=0.1, ge=0)
    """Of the loss of the values, beside that of the policy."""

    value_clip: float | None = Field(default=0.2, gt=0)
    """How far a value may move from what it was when the answer was written; None does not limit it."""

    @model_validator(mode="after")
    def _agree(self) -> PpoConfig:
        if self.kl_target is not None and (self.kl_in != "reward" or self.kl == 0):
            raise ValueError("kl_target changes the coefficient `kl`: it needs `kl_in: reward` and a `kl` above 0")
        return self

    def objective(self) -> builtins.type[Objective]:
        from weitiao.objectives.ppo import Ppo

        return Ppo

    def columns(self, answers: Sequence[Scored]) -> list[dict[str, Floats]]:
        from weitiao.objectives.advantages import generalized, whitened

        rewards = [one.token_rewards() for one in answers]
        if self.whiten_rewards:
            rewards = whitened(rewards, centre=False)
        found = [
            generalized(rewards_T, one.values, discount=self.discount, trace=self.trace)
            for rewards_T, one in zip(rewards, answers, strict=True)
        ]
        advantages, returns = [one for one, _ in found], [other for _, other in found]
        if self.whiten_advantages:
            advantages = whitened(advantages)
        return [{"advantage": one, "return": other} for one, other in zip(advantages, returns, strict=True)]

    @property
    def most_kl(self) -> float:
        return math.inf if self.stop_kl is None else self.stop_kl

    @property
    def adapts_kl(self) -> bool:
        return self.kl_target is not None

    def next_kl(self, kl: float, measured: float, num_answers: int) -> float:
        error = 0.0 if self.kl_target is None else min(max(measured / self.kl_target - 1, -0.2), 0.2)
        return kl * (1 + error * num_answers / self.kl_horizon)
