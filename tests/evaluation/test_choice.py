"""Multiple choice by likelihood, against a loop over all choices in float64."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM

from weitiao.evaluation.likelihood import ChoiceItem, score_choices
from weitiao.methods.open import open_model

QUESTIONS = ["what is it?", "what is a model?", "今天天气好吗？", "answer in one word"]
CHOICES = (("a", "a small model"), ("few", "short examples", "learns"), ("好", "不好", "很好", "a"), ("one word", "x"))
ITEMS = [
    ChoiceItem(f"item:{i}", f"Question: {question}\nAnswer:", choices, i % 2)
    for i, (question, choices) in enumerate(zip(QUESTIONS, CHOICES, strict=True))
]


def brute_force(model: Any, tokenizer: Any, item: ChoiceItem) -> list[float]:
    """Log-likelihood of each choice."""
    sums = []
    for choice in item.choices:
        known, whole = (tokenizer(text).input_ids for text in (item.question, f"{item.question} {choice}"))
        with torch.no_grad():
            scores = torch.log_softmax(model(torch.tensor([whole])).logits[0].double(), -1)
        sums.append(sum(float(scores[place - 1, whole[place]]) for place in range(len(known), len(whole))))
    return sums


def test_choices_are_those_of_a_loop_over_all_of_them(tiny_llama_dir: Path) -> None:
    opened = open_model(tiny_llama_dir)
    model, tokenizer = AutoModelForCausalLM.from_pretrained(tiny_llama_dir).eval(), opened.tokenizer
    for budget, share in ((30, True), (3000, True), (3000, False)):
        results = score_choices(opened.model, tokenizer, ITEMS, token_budget=budget, share_prefixes=share)
        for item, result in zip(ITEMS, results, strict=True):
            sums = brute_force(model, tokenizer, item)
            assert list(result.log_likelihoods) == pytest.approx(sums, abs=1e-4)
            assert result.choice == sums.index(max(sums))
            assert result.correct == (result.choice == item.answer)
            num_tokens = len(tokenizer(f"{item.question} {item.choices[item.answer]}").input_ids)
            num_tokens -= len(tokenizer(item.question).input_ids)
            assert result.answer_likelihood.loss == pytest.approx(-sums[item.answer] / num_tokens, abs=1e-4)
