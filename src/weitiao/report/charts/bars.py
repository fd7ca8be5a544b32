"""Bars: a histogram, and a share of a whole."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup

from weitiao.report.charts.svg import Drawing

_HISTOGRAM_HEIGHT = 130
_BAR_HEIGHT = 12


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
