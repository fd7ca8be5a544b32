"""The loss over the steps of a training: every step in a band, their running middle as a line, validations as dots."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from markupsafe import Markup

from weitiao.report.charts.scale import Scale
from weitiao.report.charts.svg import Drawing

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
    finite = [(x, y) for x, y in points if math.isfinite(y)]
    size = max(1, math.ceil(len(finite) / most))
    found = []
    for start in range(0, len(finite), size):
        part = finite[start : start + size]
        values = [y for _, y in part]
        found.append(Bucket((part[0][0] + part[-1][0]) / 2, min(values), median(values), max(values)))
    return found


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


def _scale_of(losses: Sequence[float]) -> Scale:
    """From zero; on a logarithmic scale when the losses span more than a factor that a linear one shows."""
    low, high = min(losses), max(losses)
    if low > 0 and high / low > _LOGARITHMIC_FROM:
        return Scale(low / 1.15, high * 1.15, logarithmic=True)
    return Scale(min(0.0, low), high * 1.05 if high > 0 else 1.0)
