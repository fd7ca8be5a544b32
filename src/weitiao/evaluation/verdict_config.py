"""The recipe section `verdict`."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from weitiao.config import Config


class VerdictConfig(Config):
    """What a tuned model has to reach before it is shipped. Scores are shares from 0 to 1."""

    target: float | None = Field(default=None, ge=0, le=1)
    """The least score of the tuned model on the test rows, in the first of `evaluate.metrics`. Without it only the gain
    and the retention count."""

    least_gain: float = Field(default=0.0, ge=0, le=1)
    """How far the tuned model must be above the best prompt on the same rows: 0.05 is five points. 0 asks only that it
    is surely not worse."""

    largest_loss: float = Field(default=0.05, ge=0, le=1)
    """How far an accuracy of the retention suite may fall: 0.05 is five points. Parts that cannot show forgetting do
    not count."""

    largest_loss_nats: float = Field(default=0.05, ge=0)
    """How far a loss of the retention suite may rise, in nats per token. 0.05 makes the perplexity 5 % larger."""

    retention: Literal["parts", "overall"] = "overall"
    """What the two tolerances hold for. `overall`: the informative parts together have to be surely within them, and no
    part may surely be outside. `parts`: every informative part has to be within, which takes some hundred items in
    each."""

    least_rows: int = Field(default=30, ge=1)
    """From fewer rows nothing is decided: their interval may be narrow by chance."""
