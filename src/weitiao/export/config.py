"""The recipe section `export`: what `weitiao run` exports, and what an export may lose."""

from __future__ import annotations

from pydantic import Field

from weitiao.config import Config


class ExportConfig(Config):
    """What `weitiao run` exports after the verdict; see `weitiao export`."""

    formats: tuple[str, ...] = ()
    """Names of formats, such as gguf-q4_k_m. Without any there is no such step."""

    largest_loss: float = Field(default=0.02, ge=0)
    """What the first metric may lose by an export: 0.02 are two points. Where nothing is graded, the share by which the
    perplexity may grow."""

    rows: int = Field(default=200, ge=1)
    """Test rows that every export answers, at most."""
