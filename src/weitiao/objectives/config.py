"""The `objective` section of a recipe: what is learned."""

from __future__ import annotations

import builtins
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Discriminator, Field, Tag

from weitiao.config import type_of
from weitiao.objectives.base import ObjectiveConfigBase
from weitiao.objectives.distill_config import DistillConfig
from weitiao.objectives.policy_config import GrpoConfig, PpoConfig, ReinforceConfig, RlooConfig
from weitiao.objectives.preference_config import DpoConfig, KtoConfig, RewardConfig
from weitiao.user_code import OwnConfig

if TYPE_CHECKING:
    from torch import nn

    from weitiao.objectives.objective import Objective


class SftConfig(ObjectiveConfigBase):
    """Supervised fine-tuning: the next token of the answers."""

    type: Literal["sft"] = "sft"
    """The objective."""

    def objective(self) -> builtins.type[Objective]:
        from weitiao.objectives.sft import Sft

        return Sft


class PretrainConfig(ObjectiveConfigBase):
    """Pretraining, continued or from the beginning: every token of raw text, however long the text is."""

    answers: ClassVar[bool] = False

    type: Literal["pretrain"]
    """The objective."""

    overlap: int = Field(default=1, ge=1)
    """A text longer than `rendering.max_length` is cut into windows of that length. Each begins with so many of the
    last tokens of the one before, as context alone: the loss of every token counts once."""

    def window_overlap(self) -> int:
        return self.overlap

    def objective(self) -> builtins.type[Objective]:
        from weitiao.objectives.pretrain import Pretrain

        return Pretrain


class OwnObjectiveConfig(OwnConfig, ObjectiveConfigBase):
    """An objective that a user wrote: a subclass of `weitiao.objectives.objective.Objective`."""

    def objective(self) -> builtins.type[Objective]:
        from weitiao.objectives.objective import Objective

        found: builtins.type[Objective] = self.load(Objective)
        return found

    def build(self, model: nn.Module) -> Objective:
        made = self.objective()
        return made(model, self.settings(made))


ObjectiveConfig = Annotated[
    Annotated[SftConfig, Tag("sft")]
    | Annotated[PretrainConfig, Tag("pretrain")]
    | Annotated[DpoConfig, Tag("dpo")]
    | Annotated[KtoConfig, Tag("kto")]
    | Annotated[RewardConfig, Tag("reward")]
    | Annotated[DistillConfig, Tag("distill")]
    | Annotated[GrpoConfig, Tag("grpo")]
    | Annotated[RlooConfig, Tag("rloo")]
    | Annotated[ReinforceConfig, Tag("reinforce")]
    | Annotated[PpoConfig, Tag("ppo")]
    | Annotated[OwnObjectiveConfig, Tag("own")],
    Discriminator(
        type_of("sft"),
        custom_error_type="unknown_type",
        custom_error_message="there is no such objective; there are sft, pretrain, dpo, kto, reward, distill, grpo, "
        "rloo, reinforce, ppo, and FILE.py:CLASS",
    ),
]
