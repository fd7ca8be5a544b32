"""The one rule by which a measured number is held against a border: a verdict and a comparison decide by it."""

from __future__ import annotations

import math
from typing import Literal

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
