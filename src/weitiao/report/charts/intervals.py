"""Dots with whiskers: a number and its interval on a common axis, one drawing per row."""

from __future__ import annotations

from markupsafe import Markup

from weitiao.report.charts.scale import Scale
from weitiao.report.charts.svg import Drawing

_HEIGHT = 26
_MIDDLE = _HEIGHT / 2
_CAP = 5
_RADIUS = 5.5


def interval(
    value: float, low: float, high: float, scale: Scale, *, title: str, tone: str, border: float | None = None,
    floor: float | None = None,
) -> Markup:  # fmt: skip
    """Draw one number with its interval.

    Args:
        value: The number.
        low, high: Ends of its interval.
        scale: Of the axis that the rows share.
        title: The same in words.
        tone: Class of the style sheet that colours it.
        border: What was asked for: a dashed line.
        floor: Half width of the noise around zero: a shaded band.
    """
    drawing = Drawing(title, _HEIGHT, f"interval {tone}")
    if floor is not None:
        start = scale.place(-floor)
        drawing.bar(start, 0, scale.place(floor) - start, _HEIGHT, "noise")
    for tick in scale.ticks():
        drawing.line(scale.place(tick), 0, scale.place(tick), _HEIGHT, "grid zero" if tick == 0 else "grid")
    if border is not None:
        drawing.line(scale.place(border), 0, scale.place(border), _HEIGHT, "border")
    ends = scale.place(low), scale.place(high)
    drawing.line(ends[0], _MIDDLE, ends[1], _MIDDLE, "whisker")
    for end in ends:
        drawing.line(end, _MIDDLE - _CAP, end, _MIDDLE + _CAP, "whisker")
    drawing.dot(scale.place(value), _MIDDLE, _RADIUS, "point")
    return drawing.markup()
