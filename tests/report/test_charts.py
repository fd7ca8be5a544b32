"""Drawings: values land where they belong, extremes survive, and no text breaks out."""

from __future__ import annotations

import math
import random
from xml.etree.ElementTree import Element, fromstring

import pytest

from weitiao.report.charts.drawings import buckets, heat_map, histogram, interval, loss_curve, share_bar
from weitiao.report.charts.svg import Scale, around


def parts(drawing: str, tag: str) -> list[Element]:
    return list(fromstring(drawing).iter(tag))


def share(element: Element, name: str) -> float:
    return float(element.attrib[name].removesuffix("%")) / 100


@pytest.mark.parametrize(
    ("low", "high", "ticks"),
    [
        (0.0, 1.0, [0.0, 0.25, 0.5, 0.75, 1.0]),
        (-0.12, 0.31, [-0.1, 0.0, 0.1, 0.2, 0.3]),
        (0.0, 375.0, [0, 100, 200, 300]),
        (3.2, 3.9, [3.2, 3.4, 3.6, 3.8]),
    ],
)
def test_ticks_are_round_and_inside(low: float, high: float, ticks: list[float]) -> None:
    assert Scale(low, high).ticks(4) == pytest.approx(ticks)


def test_places_on_both_kinds_of_scale() -> None:
    assert [Scale(2, 6).place(value) for value in (1, 2, 3, 6, 9)] == [0, 0, 0.25, 1, 1]
    assert Scale(0.01, 1, logarithmic=True).place(0.1) == pytest.approx(0.5)
    assert Scale(0.01, 1, logarithmic=True).ticks() == pytest.approx([0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0])


def test_a_scale_holds_everything_and_zero() -> None:
    scale = around([0.2, 0.3], include=(0.0,))
    assert scale.low < 0
    assert scale.high > 0.3
    assert around([5.0]).low < 5 < around([5.0]).high


def test_an_interval_is_drawn_from_its_low_to_its_high_end() -> None:
    drawing = interval(0.5, 0.4, 0.8, Scale(0, 1), title="<b>", tone="mark-base", border=0.7, floor=0.1)
    whiskers = [line for line in parts(drawing, "line") if line.attrib["class"] == "whisker"]
    assert (share(whiskers[0], "x1"), share(whiskers[0], "x2")) == (0.4, 0.8)
    (dot,) = parts(drawing, "circle")
    assert share(dot, "cx") == 0.5
    (border,) = [line for line in parts(drawing, "line") if line.attrib["class"] == "border"]
    assert share(border, "x1") == 0.7
    (noise,) = parts(drawing, "rect")
    assert (share(noise, "x"), share(noise, "width")) == (0.0, 0.1)  # what lies outside of the scale is cut off
    assert parts(drawing, "title")[0].text == "<b>"


def test_buckets_lose_no_extreme_and_no_point() -> None:
    draw = random.Random(0)
    points = [(float(step), draw.random()) for step in range(10_000)]
    found = buckets(points, 240)
    assert len(found) <= 240
    assert max(one.high for one in found) == max(y for _, y in points)
    assert min(one.low for one in found) == min(y for _, y in points)
    assert [one.middle for one in buckets(points[:100], 240)] == [y for _, y in points[:100]]
    assert [one.middle for one in buckets([(1.0, math.inf), (2.0, 3.0)])] == [3.0]


def test_a_curve_runs_from_the_first_to_the_last_step() -> None:
    train = [(float(step), 2.0 - step / 100) for step in range(1, 101)]
    curve = loss_curve(train, [(50.0, 1.6), (100.0, 1.1)], (100.0, 1.1), title="loss")
    paths = {path.attrib["class"]: path.attrib["d"] for path in parts(curve.drawing, "path")}
    first, last = paths["train"].removeprefix("M").split(" ")[:2], paths["train"].split(" ")[-2:]
    assert (float(first[0]), float(last[0])) == (10.0, 1000.0)
    assert float(first[1]) < float(last[1])  # the loss falls, and y grows downwards
    assert paths["best mark"].startswith("M1000 ")
    assert not curve.logarithmic
    assert [value for _, value in curve.x_ticks] == [0, 20, 40, 60, 80, 100]


def test_a_loss_that_falls_far_is_drawn_logarithmically() -> None:
    assert loss_curve([(1.0, 3.0), (2.0, 0.02)], [], None, title="").logarithmic
    assert not loss_curve([(1.0, 3.0), (2.0, 0.0)], [], None, title="").logarithmic


def test_bars_are_as_high_as_their_counts_and_small_ones_are_seen() -> None:
    bars = parts(histogram([10, 5, 0, 1e-6], ["a", "b", "c", "d"], title="t"), "rect")
    heights = [float(bar.attrib["height"]) for bar in bars]
    assert heights[1] == heights[0] / 2
    assert (heights[2], heights[3]) == (0, 1.5)
    widths = [
        share(bar, "x") + share(bar, "width") for bar in parts(share_bar([(0.3, "a"), (0.2, "b")], title="t"), "rect")
    ]
    assert widths == pytest.approx([1.0, 0.3, 0.5])


def test_a_heat_map_is_darker_where_more_is() -> None:
    cells = parts(heat_map([[0, 1, 2, 5], [2, 2, 2, 2]], title="<b>"), "rect")
    tones = [int(cell.attrib["class"].removeprefix("heat-")) for cell in cells]
    assert tones[0] == 0
    assert tones[:4] == sorted(tones[:4])
    assert len(set(tones[4:])) == 1
    assert share(cells[5], "x") == 0.25
    assert float(cells[4].attrib["y"]) > float(cells[0].attrib["y"])
    assert cells[3].find("title").text == "0, 3: 62.5 %"  # type: ignore[union-attr]
