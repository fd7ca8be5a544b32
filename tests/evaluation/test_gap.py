"""The gap: kinds of errors against labels given by hand, groups against counting by hand."""

from __future__ import annotations

import io
import json
import math
from itertools import combinations
from typing import Any

import pytest
from rich.console import Console

from weitiao.evaluation.answers import Prediction
from weitiao.evaluation.gap.analyse import Gap, analyse_gap
from weitiao.evaluation.gap.groups import find_groups, holm
from weitiao.evaluation.statistics import proportion
from weitiao.json_text import json_text
from weitiao.records import record_of
from weitiao.terminal.baseline import print_gap

METRIC = "exact_match"


def prediction(
    number: int, expected: str, answer: str, *, stopped: bool = True, grade: float | None = None,
    question: str = "what is it?", **columns: Any,
) -> Prediction:  # fmt: skip
    grade = float(expected == answer) if grade is None else grade
    shot = ({"role": "user", "content": "an earlier question"}, {"role": "assistant", "content": "its answer"})
    return Prediction(
        row_id=f"test.jsonl:{number}",
        messages=({"role": "system", "content": "s"}, *shot, {"role": "user", "content": question}),
        expected=expected,
        answer=answer,
        num_tokens=len(answer),
        stopped=stopped,
        correct=grade == 1,
        grades={METRIC: grade},
        columns=columns,
    )


LABELS = ["card_arrival", "card_lost", "card_arrival_time", "refund"]
JSON = '{"order": "A-1", "quantity": 2}'

BY_HAND = [
    # labels: the four of LABELS occur often enough to be a closed set
    ("labels", "card_arrival", "", True, "empty"),
    ("labels", "card_arrival", " \n", True, "empty"),
    ("labels", "refund", "I'm sorry, but I can't help with that.", True, "refusal"),
    ("labels", "refund", "As an AI language model, I do not have cards", True, "refusal"),
    ("labels", "refund", "很抱歉，我无法回答这个问题", True, "refusal"),
    ("labels", "refund", "The intent is **refund**.", True, "rewritten"),
    ("labels", "refund", "Refund", True, "rewritten"),
    ("labels", "refund", "意图是refund", True, "rewritten"),
    ("labels", "card_arrival", "card_arrival, because it has not arrived", False, "rewritten"),
    ("labels", "card_lost", "card_lost or refund", True, "outside_labels"),
    ("labels", "card_arrival", "card_arrival_time", True, "other_label"),
    ("labels", "card_arrival_time", "card_arrival", True, "other_label"),
    ("labels", "card_arrival_time", "card_arr", False, "cut_off"),
    ("labels", "refund", "The customer wants to know whether", False, "outside_labels"),
    ("labels", "refund", "money_back", True, "outside_labels"),
    ("labels", "refund", "REFUND_now", True, "outside_labels"),
    ("labels", "refund", "退款", True, "wrong_language"),
    # free text
    ("free", "The sky is blue because of the air.", "It is green.", True, "wrong"),
    ("free", "The sky is blue because of the air.", "as an airline says", True, "wrong"),
    ("free", "The sky is blue because of the air.", "天是蓝的，因为空气。", True, "wrong_language"),
    ("free", "天空是蓝色的，因为空气散射。", "It is blue because of the air.", True, "wrong_language"),
    ("free", "天空是蓝色的，因为空气散射。", "海是绿色的。", True, "wrong"),
    ("free", "天空是蓝色的，因为空气散射。", "我认为天空是蓝色的，因为空气散射！就是这样。", True, "rewritten"),
    ("free", "42", "The answer is 42.", True, "rewritten"),
    ("free", "42", "The answer is 421.", True, "wrong"),
    ("free", "42", "one " * 60, True, "too_long"),
    ("free", "42", "one " * 60, False, "cut_off"),
    ("free", "I'm sorry, I can't help with that.", "I am sorry, I cannot assist.", True, "wrong"),
    # JSON
    ("json", JSON, '{"order": "A-1", "quantity": 3}', True, "wrong_value"),
    ("json", JSON, '{"order": "A-1", "quantity": true}', True, "wrong_value"),
    ("json", JSON, '{"order": "A-1"}', True, "wrong_keys"),
    ("json", JSON, '{"order": "A-1", "quantity": 2, "note": ""}', True, "wrong_keys"),
    ("json", JSON, '["A-1", 2]', True, "wrong_keys"),
    ("json", JSON, '{"order": "A-1", "quantity": ', True, "invalid_json"),
    ("json", JSON, '{"order": "A-1", "quantity": ', False, "cut_off"),
    ("json", JSON, "order A-1, two of them", True, "invalid_json"),
    ("json", JSON, "[" * 4000, True, "invalid_json"),
    ("json", JSON, '{"quantity":2,"order":"A-1"}', True, "rewritten"),
    ("json", JSON, 'Here it is:\n```json\n{"order": "A-1",\n "quantity": 2}\n```', True, "rewritten"),
]  # fmt: skip
FILLERS = {
    "labels": [(label, label) for label in LABELS for _ in range(8)],
    "free": [(f"text number {i} of the fillers, all different", "") for i in range(30)],
    "json": [(json.dumps({"order": f"B-{i}", "quantity": i}), "x") for i in range(40)],
}


@pytest.mark.parametrize(("task", "expected", "answer", "stopped", "kind"), BY_HAND)
def test_kinds_are_those_given_by_hand(task: str, expected: str, answer: str, stopped: bool, kind: str) -> None:
    rows = [prediction(i, *pair) for i, pair in enumerate(FILLERS[task], start=2)]
    before = {error.kind: error.count for error in analyse_gap(rows, primary=METRIC).errors}
    rows.insert(0, prediction(1, expected, answer, stopped=stopped))
    gap = analyse_gap(rows, primary=METRIC)
    after = {error.kind: error.count for error in gap.errors}
    assert {key: count - before.get(key, 0) for key, count in after.items() if count != before.get(key, 0)} == {kind: 1}
    assert sum(after.values()) == gap.num_short


def test_counts_shares_examples_and_remedies() -> None:
    rows = [prediction(i, label, label) for i, label in enumerate(LABELS * 5)]
    wrong = ["no_label", "another", "", "third", "fourth"]
    rows += [prediction(100 + i, "refund", answer, question=f"q{i}" + "x" * 2000) for i, answer in enumerate(wrong)]
    gap = analyse_gap(rows, primary=METRIC, target=0.9, model="m", prompt="zero-shot")
    assert (gap.num_short, gap.num_classes, gap.metric, gap.target) == (5, 4, METRIC, 0.9)
    assert gap.score == proportion(20, 25)
    assert gap.shortfall == pytest.approx(0.1)
    outside, empty = gap.errors
    assert (outside.kind, outside.count, outside.share) == ("outside_labels", 4, proportion(4, 25))
    assert (empty.kind, empty.count) == ("empty", 1)
    assert [one.row_id for one in outside.examples] == ["test.jsonl:100", "test.jsonl:101", "test.jsonl:103"]
    assert outside.examples[0].question.startswith("q0")
    assert len(outside.examples[0].question) == 1000
    assert "constraint" in outside.remedies
    assert outside.advice.startswith("A constraint on decoding turns each into some label, not into the right one")


def test_labels_of_the_training_rows_make_few_test_rows_a_closed_set() -> None:
    pairs = [("refund", "card_lost"), ("card_arrival", "nonsense"), ("card_lost", "card_lost")]
    rows = [prediction(number, *pair) for number, pair in enumerate(pairs)]
    assert analyse_gap(rows, primary=METRIC).num_classes == 0
    gap = analyse_gap(rows, primary=METRIC, training_answers=LABELS * 10)
    assert gap.num_classes == 4
    assert {error.kind for error in gap.errors} == {"other_label", "outside_labels"}


def test_with_grades_between_right_and_wrong_the_target_says_which_rows_fall_short() -> None:
    rows = [prediction(i, "x y z", "x y", grade=grade) for i, grade in enumerate([0.2, 0.5, 0.7, 0.9, 1.0])]
    assert analyse_gap(rows, primary=METRIC, target=0.7).num_short == 2
    assert analyse_gap(rows, primary=METRIC).num_short == 2  # the mean is 0.66
    assert analyse_gap(rows, primary=METRIC, target=0.5).shortfall == 0


def test_fields_of_json_answers() -> None:
    wanted = '{"a": 1, "b": "x", "c": {"d": true}}'
    answers = ['{"a": 1, "b": "x", "c": {"d": true}}', '{"a": 2, "b": "x"}', '{"a": 1, "b": "y", "c": {"d": 1}}', "no"]
    gap = analyse_gap([prediction(i, wanted, answer) for i, answer in enumerate(answers)], primary=METRIC)
    assert {field.field: field.right for field in gap.fields} == {
        "c.d": proportion(1, 3), "a": proportion(2, 3), "b": proportion(2, 3),
    }  # fmt: skip
    assert gap.fields[0].field == "c.d"


def test_holm_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    assert holm([]) == []


def hypergeometric_tail(right_inside: int, inside: int, right: int, n: int) -> float:
    """Probability of at most so many right answers among so many rows drawn from all, by counting."""
    ways = [math.comb(right, k) * math.comb(n - right, inside - k) for k in range(right_inside + 1) if k <= inside]
    return sum(ways) / math.comb(n, inside)


def test_a_weak_class_is_found_and_its_p_value_is_that_of_counting() -> None:
    rows = []
    for label, right in (("red", 2), ("green", 14), ("blue", 15), ("black", 15)):
        rows += [prediction(len(rows) + i, label, label if i < right else "pink") for i in range(16)]
    groups = {one.value: one for one in find_groups(rows, [one.grades[METRIC] for one in rows], by_class=True)
              if one.dimension == "class"}  # fmt: skip
    red = groups["red"]
    assert (red.score, red.rest) == (proportion(2, 16), pytest.approx(44 / 48))
    assert red.difference == pytest.approx(2 / 16 - 44 / 48)
    assert red.p_value == pytest.approx(hypergeometric_tail(2, 16, 46, 64))
    assert groups["blue"].p_value == pytest.approx(hypergeometric_tail(15, 16, 46, 64))
    assert red.weak
    assert not any(one.weak for value, one in groups.items() if value != "red")
    p_values = [one.p_value for one in find_groups(rows, [one.grades[METRIC] for one in rows], by_class=True)]
    number = sum(p is not None for p in p_values)
    assert red.p_adjusted == pytest.approx(red.p_value * number)


def test_graded_groups_are_tested_by_permutation() -> None:
    inside, outside = [0.1, 0.2, 0.15, 0.3, 0.25], [0.4, 0.6, 0.5, 0.55, 0.7]
    rows = [prediction(i, "x", "y", grade=grade, source="a") for i, grade in enumerate(inside)]
    rows += [prediction(9 + i, "x", "y", grade=grade, source="b") for i, grade in enumerate(outside)]
    groups = find_groups(rows, [*inside, *outside], by_class=False)
    weak = next(one for one in groups if (one.name, one.value) == ("source", "a"))
    drawn = [sum(some) for some in combinations([*inside, *outside], 5)]
    assert weak.p_value == pytest.approx(sum(total <= sum(inside) + 1e-9 for total in drawn) / len(drawn), abs=1e-9)


def test_groups_that_are_too_small_are_shown_and_not_tested() -> None:
    rows = [prediction(i, "x", "y", part="rare" if i < 4 else "common") for i in range(30)]
    groups = find_groups(rows, [0.0] * 30, by_class=False)
    rare = next(one for one in groups if one.value == "rare")
    assert (rare.p_value, rare.p_adjusted, rare.weak, rare.score.n) == (None, None, False, 4)


def test_chance_alone_makes_no_group_weak() -> None:
    """Every group is right as often as the others: nothing may be called weak."""
    rows = [prediction(i, f"label{i % 8}", "x", grade=float(i // 8 % 2), source=f"s{i // 16 % 4}") for i in range(128)]
    groups = find_groups(rows, [one.grades[METRIC] for one in rows], by_class=True)
    assert {one.dimension for one in groups} == {"class", "column"}  # all questions are of the same length
    assert not any(one.weak for one in groups)


def test_quartiles_of_the_length_of_the_last_question() -> None:
    lengths = [1, 1, 1, 1, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]
    rows = [prediction(i, "x", "y", question="好" * length) for i, length in enumerate(lengths)]
    groups = [one for one in find_groups(rows, [0.0] * 16, by_class=False) if one.dimension == "length"]
    assert sorted((one.value, one.score.n) for one in groups) == sorted(
        [("1 characters", 5), ("2 to 4 characters", 3), ("5 to 8 characters", 4), ("9 to 12 characters", 4)]
    )


def test_columns_of_few_values_are_groups_and_others_are_not() -> None:
    rows = [
        prediction(
            i, LABELS[i % 4], "x", lang="zh" if i % 2 else "en", vip=i % 3 == 0, id=i, label=LABELS[i % 4].upper(),
            tags=["a"], one="same", text=f"text {i}", maybe=None if i % 5 == 0 else "y",
        )
        for i in range(40)
    ]  # fmt: skip
    groups = find_groups(rows, [float(i % 2) for i in range(40)], by_class=True)
    columns = {(one.name, one.value): one.score.n for one in groups if one.dimension == "column"}
    assert columns == {
        ("lang", "en"): 20, ("lang", "zh"): 20, ("vip", "True"): 14, ("vip", "False"): 26,
        ("maybe", "(none)"): 8, ("maybe", "y"): 32,
    }  # fmt: skip
    weak = [(one.name, one.value) for one in groups if one.weak]
    assert ("lang", "en") in weak
    assert ("lang", "zh") not in weak


def some_gap() -> Gap:
    rows = [prediction(i, label, label, part="a") for i, label in enumerate(LABELS * 10)]
    rows += [prediction(50 + i, "refund", "[bold]no[/bold]", part="b", question="退款\n在哪") for i in range(20)]
    return analyse_gap(rows, primary=METRIC, target=0.9, model="tiny", prompt="8-shot random")


def test_a_gap_survives_json() -> None:
    for gap in (some_gap(), analyse_gap([prediction(1, JSON, "{}")], primary=METRIC)):
        values = json.loads(json_text(gap))
        assert record_of(Gap, values) == gap
        assert list(values["score"]) == ["value", "low", "high", "n"]


@pytest.mark.parametrize("width", [60, 100])
def test_a_person_sees_kinds_remedies_examples_and_weak_groups(width: int) -> None:
    stream = io.StringIO()
    print_gap(some_gap(), Console(file=stream, width=width))
    text = stream.getvalue()
    assert all(len(line) <= width for line in text.splitlines())
    words = " ".join(text.split())
    for piece in ("20 of 60 rows", "23.3% short", "no label of the set", "33% (23-46)", "[bold]no[/bold]"):
        assert piece in words
    for piece in ("退款⏎在哪", "part: b", "Holm's correction"):
        assert piece in words


def test_a_person_is_told_when_no_group_is_weaker() -> None:
    stream = io.StringIO()
    rows = [prediction(i, "text of its own " + str(i), "y", source="ab"[i % 2]) for i in range(12)]
    print_gap(analyse_gap(rows, primary=METRIC), Console(file=stream, width=100))
    assert "No group of rows is surely weaker than the rest" in stream.getvalue()
