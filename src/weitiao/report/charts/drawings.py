"""The drawings of the report: the curve of the loss, reliability, histograms, heat maps, shares and intervals."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup

from weitiao.report.charts.svg import Drawing, Scale

MOST_POINTS = 240
_HEIGHT = 260
_BOX = (1000.0, 1000.0)
_LOGARITHMIC_FROM = 12.0

Point = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Curve:
    """A drawing and what its axes say.

    Attributes:
        drawing: Without any text, so that it may be stretched.
        x_ticks, y_ticks: Place (0 to 1 from the left, from the top) and value.
        logarithmic: Whether the loss is drawn on a logarithmic scale.
    """

    drawing: Markup
    x_ticks: list[tuple[float, float]]
    y_ticks: list[tuple[float, float]]
    logarithmic: bool


@dataclass(frozen=True, slots=True)
class Bucket:
    """Neighbouring points as one.

    Attributes:
        x: Where their middle lies.
        low, middle, high: The least of their values, the median, the greatest.
    """

    x: float
    low: float
    middle: float
    high: float


def buckets(points: Sequence[Point], most: int = MOST_POINTS) -> list[Bucket]:
    """Join neighbouring points until no more than `most` are left; no extreme is lost.

    Args:
        points: In order of x; values that are not finite are left out.
        most: How many may be left.
    """
    return thinned([x for x, _ in points], [y for _, y in points], most)


def thinned(x: Sequence[float], y: Sequence[float], most: int = MOST_POINTS) -> list[Bucket]:
    """As `buckets`, of two columns (anything that NumPy takes as one)."""
    xs, ys = np.asarray(x, dtype=float), np.asarray(y, dtype=float)
    finite = np.isfinite(ys)
    xs, ys = xs[finite], ys[finite]
    size = max(1, math.ceil(len(xs) / most))
    whole = len(xs) - len(xs) % size
    parts = [part for part in (ys[:whole].reshape(-1, size), ys[whole:].reshape(1, -1)) if part.size]
    ends = [part for part in (xs[:whole].reshape(-1, size), xs[whole:].reshape(1, -1)) if part.size]
    return [
        Bucket(*map(float, row))
        for of_x, of_y in zip(ends, parts, strict=True)
        for row in zip((of_x[:, 0] + of_x[:, -1]) / 2, of_y.min(1), np.median(of_y, 1), of_y.max(1), strict=True)
    ]


def loss_curve(train: Sequence[Point], validation: Sequence[Point], best: Point | None, *, title: str) -> Curve:
    """Draw the loss of every step and of every validation.

    Args:
        train: Step and loss, at least one that is finite.
        validation: Step and loss.
        best: The validation whose weights were kept.
        title: What the drawing shows.
    """
    joined = buckets(train)
    held_out = [(x, y) for x, y in validation if math.isfinite(y)]
    losses = [end for one in joined for end in (one.low, one.high)] + [y for _, y in held_out]
    x_scale = Scale(min(0.0, joined[0].x), max(x for x, _ in (*train, *held_out)))
    y_scale = _scale_of(losses)

    def at(x: float, y: float) -> Point:
        return _BOX[0] * x_scale.place(x), _BOX[1] * (1 - y_scale.place(y))

    drawing = Drawing(title, _HEIGHT, "curve", view_box=_BOX)
    x_ticks = [(x_scale.place(tick), tick) for tick in x_scale.ticks(6) if tick == round(tick)]
    y_ticks = [(1 - y_scale.place(tick), tick) for tick in y_scale.ticks(5)]
    for place, _ in y_ticks:
        drawing.path([(0, _BOX[1] * place), (_BOX[0], _BOX[1] * place)], "grid")
    upper = [at(one.x, one.high) for one in joined]
    lower = [at(one.x, one.low) for one in reversed(joined)]
    drawing.path([*upper, *lower], "band", closed=True)
    drawing.path([at(one.x, one.middle) for one in joined], "train")
    if len(joined) == 1:
        drawing.points([at(joined[0].x, joined[0].middle)], "train mark")
    drawing.path([at(*point) for point in held_out], "validation")
    drawing.points([at(*point) for point in held_out], "validation mark")
    if best is not None:
        drawing.points([at(*best)], "best mark")
    return Curve(drawing.markup(), x_ticks, y_ticks, y_scale.logarithmic)


def reliability(points: Sequence[tuple[float, float, float, float]], *, title: str) -> Curve:
    """Draw how often what was predicted comes true, over the probability that it was given.

    Args:
        points: The probability, and how often it came true with the ends of the interval; in order of the first.
        title: What the drawing shows.
    """
    low = min(0.5, *(x for x, *_ in points))
    x_scale, y_scale = Scale(low, 1.0), Scale(0.0, 1.0)

    def at(x: float, y: float) -> Point:
        return _BOX[0] * x_scale.place(x), _BOX[1] * (1 - y_scale.place(y))

    drawing = Drawing(title, _HEIGHT, "curve", view_box=_BOX)
    x_ticks = [(x_scale.place(tick), tick) for tick in x_scale.ticks(5)]
    y_ticks = [(1 - y_scale.place(tick), tick) for tick in y_scale.ticks(5)]
    for place, _ in y_ticks:
        drawing.path([(0, _BOX[1] * place), (_BOX[0], _BOX[1] * place)], "grid")
    drawing.path([at(low, low), at(1, 1)], "train")
    for x, _, least, most in points:
        drawing.path([at(x, least), at(x, most)], "validation")
    drawing.path([at(x, y) for x, y, *_ in points], "validation")
    drawing.points([at(x, y) for x, y, *_ in points], "validation mark")
    return Curve(drawing.markup(), x_ticks, y_ticks, logarithmic=False)


def _scale_of(losses: Sequence[float]) -> Scale:
    """From zero; on a logarithmic scale when the losses span more than a factor that a linear one shows."""
    low, high = min(losses), max(losses)
    if low > 0 and high / low > _LOGARITHMIC_FROM:
        return Scale(low / 1.15, high * 1.15, logarithmic=True)
    return Scale(min(0.0, low), high * 1.05 if high > 0 else 1.0)


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
