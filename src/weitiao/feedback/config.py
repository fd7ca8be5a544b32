"""How a judge model is asked."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field

from weitiao.config import Config


class JudgeConfig(Config):
    """A model that says which of two answers is better."""

    model: str = Field(min_length=1)
    """A model, run or adapter on this machine, or an OpenAI-compatible server as `URL#MODEL`:
    `http://127.0.0.1:8000/v1#qwen3-8b`."""

    language: Literal["en", "zh"] = "en"
    """Language of the built-in question: English or Chinese."""

    template: Path | None = None
    """A text file with a question of your own. It holds `{prompt}`, `{first}` and `{second}`, calls the answers A and B
    in this order, and asks for the letter of the better one."""

    token_budget: int = Field(default=8192, ge=1)
    """Tokens that a local model computes at once, a shared beginning counted once."""

    api_key_file: Path | None = None
    """A file with the key of the server. Without it no key is sent."""

    max_new_tokens: int = Field(default=256, ge=1)
    """Tokens that a server may write; models that think before they answer need more."""

    requests_at_once: int = Field(default=8, ge=1)
    """Requests that a server has to answer at the same time."""

    timeout_seconds: float = Field(default=120.0, gt=0)
    """How long to wait for a reply of a server."""
