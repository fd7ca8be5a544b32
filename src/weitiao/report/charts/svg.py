"""SVG drawings as parts of a page: built as a tree, so that no text can break out of it."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from xml.etree.ElementTree import Element, SubElement, tostring

from markupsafe import Markup


class Drawing:
    """A drawing that fills the width of its box.

    Positions along x are shares of the width where a method says so, and everything along y is pixels, unless a
    `view_box` is given: then all coordinates are those of the box, which is stretched to the width.

    Args:
        title: What the drawing shows, for those who cannot see it.
        height: In pixels.
        classes: Of the style sheet.
        view_box: Width and height of a box that is stretched.
    """

    def __init__(self, title: str, height: int, classes: str, *, view_box: tuple[float, float] | None = None) -> None:
        self.root = Element(
            "svg", {"class": classes, "role": "img", "width": "100%", "height": str(height), "aria-label": title}
        )
        if view_box is not None:
            self.root.set("viewBox", f"0 0 {_number(view_box[0])} {_number(view_box[1])}")
            self.root.set("preserveAspectRatio", "none")
        SubElement(self.root, "title").text = title

    def line(self, x1: float, y1: float, x2: float, y2: float, classes: str) -> None:
        """A line; x is a share of the width, y is in pixels."""
        self._add("line", classes, x1=percent(x1), y1=_number(y1), x2=percent(x2), y2=_number(y2))

    def dot(self, x: float, y: float, radius: float, classes: str) -> None:
        """A filled circle; x is a share of the width, y and the radius are in pixels."""
        self._add("circle", classes, cx=percent(x), cy=_number(y), r=_number(radius))

    def bar(self, x: float, y: float, width: float, height: float, classes: str, *, title: str = "") -> None:
        """A rectangle; x and width are shares of the width, y and height are in pixels."""
        element = self._add(
            "rect",
            classes,
            x=percent(x),
            y=_number(y),
            width=percent(max(width, 0.0)),
            height=_number(max(height, 0.0)),
        )
        if title:
            SubElement(element, "title").text = title

    def path(self, points: list[tuple[float, float]], classes: str, *, closed: bool = False) -> None:
        """A line through points of the view box; a filled area when closed. Its thickness is not stretched."""
        if points:
            steps = " ".join(f"{_number(x)} {_number(y)}" for x, y in points)
            self._add("path", classes, d=f"M{steps}{'Z' if closed else ''}")

    def points(self, points: list[tuple[float, float]], classes: str) -> None:
        """Round marks at points of the view box: lines of no length with round ends, which are not stretched."""
        if points:
            self._add("path", classes, d=" ".join(f"M{_number(x)} {_number(y)}h0" for x, y in points))

    def markup(self) -> Markup:
        """The drawing as part of a page."""
        return Markup(tostring(self.root, encoding="unicode"))

    def _add(self, kind: str, classes: str, **attributes: str) -> Element:
        return SubElement(self.root, kind, {"class": classes, **attributes})


def percent(share: float) -> str:
    """A share of the width, kept inside the drawing."""
    return f"{_number(100 * min(max(share, 0.0), 1.0))}%"


def _number(value: float) -> str:
    return f"{value:.2f}".rstrip("0").rstrip(".")


_ROUND = (1.0, 2.0, 2.5, 5.0, 10.0)


@dataclass(frozen=True, slots=True)
class Scale:
    """A stretch of values on an axis.

    Attributes:
        low: The value at its beginning.
        high: The value at its end, above `low`.
        logarithmic: Whether equal steps are equal factors; both ends are above 0 then.
    """

    low: float
    high: float
    logarithmic: bool = False

    def place(self, value: float) -> float:
        """Where a value lies: 0 at the beginning, 1 at the end, kept between them."""
        low, high, here = self.low, self.high, value
        if self.logarithmic:
            low, high, here = math.log(low), math.log(high), math.log(max(value, self.low))
        return min(max((here - low) / (high - low), 0.0), 1.0)

    def ticks(self, about: int = 5) -> list[float]:
        """Round values inside the stretch, about as many as asked for."""
        if self.logarithmic:
            powers = range(math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)) + 1)
            values = [digit * 10.0**power for power in powers for digit in (1.0, 2.0, 5.0)]
            inside = [value for value in values if self.low <= value <= self.high]
            return inside if len(inside) <= about + 2 else [v for v in inside if f"{v:e}".startswith("1.")]
        power = 10.0 ** math.floor(math.log10((self.high - self.low) / about))
        found = [self._multiples(power * one) for one in _ROUND]
        return min(found, key=lambda ticks: (abs(len(ticks) - about), -len(ticks)))

    def _multiples(self, step: float) -> list[float]:
        first, last = math.ceil(self.low / step - 1e-9), math.floor(self.high / step + 1e-9)
        return [number * step for number in range(first, last + 1)]


def around(values: Iterable[float], *, include: Iterable[float] = (), margin: float = 0.05) -> Scale:
    """A scale that holds all values, with a margin at both ends.

    Args:
        values: The values; at least one, counting `include`.
        include: Further values that it has to hold, zero for instance.
        margin: Share of the stretch that is added at each end.
    """
    found = [*values, *include]
    low, high = min(found), max(found)
    width = (high - low) or abs(high) or 1.0
    return Scale(low - margin * width, high + margin * width)
