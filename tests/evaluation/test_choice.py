"""Multiple choice by likelihood, against a loop over all choices in float64; and its rows from files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM

from weitiao.errors import DataError
from weitiao.evaluation.choice import ChoiceItem, ChoiceResult, read_choices, score_choices
from weitiao.evaluation.likelihood import Likelihood
from weitiao.methods.open import open_model

QUESTIONS = ["what is it?", "what is a model?", "今天天气好吗？", "answer in one word"]
CHOICES = (("a", "a small model"), ("few", "short examples", "learns"), ("好", "不好", "很好", "a"), ("one word", "x"))
ITEMS = [
    ChoiceItem(f"item:{i}", f"Question: {question}\nAnswer:", choices, i % 2)
    for i, (question, choices) in enumerate(zip(QUESTIONS, CHOICES, strict=True))
]
TEMPLATE = "Question: {{ question }}\nAnswer:"


def brute_force(model: Any, tokenizer: Any, item: ChoiceItem) -> tuple[list[float], list[float]]:
    """Log-likelihood of each choice, and the same per character."""
    sums = []
    for choice in item.choices:
        known, whole = (tokenizer(text).input_ids for text in (item.question, f"{item.question} {choice}"))
        with torch.no_grad():
            scores = torch.log_softmax(model(torch.tensor([whole])).logits[0].double(), -1)
        sums.append(sum(float(scores[place - 1, whole[place]]) for place in range(len(known), len(whole))))
    return sums, [value / len(choice) for value, choice in zip(sums, item.choices, strict=True)]


def test_choices_are_those_of_a_loop_over_all_of_them(tiny_llama_dir: Path) -> None:
    opened = open_model(tiny_llama_dir)
    model, tokenizer = AutoModelForCausalLM.from_pretrained(tiny_llama_dir).eval(), opened.tokenizer
    for budget, share in ((30, True), (3000, True), (3000, False)):
        results = score_choices(opened.model, tokenizer, ITEMS, token_budget=budget, share_prefixes=share)
        for item, result in zip(ITEMS, results, strict=True):
            sums, shares = brute_force(model, tokenizer, item)
            assert list(result.log_likelihoods) == pytest.approx(sums, abs=1e-4)
            assert (result.choice, result.choice_normalized) == (sums.index(max(sums)), shares.index(max(shares)))
            assert result.correct == (result.choice == item.answer)
            num_tokens = len(tokenizer(f"{item.question} {item.choices[item.answer]}").input_ids)
            num_tokens -= len(tokenizer(item.question).input_ids)
            assert result.answer_likelihood.loss == pytest.approx(-sums[item.answer] / num_tokens, abs=1e-4)


def test_the_length_of_a_choice_counts_only_when_normalized() -> None:
    result = ChoiceResult(
        ChoiceItem("i", "?", ("a", "four", "more"), 1), tuple(map(Likelihood, (-3.0, -4.0, -4.0), (1, 2, 2)))
    )
    assert (result.choice, result.correct) == (0, False)
    assert (result.choice_normalized, result.correct_normalized) == (1, True)  # -3, -1, -1: of equal ones the first


def read(path: Path, **columns: Any) -> tuple[ChoiceItem, ...]:
    settings = {"question": "question", "choices": "choices", "answer": "answer", "template": TEMPLATE, **columns}
    return read_choices(path, **settings)


def test_rows_name_the_right_choice_by_place_letter_or_text(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    answers: list[Any] = [1, "B", "b", "two", "1"]
    rows = [{"question": "which?", "choices": ["one", "two"], "answer": answer} for answer in answers]
    rows.append({"question": "which?", "choices": ["1", "0"], "answer": "1"})
    path.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    items = read(path)
    assert [item.answer for item in items] == [1, 1, 1, 1, 1, 0]
    assert items[0] == ChoiceItem("rows.jsonl:1", "Question: which?\nAnswer:", ("one", "two"), 1)


def test_columns_may_be_nested_or_one_for_each_choice(tmp_path: Path) -> None:
    nested = tmp_path / "nested.json"
    row = {"q": "which?", "choices": {"text": ["x", "y"]}, "key": "A", "topic": "letters"}
    nested.write_text(json.dumps([row]), encoding="utf-8")
    (item,) = read(nested, question="q", choices="choices.text", answer="key", template="{{ topic }}: {{ question }}")
    assert item == ChoiceItem("nested.json:1", "letters: which?", ("x", "y"), 0)
    table = tmp_path / "table.csv"
    table.write_text("question,A,B,C,answer\nwhich?,x,y,z,C\n", encoding="utf-8")
    (item,) = read(table, choices=("A", "B", "C"))
    assert (item.choices, item.answer) == (("x", "y", "z"), 2)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"choices": ["x", "y"], "answer": 0}, "row 1: question is missing"),
        ({"question": "q", "choices": ["x"], "answer": 0}, "row 1: choices must be a list of at least two"),
        ({"question": "q", "choices": ["x", "y"], "answer": 2}, "row 1: answer is '2'"),
        ({"question": "q", "choices": ["x", "y"], "answer": "z"}, "row 1: answer is 'z'"),
        ({"question": "q", "choices": ["x", "y"], "answer": True}, "row 1: answer is 'True'"),
    ],
)
def test_a_bad_row_is_named(tmp_path: Path, row: dict[str, Any], message: str) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text(json.dumps(row) + "\n", encoding="utf-8")
    with pytest.raises(DataError, match=message):
        read(path)
