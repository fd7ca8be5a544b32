"""The settings of objectives that learn from comparisons and judgements of answers."""

from __future__ import annotations

import builtins
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field, model_validator

from weitiao.data.example import STEPS, Rows
from weitiao.objectives.base import ObjectiveConfigBase

if TYPE_CHECKING:
    from weitiao.objectives.objective import Objective
    from weitiao.rendering.items import Item, TokenSequence


class DpoConfig(ObjectiveConfigBase):
    """Direct preference optimisation: of two answers, the better one becomes likelier than the worse one, measured
    against the model as the run begins it (DPO, https://arxiv.org/abs/2305.18290), and what followed on it."""

    type: Literal["dpo"]
    """The objective."""

    loss: Literal["sigmoid", "ipo", "hinge", "robust", "sppo", "apo_zero", "apo_down", "simpo", "cpo", "orpo"] = (
        "sigmoid"
    )
    """Which loss of a pair: `sigmoid` is DPO itself; `simpo`, `cpo` and `orpo` need no reference model."""

    beta: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    """How strongly the model is held to the reference, and the scale of the rewards that are shown: 0.1 when not given,
    2 with `simpo`. `tau` of IPO, `lambda` of ORPO."""

    label_smoothing: float = Field(default=0.0, ge=0, lt=0.5)
    """The share of the pairs that are held to be the wrong way round (`sigmoid`, `robust`, `simpo`, `cpo`)."""

    length_normalized: bool = False
    """Take means over the tokens of an answer, not sums, so that a long answer counts no more than a short one; `simpo`
    and `orpo` do so by themselves."""

    margin: float = Field(default=0.0, ge=0, allow_inf_nan=False)
    """By how much the reward of the better answer shall be the higher one (`sigmoid`, `hinge`, `simpo`, `cpo`)."""

    sft_weight: float | None = Field(default=None, ge=0, allow_inf_nan=False)
    """Weight of a supervised term beside the loss: minus the mean log-probability of the better answer's tokens. 1 with
    `cpo` and `orpo` when not given, else 0."""

    @model_validator(mode="after")
    def _fits_the_loss(self) -> DpoConfig:
        allowed = {
            "margin": ("sigmoid", "hinge", "simpo", "cpo"),
            "label_smoothing": ("sigmoid", "robust", "simpo", "cpo"),
        }
        for name, losses in allowed.items():
            if getattr(self, name) and self.loss not in losses:
                raise ValueError(f"`{name}` goes with {', '.join(losses)}, and `loss` is {self.loss}")
        return self

    def rows(self) -> Rows:
        return Rows("pair")

    def objective(self) -> builtins.type[Objective]:
        from weitiao.objectives.preference import Preference

        return Preference


class KtoConfig(ObjectiveConfigBase):
    """Kahneman-Tversky optimisation: good answers become likelier and bad ones less likely, each by itself, measured
    against the model as the run begins it (https://arxiv.org/abs/2402.01306)."""

    type: Literal["kto"]
    """The objective."""

    beta: float = Field(default=0.1, gt=0, allow_inf_nan=False)
    """How strongly the model is held to the reference."""

    desirable_weight: float = Field(default=1.0, gt=0, allow_inf_nan=False)
    """Weight of good answers. Where one kind is rarer, the paper advises sums of weights between 1:1 and 4:3."""

    undesirable_weight: float = Field(default=1.0, gt=0, allow_inf_nan=False)
    """Weight of bad answers."""

    group: int = Field(default=4, ge=2)
    """Rows over which the KL divergence is estimated; they are computed together, and `train.batch_size` counts such
    groups."""

    def rows(self) -> Rows:
        return Rows("mark")

    def items(self, sequences: Sequence[TokenSequence]) -> tuple[Item, ...]:
        from weitiao.objectives.kto import kto_items

        return kto_items(sequences, self.group)

    def objective(self) -> builtins.type[Objective]:
        from weitiao.objectives.kto import Kto

        return Kto


class RewardConfig(ObjectiveConfigBase):
    """A reward model: which of two answers is the better one, or how good a conversation is, as one number."""

    gives_scores: ClassVar[bool] = True
    answers: ClassVar[bool] = False

    type: Literal["reward"]
    """The objective."""

    loss: Literal["pair", "score", "step"] = "pair"
    """What rows say: `pair`, which of two answers is the better one (Bradley-Terry); `score`, how good a conversation
    is, as a number that is learned by squared distance; `step`, which steps of an answer are right, as probabilities
    that are learned by cross-entropy."""

    margin: str | None = None
    """With `pair`: a column with a number by which the better answer's reward shall be the higher one."""

    score: str = "score"
    """With `score`: the column with the number."""

    center: float = Field(default=0.0, ge=0, allow_inf_nan=False)
    """With `pair`: weight of the squared sum of both rewards, which draws their mean to zero; 0.01 is usual."""

    separator: str = STEPS.separator
    """With `step`: what joins the steps to an answer; a line break when not given."""

    @model_validator(mode="after")
    def _fits_the_loss(self) -> RewardConfig:
        given = {"margin": self.margin is not None, "center": self.center > 0}
        if self.loss != "pair" and (names := [name for name, is_given in given.items() if is_given]):
            raise ValueError(f"`{names[0]}` is about pairs, and `loss` is {self.loss}")
        if self.loss != "step" and self.separator != STEPS.separator:
            raise ValueError(f"`separator` is about steps, and `loss` is {self.loss}")
        return self

    def rows(self) -> Rows:
        if self.loss == "pair":
            return Rows("pair", {} if self.margin is None else {"margin": self.margin})
        if self.loss == "step":
            return replace(STEPS, separator=self.separator)
        return Rows("answer", {"score": self.score})

    def items(self, sequences: Sequence[TokenSequence]) -> tuple[Item, ...]:
        from weitiao.objectives.reward import reward_items

        return reward_items(sequences, 2 if self.loss == "pair" else 1)

    def objective(self) -> builtins.type[Objective]:
        from weitiao.objectives.reward import Reward
        from weitiao.objectives.steps import StepReward

        return StepReward if self.loss == "step" else Reward
