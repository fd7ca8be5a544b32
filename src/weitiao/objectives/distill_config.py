"""The settings of `objective: distill`: learning what a larger model would have said."""

from __future__ import annotations

import builtins
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Self

from pydantic import Field, model_validator

from weitiao.data.example import ANSWERS, PROMPTS, Rows
from weitiao.models.config import ModelConfig
from weitiao.objectives.base import ObjectiveConfigBase
from weitiao.paths import find_path

if TYPE_CHECKING:
    from weitiao.objectives.objective import Objective


class DistillConfig(ObjectiveConfigBase):
    """Distillation: at every token of an answer, the model's distribution comes nearer to a teacher's
    (https://arxiv.org/abs/1503.02531, https://arxiv.org/abs/2306.13649)."""

    type: Literal["distill"]
    """The objective."""

    teacher: ModelConfig
    """A run, or a model, written like the section `model`; it has the same tokenizer. Or a file with what a teacher
    gave these rows, kept by another run with `top_k`: `RUN/teacher.safetensors`."""

    beta: float | None = Field(default=None, ge=0, le=1)
    """Which divergence: 0 is the forward KL divergence, KL(teacher, model), 1 the reverse one, and between them lies
    the generalised Jensen-Shannon divergence. When not given 0, and 1 with `on_policy`."""

    temperature: float = Field(default=1.0, gt=0, allow_inf_nan=False)
    """By which the logits of both are divided; the divergence is then multiplied by its square."""

    sft_weight: float = Field(default=0.0, ge=0, allow_inf_nan=False)
    """Weight of the supervised loss of the rows' own tokens, beside the divergence."""

    top_k: int | None = Field(default=None, ge=1)
    """Have the teacher's so many likeliest tokens computed once before the first step, and kept in the run directory;
    all others are one. The teacher is then not in memory while the model learns. None compares whole distributions."""

    on_policy: bool = False
    """Learn from answers that the model itself writes to the prompts of the rows, see the section `rollouts`."""

    @model_validator(mode="after")
    def _goes_together(self) -> DistillConfig:
        if self.on_policy and (self.top_k is not None or self.from_file):
            raise ValueError("with `on_policy` the teacher reads answers that are not written yet: it cannot be kept")
        if self.on_policy and self.sft_weight:
            raise ValueError("`sft_weight` is about the rows' own answers, and `on_policy` learns from the model's")
        if self.top_k is not None and self.from_file:
            raise ValueError("`top_k` is what the file of the teacher has; leave it out")
        return self

    @property
    def from_file(self) -> bool:
        """Whether the teacher is a file with what it gave."""
        return self.teacher.name.endswith(".safetensors")

    @property
    def divergence(self) -> float:
        """`beta`, also where it is not given."""
        return float(self.on_policy) if self.beta is None else self.beta

    def located(self, folders: Sequence[Path]) -> Self:
        name = str(find_path(self.teacher.name, folders) or self.teacher.name)
        return self.model_copy(update={"teacher": self.teacher.model_copy(update={"name": name})})

    def rows(self) -> Rows:
        return PROMPTS if self.on_policy else ANSWERS

    def objective(self) -> builtins.type[Objective]:
        from weitiao.objectives.distill import Distill

        return Distill
