"""The recipe section `verdict`, and the one rule by which a measured number is held against a border."""

from __future__ import annotations

import math
from typing import Literal

from pydantic import Field

from weitiao.config import Config
from weitiao.evaluation.statistics import CONFIDENCE, Estimate, normal_quantile

Status = Literal["met", "violated", "open"]

_Z_POWER = 0.841621  # the normal quantile of a power of 80 %
_MOST_ROWS = 1_000_000


def status_of(measured: Estimate, border: float, *, at_least: bool, least_rows: int) -> Status:
    """Whether a number is on the right side of a border.

    Args:
        measured: The number with its 95 % interval. Each of the two certain answers is wrong in about 2.5 % of all
            studies whose truth stands right at the border, and more rarely elsewhere.
        border: What it has to reach, or may not exceed.
        at_least: Whether it has to reach the border; otherwise it may not exceed it.
        least_rows: From fewer rows nothing is decided.

    Returns:
        `met` when the whole interval is on the right side, `violated` when it is on the wrong one, else `open`.
    """
    if measured.n < least_rows:
        return "open"
    if at_least:
        return "met" if measured.low >= border else "violated" if measured.high < border else "open"
    return "met" if measured.high <= border else "violated" if measured.low > border else "open"


def rows_needed(measured: Estimate, border: float, *, confidence: float = CONFIDENCE) -> int | None:
    """About how many rows put the end of the interval on one side of a border, with a probability of 80 %.

    The interval shrinks with the root of the number of rows, and the next value spreads about the present one as the
    interval says: `n = n0 (h (1 + z80 / z97.5) / |value - border|)^2`, with h from the value to the end that has to
    cross.

    Args:
        measured: What `n0` rows gave.
        border: Where it is decided.
        confidence: Of its interval.

    Returns:
        The number of rows, those that there are included; None when a million would not do.
    """
    gap = abs(measured.value - border)
    reach = measured.value - measured.low if measured.value > border else measured.high - measured.value
    wide = reach * (1 + _Z_POWER / normal_quantile(confidence))
    if gap == 0 or measured.n * (wide / gap) ** 2 > _MOST_ROWS:
        return None
    return math.ceil(measured.n * (wide / gap) ** 2)


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
