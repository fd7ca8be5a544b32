"""The question to a judge model, and the letter in its reply."""

from __future__ import annotations

from pathlib import Path

import pytest

from weitiao.errors import DataError
from weitiao.evaluation.judges.pairwise import JudgeConfig, letter_in, read_question
from weitiao.feedback.items import PreferenceItem

ITEM = PreferenceItem(
    "i", "row:1", ({"role": "user", "content": "为什么？"},), " answer {second} of A\n", "answer of B"
)


@pytest.mark.parametrize("language", ["en", "zh"])
def test_answers_stand_in_the_order_that_is_asked_for(language: str) -> None:
    question = read_question(JudgeConfig.model_validate({"model": "m", "language": language}))
    assert question.name == language
    ((forward,), (backward,)) = (question.ask(ITEM.messages, *ITEM.shown(order)) for order in ("ab", "ba"))
    text = forward["content"]
    assert text.index("为什么？") < text.index("answer {second} of A") < text.index("answer of B")
    assert backward["content"].index("answer of B") < backward["content"].index("answer {second} of A")
    assert text.count("answer of B") == 1  # braces in an answer are no field


def test_both_orders_begin_alike_up_to_the_answers() -> None:
    question = read_question(JudgeConfig(model="m"))
    ((forward,), (backward,)) = (question.ask(ITEM.messages, *ITEM.shown(order)) for order in ("ab", "ba"))
    place = forward["content"].index("answer {second}")
    assert forward["content"][:place] == backward["content"][:place]


def test_a_conversation_is_told_with_its_roles() -> None:
    turns = tuple({"role": role, "content": role[0]} for role in ("system", "user", "assistant", "user"))
    ((turn,)) = read_question(JudgeConfig(model="m")).ask(turns, "x", "y")
    assert "system: s\n\nuser: u\n\nassistant: a\n\nuser: u" in turn["content"]


def test_a_question_of_the_users_own(tmp_path: Path) -> None:
    path = tmp_path / "question.txt"
    path.write_text("{prompt}|{first}|{second}|A or B?", encoding="utf-8")
    question = read_question(JudgeConfig(model="m", template=path))
    ((turn,)) = question.ask(ITEM.messages, *ITEM.shown("ba"))
    assert turn["content"] == "为什么？|answer of B|answer {second} of A|A or B?"
    path.write_text("{prompt}|{second}|{first}|A or B?", encoding="utf-8")
    assert read_question(JudgeConfig(model="m", template=path)).name != question.name


@pytest.mark.parametrize("text", ["{prompt} {first}", "{prompt} {first} {second} {first}", ""])
def test_a_question_without_its_fields_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "question.txt"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(DataError, match=r"question\.txt.*once each"):
        read_question(JudgeConfig(model="m", template=path))


def test_a_question_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="nowhere"):
        read_question(JudgeConfig(model="m", template=tmp_path / "nowhere.txt"))
    (tmp_path / "latin.txt").write_bytes("{prompt}{first}{second}\xe4".encode("latin-1"))
    with pytest.raises(DataError, match="UTF-8"):
        read_question(JudgeConfig(model="m", template=tmp_path / "latin.txt"))


@pytest.mark.parametrize(
    ("reply", "letter"),
    [
        ("A", "A"),
        (" b.\n", "B"),
        ("**B**", "B"),
        ("Answer A is better, because it is right.", "A"),
        ("回答B更好。", "B"),
        ("The better answer: (A)", "A"),
        ("<think>A says so, but B ...</think>\nB", "B"),
        ("<think>A or B, I am not", None),
        ("Both A and B are good.", None),
        ("Neither.", None),
        ("", None),
        ("ABBA", None),
        ("Yes, because of vitamin B12", None),
    ],
)
def test_the_letter_in_a_reply(reply: str, letter: str | None) -> None:
    assert letter_in(reply) == letter
