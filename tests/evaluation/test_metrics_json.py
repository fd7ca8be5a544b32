"""Metrics for answers in JSON, by values worked out by hand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from weitiao.errors import DataError, RecipeError
from weitiao.evaluation.metrics.base import Item, Metric
from weitiao.evaluation.metrics.json_text import JsonFields, JsonSchema, JsonValid

SCHEMA = {
    "type": "object",
    "properties": {
        "city": {"type": "string"},
        "people": {"type": "array", "items": {"type": "object", "properties": {"age": {"type": "integer"}}}},
    },
    "required": ["city"],
    "additionalProperties": False,
}


def grade(metric: Metric, answer: Any, expected: Any = "") -> float:
    texts = [value if isinstance(value, str) else json.dumps(value, ensure_ascii=False) for value in (answer, expected)]
    return metric.grade(Item(*texts, row_id="test.jsonl:3"))


@pytest.mark.parametrize(
    ("answer", "valid"),
    [
        (' {"a": [1, 2.5e3, null, true, "中"]}\n', True),
        ('"text"', True),
        ("3", True),
        ("", False),
        ("{'a': 1}", False),
        ('{"a": 1,}', False),
        ('{"a": NaN}', False),
        ('{"a": 1} and more', False),
        ("[" * 200_000, False),
    ],
)
def test_json_is_what_rfc_8259_says(answer: str, valid: bool) -> None:
    assert grade(JsonValid().build(), answer) == valid


def test_a_code_fence_is_allowed_only_when_it_is_said() -> None:
    fenced = '```json\n{"a": 1}\n```'
    assert grade(JsonValid().build(), fenced) == 0
    assert grade(JsonValid(allow_fence=True).build(), fenced) == 1
    assert grade(JsonValid(allow_fence=True).build(), "Here: " + fenced) == 0


def test_a_schema_is_checked_and_its_violations_are_counted(tmp_path: Path) -> None:
    path = tmp_path / "schema.yaml"
    path.write_text(json.dumps(SCHEMA), encoding="utf-8")
    answers = [
        {"city": "北京"}, {"city": 3}, {"town": "x"}, {"city": "x", "people": [{"age": 1}, {"age": "2"}]}, "no JSON",
    ]  # fmt: skip
    items = [Item(one if isinstance(one, str) else json.dumps(one), "") for one in answers]
    for place in ({"path": path}, {"definition": SCHEMA}):
        metric = JsonSchema.model_validate({"type": "json_schema", **place}).build()
        grades = metric.grade_all(items)
        assert grades == [1, 0, 0, 0, 0]
        assert metric.details(items)["problems"] == {
            "$.city: type": 1, "$: additionalProperties": 1, "$.people[].age: type": 1, "not JSON": 1,
        }  # fmt: skip


def test_formats_of_a_schema_are_checked() -> None:
    metric = JsonSchema(type="json_schema", definition={"type": "string", "format": "date"}).build()
    assert (grade(metric, '"2024-02-29"'), grade(metric, '"2023-02-29"')) == (1, 0)


def test_a_bad_schema_is_refused_with_the_place(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"\$\.type"):
        JsonSchema(type="json_schema", definition={"type": "text"}).build()
    with pytest.raises(RecipeError, match=r"missing\.json"):
        JsonSchema(type="json_schema", path=tmp_path / "missing.json").build()
    elsewhere = JsonSchema(type="json_schema", definition={"$ref": "https://example.com/schema.json"}).build()
    with pytest.raises(RecipeError, match=r"example\.com"):
        grade(elsewhere, "1")


EXPECTED = {"intent": "book", "slots": {"city": "北京", "people": 2, "vip": True}, "tags": ["a", "b"]}


@pytest.mark.parametrize(
    ("answer", "f1"),
    [
        (EXPECTED, 1.0),
        ({**EXPECTED, "slots": {"city": "北京", "people": 2.0, "vip": True}}, 1.0),  # equal by value
        ({**EXPECTED, "slots": {"city": "北京", "people": "2", "vip": True}}, 10 / 12),
        ({**EXPECTED, "slots": {"city": "北京", "people": 2, "vip": 1}}, 10 / 12),  # true is not 1
        ({"intent": "book"}, 2 / 7),
        ({**EXPECTED, "more": "x"}, 12 / 13),
        ({**EXPECTED, "tags": ["b", "a"]}, 8 / 12),
        ([], 0.0),
        ("no JSON", 0.0),
    ],
)
def test_f1_over_the_fields(answer: Any, f1: float) -> None:
    assert grade(JsonFields().build(), answer, EXPECTED) == pytest.approx(f1)


def test_only_the_named_fields_count() -> None:
    metric = JsonFields(fields=("slots.city", "tags")).build()
    answer = {"slots": {"city": "北京"}, "tags": ["a", "c"], "intent": "other"}
    assert grade(metric, answer, EXPECTED) == pytest.approx(2 * 2 / 6)
    assert grade(metric, {}, {}) == 1
    assert grade(metric, "no JSON", {}) == 0


def test_details_count_every_field_and_the_whole() -> None:
    pairs = [
        (EXPECTED, EXPECTED),
        ({"intent": "book", "slots": {"city": "上海"}}, {"intent": "book", "slots": {"city": "北京"}}),
        ("no JSON", {"intent": "cancel"}),
    ]
    items = [Item(a if isinstance(a, str) else json.dumps(a), json.dumps(e)) for a, e in pairs]
    metric = JsonFields().build()
    details = metric.details(items)
    assert details["fields"]["intent"] == {"n": 3, "correct": 2, "accuracy": 2 / 3}
    assert details["fields"]["slots.city"] == {"n": 2, "correct": 1, "accuracy": 0.5}
    assert details["fields"]["tags"]["n"] == 2
    assert details["num_not_json"] == 1
    assert (details["precision"], details["recall"]) == (pytest.approx(7 / 8), pytest.approx(7 / 9))
    assert details["micro_f1"] == pytest.approx(14 / 17)


def test_an_expected_answer_that_is_no_json_is_named() -> None:
    with pytest.raises(DataError, match=r"test\.jsonl:3.*no JSON"):
        JsonFields().build().check(Item("", "book", row_id="test.jsonl:3"))


def test_numbers_of_fields_are_exact_whatever_their_length() -> None:
    metric = JsonFields(type="json_fields").build()
    long = "9" * 5_000

    def same(answer: str, expected: str) -> float:
        return metric.grade(Item(f'{{"n": {answer}}}', f'{{"n": {expected}}}'))

    assert same("0.10000000000000001", "0.1") == same("1e999", "2e999") == same(f"{long[:-1]}8", long) == 0
    assert same("1.0", "1") == same("1e2", "100") == same(long, long) == same("0.10", "0.1") == 1
    assert grade(JsonValid(type="json_valid").build(), f"[{long}]") == 1
