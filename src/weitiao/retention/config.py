"""The recipe section `retention`."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from weitiao.config import Config

SuitePart = Literal[
    "knowledge-en", "knowledge-zh", "instructions-en", "instructions-zh", "arithmetic", "text-en", "text-zh"
]


class RetentionConfig(Config):
    """What is measured before and after the training, outside the target task."""

    suite: Literal["full", "small", "none"] = "full"
    """The general suite that comes with the program: all of it, a quarter of it, or nothing of it."""

    parts: Annotated[tuple[SuitePart, ...], Field(min_length=1)] | None = None
    """Only these parts of it, for instance those in the languages that the model knows; all when not given."""

    limit: int | None = Field(default=None, ge=1)
    """At most so many items of every part."""

    token_budget: int = Field(default=2048, ge=1)
    """Tokens computed at once. It limits the memory and changes nothing else."""
