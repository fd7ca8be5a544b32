"""The recipe section `evaluate`."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from weitiao.config import Config
from weitiao.generation.config import GenerationConfig


class EvaluationConfig(Config):
    """How a model is scored on the test rows."""

    generation: GenerationConfig = GenerationConfig()
    """How answers are generated: greedily and at most 256 tokens long when nothing else is said."""

    normalize: Literal["none", "whitespace", "casefold"] = "whitespace"
    """What does not count when an answer is compared with the expected one. `none`: every character counts.
    `whitespace`: space at both ends and the Unicode encoding of an accent do not. `casefold`: neither does case."""

    limit: int | None = Field(default=None, ge=1)
    """Score the first so many test rows only."""
