"""Bars (a histogram, a share of a whole), and dots with whiskers (a number and its interval on a common axis)."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup

from weitiao.report.charts.scale import Scale
from weitiao.report.charts.svg import Drawing

_HISTOGRAM_HEIGHT = 130
_HEAT_HEIGHT = 160
_LEAST_HEAT = 8
_BAR_HEIGHT = 12
_ROW_HEIGHT = 26
_MIDDLE = _ROW_HEIGHT / 2
_CAP = 5
_RADIUS = 5.5


def histogram(counts: Sequence[float], names: Sequence[str], *, title: str) -> Markup:
    """Draw counts as bars side by side, all of equal width.

    Args:
        counts: One per bar, at least one.
        names: What a person is told who points at a bar.
        title: What the drawing shows.
    """
    drawing = Drawing(title, _HISTOGRAM_HEIGHT, "histogram")
    highest, width = max(counts) or 1, 1 / len(counts)
    for number, (count, name) in enumerate(zip(counts, names, strict=True)):
        height = _HISTOGRAM_HEIGHT * count / highest
        # A count that is not zero has to be seen.
        height = max(height, 1.5) if count else 0.0
        drawing.bar(
            (number + 0.06) * width, _HISTOGRAM_HEIGHT - height, 0.88 * width, height, "bar", title=f"{name}: {count:,}"
        )
    return drawing.markup()


def heat_map(counts: Sequence[Sequence[float]], *, title: str) -> Markup:
    """Draw a table of counts: the darker a cell, the larger its share of its row, from none to twice an even one.

    Args:
        counts: Of each row, the counts of its cells.
        title: What the drawing shows.
    """
    height = max(_HEAT_HEIGHT // len(counts), _LEAST_HEAT)
    drawing = Drawing(title, height * len(counts), "heat")
    for line, row in enumerate(counts):
        total, width = sum(row) or 1, 1 / len(row)
        for place, count in enumerate(row):
            tone = min(1 + round(2 * len(row) * count / total), 5) if count else 0
            said = f"{line}, {place}: {100 * count / total:.1f} %"
            drawing.bar(place * width, line * height, 0.96 * width, 0.94 * height, f"heat-{tone}", title=said)
    return drawing.markup()


def share_bar(shares: Sequence[tuple[float, str]], *, title: str) -> Markup:
    """Draw parts of a whole as one bar.

    Args:
        shares: Share of the whole, 0 to 1, and class of the style sheet, from left to right.
        title: The same in words.
    """
    drawing = Drawing(title, _BAR_HEIGHT, "share")
    drawing.bar(0, 0, 1, _BAR_HEIGHT, "rest")
    start = 0.0
    for share, tone in shares:
        drawing.bar(start, 0, share, _BAR_HEIGHT, tone)
        start += share
    return drawing.markup()


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
    drawing = Drawing(title, _ROW_HEIGHT, f"interval {tone}")
    if floor is not None:
        start = scale.place(-floor)
        drawing.bar(start, 0, scale.place(floor) - start, _ROW_HEIGHT, "noise")
    for tick in scale.ticks():
        drawing.line(scale.place(tick), 0, scale.place(tick), _ROW_HEIGHT, "grid zero" if tick == 0 else "grid")
    if border is not None:
        drawing.line(scale.place(border), 0, scale.place(border), _ROW_HEIGHT, "border")
    ends = scale.place(low), scale.place(high)
    drawing.line(ends[0], _MIDDLE, ends[1], _MIDDLE, "whisker")
    for end in ends:
        drawing.line(end, _MIDDLE - _CAP, end, _MIDDLE + _CAP, "whisker")
    drawing.dot(scale.place(value), _MIDDLE, _RADIUS, "point")
    return drawing.markup()
