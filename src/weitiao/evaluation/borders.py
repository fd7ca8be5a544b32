"""The one rule by which a measured number is held against a border: a verdict and a comparison decide by it."""

from __future__ import annotations

from typing import Literal

from weitiao.evaluation.statistics import Estimate

Status = Literal["met", "violated", "open"]


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
