"""Duplicates, contradictions and leaks: counts against a brute-force count on generated rows."""

from __future__ import annotations

import random
from collections import defaultdict
from itertools import pairwise
from pathlib import Path

import pytest
from checking import check_files, of_kind, pair, rows_of, write_rows

from weitiao.text.folding import fold

WORDS = [
    "card",
    "money",
    "account",
    "transfer",
    "bank",
    "lost",
    "stolen",
    "arrive",
    "late",
    "fee",
    "cash",
    "app",
    "pin",
]
SAME = ["I lost my card!", "i lost my card", "I  lost my CARD?!", "“I lost my card.”", "I lost\nmy card"]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("你好，世界", "你好 世界！"),
        ("Ｈｅｌｌｏ　１２", "hello 12"),
        ("It's 5 o'clock", "it’s 5 o’clock?"),
        ("top-up failed", "Top up failed."),
        ("What is 2 + 2?", "what is 2 + 2"),
        ("An extra £1 charge", "an extra €1 charge?"),
    ],
)
def test_what_counts_as_the_same(one: str, other: str) -> None:
    assert fold(one) == fold(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("What is 2 + 2?", "What is 2 - 2?"),
        ("What is 2 * 2?", "What is 2 / 2?"),
        ("What is 2 - 2?", "What is 2 2?"),
        ("1.5", "15"),
        ("x = -3", "x = 3"),
        ("你好吗", "你好"),
        ("?", "!"),
        ("C", "C++"),
    ],
)
def test_what_counts_as_different(one: str, other: str) -> None:
    assert fold(one) != fold(other)


def spoilt(rng: random.Random, text: str) -> str:
    """The same text in another spelling."""
    text = rng.choice([str.upper, str.title, str.lower])(text)
    return (
        rng.choice(["", "  ", "“"]) + text.replace(" ", rng.choice([" ", "  ", ", "])) + rng.choice(["", "?", "!", "…"])
    )


def generated(rng: random.Random, count: int, labels: int = 3) -> list[dict[str, str]]:
    texts = [" ".join(rng.choices(WORDS, k=3)) for _ in range(count)]
    return [pair(spoilt(rng, text), f"label {rng.randrange(labels)}") for text in texts]


def key(text: str) -> str:
    return " ".join("".join(char if char.isalnum() else " " for char in text.casefold()).split())


def test_duplicates_and_contradictions_against_brute_force(tmp_path: Path) -> None:
    rows = generated(random.Random(0), 2_000)
    keys = [key(row["prompt"]) for row in rows]
    repeats, contradicting = [], []
    for i, row in enumerate(rows):
        earlier = [other for other, its in zip(rows[:i], keys, strict=False) if its == keys[i]]
        if any(other["completion"] == row["completion"] for other in earlier):
            repeats.append(i + 1)
        elif earlier:
            contradicting.append(i + 1)
    report = check_files(write_rows(tmp_path / "a.jsonl", rows), kinds={"duplicate", "contradiction"})
    (repeated,) = of_kind(report, "duplicate")
    assert repeated.rows == repeats
    assert rows_of(report, "contradiction", "warning") == contradicting
    assert len(repeats) > 100
    assert len(contradicting) > 100
    file, _, number = repeated.others[0].rpartition(":")
    assert file == str(tmp_path / "a.jsonl")
    first = next(i for i, row in enumerate(rows, 1) if key(row["prompt"]) == key(rows[repeats[0] - 1]["prompt"]))
    assert int(number) >= first


def test_leaks_against_brute_force(tmp_path: Path) -> None:
    rng = random.Random(1)
    train, test = generated(rng, 2_000), generated(rng, 300)
    keys, theirs = {key(row["prompt"]) for row in train}, {key(row["prompt"]) for row in test}
    expected = [i for i, row in enumerate(train, 1) if key(row["prompt"]) in theirs]
    report = check_files(
        write_rows(tmp_path / "train.jsonl", train),
        against=(write_rows(tmp_path / "test.jsonl", test),),
        kinds={"leak"},
    )
    (finding,) = report.findings
    assert finding.rows == expected
    assert finding.count == len(expected) > 50
    assert finding.num_others == sum(key(row["prompt"]) in keys for row in test)
    for row, other in zip(finding.rows, finding.others, strict=True):
        assert key(train[row - 1]["prompt"]) == key(test[int(other.rpartition(":")[2]) - 1]["prompt"])
    assert report.has_errors


def test_a_row_that_leaks_into_two_sets_counts_once(tmp_path: Path) -> None:
    train = write_rows(tmp_path / "train.jsonl", [pair("Where is my card?"), pair("Who?")])
    sets = tuple(write_rows(tmp_path / f"{name}.jsonl", [{"prompt": "where is my card"}]) for name in "ab")
    report = check_files(train, against=sets)
    assert report.counts == {"leak": 1}
    assert [finding.others for finding in report.findings] == [[f"{file}:1"] for file in sets]


def test_what_reads_the_same_is_a_duplicate(tmp_path: Path) -> None:
    report = check_files(write_rows(tmp_path / "a.jsonl", [pair(text) for text in SAME]), kinds={"duplicate"})
    assert rows_of(report, "duplicate") == [2, 3, 4, 5]


def test_free_answers_that_differ_are_no_warning(tmp_path: Path) -> None:
    poems = [
        "Roses are red, and violets are as blue as the sky above us.",
        "A bird sat on the roof and sang of summer days.",
    ]
    report = check_files(write_rows(tmp_path / "a.jsonl", [pair("Write a poem.", text) for text in poems]))
    assert rows_of(report, "contradiction", "info") == [2]
    assert rows_of(report, "contradiction", "warning") == []


def test_evaluation_sets_need_no_answers_and_other_columns(tmp_path: Path) -> None:
    train = write_rows(tmp_path / "train.jsonl", [{"instruction": "What is two plus two?", "input": "", "output": "4"}])
    for name, row in {
        "prompts": {"prompt": "What is two plus two"},
        "questions": {"question": "what is TWO plus two?", "answer": "#### 4"},
        "messages": {"messages": [{"role": "user", "content": "What is two plus two?"}]},
        "labels": {"text": "What is two plus two?", "label": 3},
    }.items():
        against = write_rows(tmp_path / f"{name}.jsonl", [row])
        report = check_files(train, against=(against,))
        assert rows_of(report, "leak") == [1], name
        assert set(report.counts) == {"leak"}, name


def test_a_question_within_a_conversation_leaks(tmp_path: Path) -> None:
    question = "How many eggs does Janet sell on the market every single day?"
    conversation = [
        {"role": "user", "content": question}, {"role": "assistant", "content": "Nine."},
        {"role": "user", "content": "Thanks"}, {"role": "assistant", "content": "With pleasure."},
    ]  # fmt: skip
    train = write_rows(tmp_path / "train.jsonl", [{"messages": conversation}])
    report = check_files(
        train, against=(write_rows(tmp_path / "a.jsonl", [{"prompt": question}, {"prompt": "thanks"}]),)
    )
    (finding,) = of_kind(report, "leak")
    assert finding.others == [f"{tmp_path / 'a.jsonl'}:1"]


def test_files_are_compared_with_each_other(tmp_path: Path) -> None:
    one = write_rows(tmp_path / "one.jsonl", [pair("Where is my card?"), pair("Where is my money?")])
    two = write_rows(tmp_path / "two.jsonl", [pair("where is my MONEY")])
    report = check_files(one, two, kinds={"duplicate"})
    (finding,) = report.findings
    assert (finding.file, finding.row, finding.others) == (str(two), 1, [f"{one}:2"])


def test_near_leaks(tmp_path: Path) -> None:
    text = "A robe takes two bolts of blue fiber and half that much white fiber. How many bolts in total does it take?"
    changed = text.replace("robe", "gown")
    other = "A train leaves the station at noon and travels sixty miles an hour. How far does it get by five o'clock?"
    train = write_rows(tmp_path / "train.jsonl", [pair(other, "300 miles"), pair(changed, "3"), pair(text, "3")])
    report = check_files(train, against=(write_rows(tmp_path / "test.jsonl", [pair(text, "3")]),), near_threshold=0.7)
    assert rows_of(report, "leak", "error") == [3]
    assert rows_of(report, "near_leak", "warning") == [2]


def test_shared_instructions_do_not_make_rows_alike(tmp_path: Path) -> None:
    """Rows that share 200 words of instruction and differ in a short message are different rows."""
    rng = random.Random(2)
    instruction = " ".join(f"rule{i} says that intent {i} is chosen when needed" for i in range(30))
    texts = [" ".join(rng.sample(WORDS, 8)) for _ in range(300)]
    forms = {
        "alpaca": [{"instruction": instruction, "input": text, "output": "one"} for text in texts],
        "lines": [pair(f"{instruction}\nMessage: {text}", "one") for text in texts],
    }
    for name, rows in forms.items():
        report = check_files(write_rows(tmp_path / f"{name}.jsonl", rows), kinds={"near_duplicate"})
        assert report.counts.get("near_duplicate", 0) <= 3, name


def test_groups_of_equal_rows_of_any_size(tmp_path: Path) -> None:
    sizes = defaultdict(int, {"alpha beta gamma": 40, "delta epsilon zeta": 1, "eta theta iota": 2})
    rows = [pair(text) for text, size in sizes.items() for _ in range(size)]
    random.Random(3).shuffle(rows)
    report = check_files(write_rows(tmp_path / "a.jsonl", rows), kinds={"duplicate"})
    assert report.counts == {"duplicate": 40}
    assert all(a < b for a, b in pairwise(report.findings[0].rows))
