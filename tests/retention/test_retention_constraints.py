"""Checkers against answers that a person has judged."""

from __future__ import annotations

from typing import Any

import pytest

from weitiao.retention.constraints import CHECKERS, follows

JUDGED: list[tuple[str, dict[str, Any], list[str], list[str]]] = [
    ("words", {"most": 3}, ["one two three", "It's fine.", "3.5 litres"], ["one two three four"]),
    ("words", {"least": 2}, ["one, two"], ["one", "!!! ???"]),
    ("han_characters", {"least": 1, "most": 4}, ["北京。", "中国北京"], ["Beijing", "中国的首都"]),
    ("sentences", {"least": 2, "most": 2}, ["One. Two!", "It is 3.5 m. Good", "花开了。真美。"], ["One.", "A. B. C."]),
    ("sentences", {"most": 1}, ["He said \"stop.\"", "只有一句！"], ["Stop. Now."]),
    ("paragraphs", {"least": 2, "most": 2}, ["a\n\nb", "a\n \nb\n"], ["a\nb", "a\n\nb\n\nc"]),
    ("bullets", {"least": 2, "most": 2}, ["- a\n- b", "Here:\n* a\n• b"], ["- a", "a - b\nc - d", "-a\n-b"]),
    ("numbered", {"least": 2, "most": 2}, ["1. a\n2. b", "1、甲\n2、乙"], ["1. a", "a 1.\nb 2."]),
    ("includes", {"texts": ["rain", "window"]}, ["Rain on the window"], ["rain", "window"]),
    ("includes", {"texts": ["tree"], "times": 2}, ["tree and trees"], ["a tree"]),
    ("avoids", {"texts": ["dog"]}, ["a cat"], ["Dogs bark"]),
    ("capitals", {"all": True}, ["HELLO, 3 TIMES"], ["HELLo", "123", "你好"]),
    ("capitals", {"all": False}, ["hello."], ["Hello.", "3"]),
    ("starts_with", {"texts": ["dear"]}, ["Dear Anna", "\"Dear me"], ["Oh dear"]),
    ("ends_with", {"texts": ["home"]}, ["we went home.", "HOME"], ["home again"]),
    ("ends_with", {"texts": ["?"]}, ["Who?"], ["Who."]),
    ("one_of", {"texts": ["yes", "no"]}, ["Yes.", "\"no\"", "NO!"], ["yes and no", "maybe"]),
    ("matches", {"pattern": "^[^,]+,[^,]+$"}, ["a, b"], ["a", "a, b, c"]),
    ("number", {"value": 12}, ["12", "7 + 5 = 12.", "12.0", "It is 12!"], ["7 + 5", "120", "twelve", "12, or 13"]),
    ("number", {"value": -3}, ["-3"], ["3"]),
    ("json_object", {"keys": ["a", "b"]}, ['{"a": 1, "b": 2}', '```json\n{"b": 1, "a": {}}\n```'], ['{"a": 1}', "{a"]),
    ("json_list", {"length": 2}, ["[1, 2]", "```\n[1, 2]\n```"], ["[1]", "{}", "1, 2"]),
    ("language", {"name": "zh"}, ["北京是首都。", "水（H2O）是液体"], ["Beijing", "the capital 北京", "3"]),
    ("language", {"name": "en"}, ["An apple is red."], ["苹果 is red", "42"]),
]  # fmt: skip


@pytest.mark.parametrize(("name", "settings", "good", "bad"), JUDGED)
def test_a_checker_agrees_with_a_person(name: str, settings: dict[str, Any], good: list[str], bad: list[str]) -> None:
    assert [follows(f"  {answer}\n", {name: settings}) for answer in good] == [True] * len(good)
    assert [follows(answer, {name: settings}) for answer in bad] == [False] * len(bad)


def test_every_checker_was_judged() -> None:
    assert {name for name, _, _, _ in JUDGED} == set(CHECKERS)


def test_all_constraints_count_and_an_empty_answer_meets_none() -> None:
    both = {"words": {"most": 2}, "includes": {"texts": ["a"]}}
    assert follows("a b", both)
    assert not follows("b b", both)
    assert not follows("a b c", both)
    assert not follows("  \n", {"avoids": {"texts": ["dog"]}})
