"""Splits, samples and weights: exact counts, no shared inputs, the same choice for every order of the file."""

from __future__ import annotations

import json
import random
from collections import Counter
from pathlib import Path

import pytest

from weitiao.data.config import DataConfig
from weitiao.data.example import Example
from weitiao.data.load import load_data
from weitiao.data.parts.asked import asked_by
from weitiao.data.parts.mixing import take
from weitiao.data.parts.splits import Keyed, find_overlaps, hold_out


def row(question: str, answer: str = "yes", row_id: str = "") -> Keyed:
    example = Example(
        row_id or question, ({"role": "user", "content": question}, {"role": "assistant", "content": answer})
    )
    return Keyed(asked_by(example), example)


def key(example: Example) -> bytes:
    return asked_by(example).keys[0]


def taken(rows: list[Keyed], counts: list[int], *, seed: int) -> list[list[Keyed]]:
    return hold_out(rows, counts, seed=seed).parts


def questions(rows: list[Keyed]) -> list[str]:
    return [one.example.messages[0]["content"] for one in rows]


def test_inputs_that_differ_in_case_marks_and_white_space_are_the_same_and_others_are_not() -> None:
    assert key(row("Where is  my\nCARD?").example) == key(row(" where is my card", "no").example)
    assert key(row("你好，世界！").example) == key(row("你好世界").example) == key(row("你好, 世界").example)
    assert key(row("ＡＢＣ　１").example) == key(row("abc 1").example)
    assert len({key(row(f"What is 2 {sign} 3?").example) for sign in "+*-"}) == 3
    assert key(row("What is 3.5?").example) != key(row("What is 35?").example)
    assert key(row("My top-up isn't there").example) == key(row("my top up isnt there.").example)
    turns = ({"role": "user", "content": "a"}, {"role": "assistant", "content": "b"})
    longer = Example("", (*turns, {"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}))
    assert key(Example("", turns)) != key(longer)
    assert key(Example("", ({"role": "system", "content": "s"}, *turns))) == key(Example("", turns))
    only_system = [Example("", ({"role": "system", "content": text}, turns[1])) for text in ("one", "two")]
    assert key(only_system[0]) != key(only_system[1])
    assert key(Example("", text="Some  text")) == key(Example("", text="some text"))
    assert key(Example("", text="some text")) != key(Example("", text="other text"))


def test_parts_have_the_asked_size_and_share_no_input() -> None:
    rows = [row(f"question {i // 3 if i % 2 else i}", row_id=str(i)) for i in range(1000)]
    test, validation, train = taken(rows, [100, 50], seed=0)
    assert (len(test), len(validation), len(train)) == (100, 50, 850)
    keys = [{one.asked.keys[0] for one in part} for part in (test, validation, train)]
    assert not keys[0] & keys[1] and not keys[0] & keys[2] and not keys[1] & keys[2]
    assert sorted(one.example.row_id for part in (test, validation, train) for one in part) == sorted(
        one.example.row_id for one in rows
    )


def test_twins_are_those_that_brute_force_finds() -> None:
    draw = random.Random(0)
    words = ["card", "lost", "3", "top up", "top-up", "topup", "don't", "dont", "where"]
    marks = ["", "?", "!", ".", "...", ", ", ";", '"', " ", "  ", "\n", "\t", "？", "。"]

    def text() -> str:
        chosen = [draw.choice([word, word.upper(), word.title()]) for word in draw.choices(words, k=3)]
        return draw.choice(marks) + "".join(word + draw.choice([" ", "  ", ", ", "... ", " ! "]) for word in chosen)

    def plain(question: str) -> str:
        return "".join(c for c in question.lower() if c.isalnum())

    # `3 3` and `33` do differ, so no question has two numbers in a row.
    asked = [question for question in (text() for _ in range(2500)) if "33" not in plain(question)]
    rows = [row(question, row_id=str(i)) for i, question in enumerate(asked)]
    by_key, by_words = Counter(one.asked.keys[0] for one in rows), Counter(map(plain, questions(rows)))
    assert sorted(by_key.values()) == sorted(by_words.values()) and len(by_key) < 400
    parts = [set(map(plain, questions(part))) for part in taken(rows, [300, 200], seed=0)]
    assert not parts[0] & parts[1] and not parts[0] & parts[2] and not parts[1] & parts[2]


def test_the_split_does_not_depend_on_the_order_of_the_file_and_keeps_it() -> None:
    rows = [row(f"question {i}") for i in range(300)]
    shuffled = random.Random(1).sample(rows, len(rows))
    for part, other in zip(taken(rows, [40, 20], seed=3), taken(shuffled, [40, 20], seed=3), strict=True):
        assert set(questions(part)) == set(questions(other))
        assert questions(part) == [q for q in questions(rows) if q in set(questions(part))]
    assert set(questions(taken(rows, [40], seed=3)[0])) != set(questions(taken(rows, [40], seed=4)[0]))


def test_the_first_part_stays_when_the_second_changes() -> None:
    rows = [row(f"question {i}") for i in range(300)]
    assert taken(rows, [30, 10], seed=0)[0] == taken(rows, [30, 60], seed=0)[0]


def test_a_group_that_is_larger_than_a_part_stays_in_training() -> None:
    rows = [row("same") for _ in range(80)] + [row(f"question {i}") for i in range(20)]
    test, train = taken(rows, [10], seed=0)
    assert len(test) == 10 and "same" not in questions(test) and len(train) == 90


def test_held_out_rows_are_spread_over_a_sorted_file() -> None:
    rows = [row(f"{label} {i}") for label in "abcde" for i in range(200)]
    counts = Counter(question[0] for question in questions(taken(rows, [500], seed=0)[0]))
    # Hypergeometric: 100 expected per label, standard deviation 6.3; five of them are allowed.
    assert all(abs(counts[label] - 100) < 32 for label in "abcde")


def test_a_sample_has_the_asked_size_order_and_seed() -> None:
    rows = [row(f"question {i}") for i in range(100)]
    chosen = questions(take(rows, 30, seed=0, purpose="sample"))
    assert len(chosen) == 30 and chosen == [q for q in questions(rows) if q in set(chosen)]
    assert chosen != questions(take(rows, 30, seed=1, purpose="sample"))
    assert chosen != questions(rows)[:30]
    assert take(rows, 100, seed=0, purpose="sample") == rows


@pytest.mark.parametrize(("weight", "size"), [(0.001, 1), (0.5, 20), (1.0, 40), (2.0, 80), (2.25, 90)])
def test_a_weight_repeats_whole_rounds_and_a_part(tmp_path: Path, weight: float, size: int) -> None:
    file = tmp_path / "a.jsonl"
    file.write_text("".join(json.dumps({"prompt": f"question {i}", "completion": "a"}) + "\n" for i in range(40)))
    repeated = load_data(DataConfig.model_validate({"train": {"path": file, "weight": weight, "sample": 50}})).train
    assert len(repeated) == size
    assert len({example.row_id for example in repeated}) == size
    counts = Counter(example.messages[0]["content"] for example in repeated)
    assert set(counts.values()) <= {int(weight), int(weight) + 1}


def test_overlaps_count_the_rows_of_both_sides() -> None:
    parts = {"train": [row("a"), row("A! "), row("b")], "validation": [row("c")], "test": [row("a"), row("c")]}
    apart = "(apart from case, punctuation and white space)"
    assert [str(overlap) for overlap in find_overlaps(parts)] == [
        f"2 rows of train have the same input as 1 rows of test {apart}",
        f"1 rows of validation have the same input as 1 rows of test {apart}",
    ]
