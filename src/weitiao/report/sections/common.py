"""What several sections share: estimates in words, an axis, and the note of a section whose input is missing."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from weitiao.console import quoted
from weitiao.evaluation.statistics import Estimate
from weitiao.report.charts.drawings import Curve, interval
from weitiao.report.charts.svg import Scale
from weitiao.report.files import RunFiles
from weitiao.text.wording import Wording, signed

Section = dict[str, Any]
"""What a template is given for a part of the page."""

Axis = list[tuple[str, str]]
"""Where the ticks of an axis stand, in percent of its length, and what they are called."""


def estimate_of(values: Mapping[str, Any]) -> Estimate:
    """An estimate as it stands in a JSON file."""
    return Estimate(values["value"], values["low"], values["high"], values["n"])


def missing(files: RunFiles, words: Wording, step: str, *names: str) -> Section | None:
    """Why the files of a step are not there, and the command that makes them; None when they are.

    Args:
        files: Of the run.
        words: Of the report.
        step: The step that writes them.
        names: The files.
    """
    presence = files.presence(step, *names)
    if presence == "there":
        return None
    text = words(f"missing.{presence}", step=words(f"step.{step}"))
    return {"text": text, "command": f"weitiao run {quoted(files.path)}"}


def row(
    name: str, detail: str, one: Estimate, unit: str, scale: Scale, words: Wording, *, tone: str, strong: bool,
    tag: str = "", border: float | None = None, floor: float | None = None,
) -> Section:  # fmt: skip
    """A named number with its interval, in words and drawn.

    Args:
        name: What it is the number of.
        detail: A smaller line under the name.
        one: The number.
        unit: `share`, `points`, `nats` or `number`.
        scale: Of the axis that the rows share.
        words: Of the report.
        tone: The class that colours it.
        strong: Whether it stands out.
        tag: A word beside it.
        border, floor: What was asked for, and half the width of the noise around zero, as `interval` draws them.
    """
    figure = in_unit(one.value, unit, words)
    in_words = interval_in_words(one, words, unit)
    title = f"{name}: {figure}, {in_words}" + (f". {tag}" if tag else "")
    drawing = interval(
        one.value, one.low, one.high, scale, title=title, tone=f"mark-{tone}", border=border, floor=floor
    )
    shown = {"name": name, "detail": detail, "figure": figure, "interval": in_words, "drawing": drawing}
    return {**shown, "strong": strong, "tag": tag, "tone": tone}


def in_unit(value: float, unit: str, words: Wording) -> str:
    """A number with its unit."""
    if unit == "nats":
        return words.nats(value, with_sign=True)
    if unit == "number":
        return words.loss(value)
    return words.share(value) if unit == "share" else words.points(value)


def unit_of(scores: Mapping[str, Any], metric: str) -> str:
    """Whether a metric in `scores.json` is a share; what is above one, and what says so itself, is another number."""
    said = scores.get("details", {}).get(metric, {}).get("is_share", True)
    return "share" if said and scores["metrics"][metric]["high"] <= 1 else "number"


def axis_of(scale: Scale, unit: str) -> Axis:
    """An axis of shares (in percent), of points, of nats or of plain numbers."""
    factor, sign = (1 if unit in ("nats", "number") else 100), ("%" if unit == "share" else "")
    return [(f"{100 * scale.place(tick):.2f}%", _plain(factor * tick) + sign) for tick in scale.ticks(4)]


def plot_of(curve: Curve, x: Callable[[float], str], y: Callable[[float], str]) -> Section:
    """A curve with its axes, whose values are written by `x` and `y`."""
    axes = {"x_axis": (curve.x_ticks, x), "y_axis": (curve.y_ticks, y)}
    return {
        "drawing": curve.drawing,
        **{
            name: [(f"{100 * place:.2f}%", text(value)) for place, value in ticks]
            for name, (ticks, text) in axes.items()
        },
    }


def interval_in_words(one: Estimate, words: Wording, unit: str) -> str:
    """An interval: `95 % interval 80.1% to 87.3%, n = 500`."""
    if not one.has_interval:
        return words("interval.none")
    low, high = (_end_of_interval(end, words, unit) for end in (one.low, one.high))
    return words("interval", low=low, high=high, n=words.count(one.n))


def _end_of_interval(value: float, words: Wording, unit: str) -> str:
    """An end of an interval: a difference stands without its unit, which the number before it has."""
    if unit in ("share", "number"):
        return in_unit(value, unit, words)
    return signed(100 * value, 1) if unit == "points" else signed(value, 3)


def _plain(value: float) -> str:
    text = f"{value:.4g}".replace("-", "−")
    return "0" if text in ("−0", "0") else text
