"""How answers are written."""

from __future__ import annotations

from pydantic import Field

from weitiao.config import Config


class GenerationConfig(Config):
    """How answers are written: greedily by default, so that a score can be computed again."""

    max_new_tokens: int = Field(default=256, ge=1)
    """Tokens after which an answer is broken off. It also ends where the model's context does."""

    temperature: float = Field(default=0.0, ge=0.0)
    """0 takes the most likely token; above 0 tokens are drawn, the more evenly the higher the temperature."""

    top_k: int | None = Field(default=None, ge=1)
    """Draw from this many of the most likely tokens only."""

    top_p: float = Field(default=1.0, gt=0.0, le=1.0)
    """Draw from the fewest most likely tokens only that have this probability together."""

    seed: int = Field(default=0, ge=0)
    """Seed of the draws. They depend on the seed and the prompt's number, not on the batch that it is in."""

    batch_size: int = Field(default=32, ge=1)
    """Answers that are written at once."""

    token_budget: int = Field(default=16384, ge=1)
    """Tokens that the prompts of a batch may have together, a shared beginning counted once. It limits the memory."""

    share_prefixes: bool = True
    """Whether common beginnings are computed once: that of all prompts for all batches, those within a batch for it."""
