"""What an answer is by itself: its length, what it repeats, its language."""

from __future__ import annotations

import pytest
from pydantic import TypeAdapter

from weitiao.evaluation.config import MetricConfig
from weitiao.evaluation.metrics.base import Item
from weitiao.evaluation.metrics.style import Language, Length, Repetition


def grade(settings: dict[str, object], answer: str) -> float:
    metric: MetricConfig = TypeAdapter(MetricConfig).validate_python(settings)
    return metric.build().grade(Item(answer, ""))


@pytest.mark.parametrize(
    ("settings", "answer", "expected"),
    [
        ({"least": 2, "most": 3}, "one two.", 1),
        ({"least": 2, "most": 3}, "one", 0),
        ({"least": 2, "most": 3}, "a b c d", 0),
        ({"least": 4, "slack": 4}, "a, b!", 0.5),
        ({"most": 2, "slack": 4}, "a b c", 0.75),
        ({"most": 2, "slack": 2}, "a b c d e f", 0),
        ({"least": 4, "most": 4}, "你好 ok 吗", 1),
        ({"least": 3, "most": 3, "unit": "characters"}, " abc\n", 1),
        ({"least": 1}, "", 0),
    ],
)
def test_length(settings: dict[str, object], answer: str, expected: float) -> None:
    assert grade({"type": "length", **settings}, answer) == expected


@pytest.mark.parametrize(
    ("answer", "expected"),
    [("a b c d", 1), ("a b c A, b. c", 0.75), ("no no no no no", 1 / 3), ("short", 1), ("", 1)],
)
def test_repetition(answer: str, expected: float) -> None:
    assert grade({"type": "repetition"}, answer) == expected


def test_language() -> None:
    german = "Das ist ein kleiner Satz, den niemand sonst so geschrieben hätte."
    assert [grade({"type": "language", "code": code}, german) for code in ("de", "en")] == [1, 0]
    assert grade({"type": "language", "code": "zh"}, "今天天气很好。") == 1


def test_a_band_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match="less than least"):
        Length(type="length", least=5, most=3)
    assert (Repetition(type="repetition").title, Language(type="language", code="en").extra) == ("repetition", "data")
