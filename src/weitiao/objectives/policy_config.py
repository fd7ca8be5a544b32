"""The settings of objectives that learn from answers that the model itself writes."""

from __future__ import annotations

import builtins
from abc import abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field, field_validator

from weitiao.objectives.base import ObjectiveConfigBase

if TYPE_CHECKING:
    from torch import nn

    from weitiao.objectives.advantages import Floats, Scored
    from weitiao.objectives.objective import Objective


class PolicyConfig(ObjectiveConfigBase):
    """What the objectives have in common that learn from scored answers of the model itself."""

    writes: ClassVar[bool] = True
    least_samples: ClassVar[int] = 2
    """Answers to a prompt without which nothing is learned from it."""

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

    @field_validator("clip")
    @classmethod
    def _below_and_above(cls, value: tuple[float, float]) -> tuple[float, float]:
        if not (0 < value[0] <= 1 and value[1] > 0):
            raise ValueError("give [low, high], low above 0 and at most 1, high above 0: for instance [0.2, 0.28]")
        return value

    def objective(self) -> builtins.type[Objective]:
        from weitiao.objectives.policy import Policy

        return Policy

    def build(self, model: nn.Module) -> Objective:
        made: Any = self.objective()
        built: Objective = made(model, self)
        return built

    @abstractmethod
    def advantages(self, answers: Sequence[Scored]) -> list[Floats]:
        """How much better than expected every token of the answers of a rollout was."""


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

    def advantages(self, answers: Sequence[Scored]) -> list[Floats]:
        from weitiao.objectives.advantages import of_groups

        return of_groups(answers, divide_by_std=self.divide_by_std)


class RlooConfig(PolicyConfig):
    """REINFORCE leave-one-out (https://arxiv.org/abs/2402.14740): the mean reward of the others to the same prompt is
    the baseline. The loss is a sum over tokens, clipped, so that a rollout can be used more than once."""

    type: Literal["rloo"]
    """The objective."""

    normalize: Literal["token", "sequence", "constant"] = "constant"
    """What the loss is divided by, see `grpo`."""

    kl: float = Field(default=0.05, ge=0)
    """Coefficient of the KL divergence from the model that the training began with. With 0 it is not computed."""

    kl_estimator: Literal["k1", "k2", "k3"] = "k1"
    """How the divergence is estimated from the tokens (http://joschu.net/blog/kl-approx.html)."""

    kl_in: Literal["loss", "reward"] = "reward"
    """Where it counts: added to the loss, or taken off the reward of every token."""

    def advantages(self, answers: Sequence[Scored]) -> list[Floats]:
        from weitiao.objectives.advantages import leave_one_out

        return leave_one_out(answers)


class ReinforceConfig(PolicyConfig):
    """REINFORCE++ (https://arxiv.org/abs/2501.03262): what is still to come, whitened over all tokens of a rollout."""

    least_samples: ClassVar[int] = 1

    type: Literal["reinforce"]
    """The objective."""

    kl: float = Field(default=0.01, ge=0)
    """Coefficient of the KL divergence from the model that the training began with. With 0 it is not computed."""

    kl_estimator: Literal["k1", "k2", "k3"] = "k1"
    """How the divergence is estimated from the tokens (http://joschu.net/blog/kl-approx.html)."""

    kl_in: Literal["loss", "reward"] = "reward"
    """Where it counts: added to the loss, or taken off the reward of every token."""

    def advantages(self, answers: Sequence[Scored]) -> list[Floats]:
        from weitiao.objectives.advantages import to_go

        return to_go(answers)
