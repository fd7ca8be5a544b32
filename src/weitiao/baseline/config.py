"""The recipe section `baseline`."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, field_validator

from weitiao.config import Config, as_list
from weitiao.models.config import ModelConfig

Selection = Literal["random", "per_class", "nearest"]


class BaselineConfig(Config):
    """How far prompting goes without tuning: which models are asked, and with which prompts."""

    models: tuple[ModelConfig, ...] = ()
    """Candidate models, each written like the section `model`. Without any it is the recipe's model alone."""

    shots: tuple[Annotated[int, Field(ge=0, le=1000)], ...] = Field(default=(0, 8), min_length=1)
    """Prompts to try, by how many solved examples of the training part stand before the question; 0 is none."""

    selection: Annotated[
        tuple[Selection, ...],
        Field(min_length=1),
        BeforeValidator(as_list, json_schema_input_type=Selection | list[Selection]),
    ] = ("random",)
    """Which examples: one way, or a list of ways to try. `random`: the same before every question, drawn by `seed`.
    `per_class`: the same before every question, one of each label in turn. `nearest`: for each question those most like
    it (BM25), which costs more time and often reaches more."""

    seed: int = Field(default=0, ge=0)
    """Draws the examples, and the test rows that `limit` leaves."""

    limit: int | None = Field(default=None, ge=1)
    """Answer so many test rows only, drawn by `seed`. Without it, all that `evaluate.limit` leaves."""

    @field_validator("shots", "selection", "models")
    @classmethod
    def _each_once(cls, value: tuple[Any, ...]) -> tuple[Any, ...]:
        names = [one.name if isinstance(one, ModelConfig) else one for one in value]
        if len(set(names)) != len(names):
            raise ValueError("names one of them twice")
        return value

    @field_validator("shots")
    @classmethod
    def _in_order(cls, value: tuple[int, ...]) -> tuple[int, ...]:
        return tuple(sorted(value))
