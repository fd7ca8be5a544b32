"""ROUGE-L, BLEU and chrF, against the libraries' own scores of whole sets and against brute force."""

from __future__ import annotations

import random

import numpy as np
import pytest
from rouge_score.rouge_scorer import RougeScorer
from sacrebleu.metrics import BLEU, CHRF

from weitiao.evaluation.metrics.base import Item
from weitiao.evaluation.metrics.overlap import Bleu, Chrf, RougeL

ENGLISH = ["the", "cat", "sat", "on", "a", "mat", "and", "looked", "at", "birds"]
CHINESE = list("今天天气很好我们一起去公园散步吧他说明天会下雨")


def pairs(words: list[str], separator: str, num: int, seed: int) -> list[Item]:
    """References, and answers in which words are missing, changed or added."""
    draw = random.Random(seed)
    items = []
    for _ in range(num):
        reference = [draw.choice(words) for _ in range(draw.randint(3, 14))]
        answer = [draw.choice(words) if draw.random() < 0.25 else word for word in reference if draw.random() < 0.9]
        items.append(Item(separator.join(answer), separator.join(reference)))
    return items


def longest_common_subsequence(one: str, other: str) -> int:
    """By the recursion that defines it, row by row."""
    row = [0] * (len(other) + 1)
    for a in one:
        before = row
        row = [0]
        for place, b in enumerate(other):
            row.append(before[place] + 1 if a == b else max(row[-1], before[place + 1]))
    return row[-1]


def test_rouge_l_of_english_is_that_of_rouge_score() -> None:
    own = RougeScorer(["rougeL"], use_stemmer=False)
    metric = RougeL().build()
    for item in pairs(ENGLISH, " ", 20, 1):
        expected = own.score(item.expected, item.answer)["rougeL"].fmeasure
        assert metric.grade(item) == pytest.approx(expected)


def test_rouge_l_of_chinese_goes_by_characters() -> None:
    metric = RougeL().build()
    for item in pairs(CHINESE, "", 20, 2):
        common = longest_common_subsequence(item.answer, item.expected)
        assert metric.grade(item) == pytest.approx(2 * common / (len(item.answer) + len(item.expected)))


def test_rouge_l_mixes_scripts_and_ignores_case_and_punctuation() -> None:
    metric = RougeL().build()
    assert metric.grade(Item("我喜欢 PYTHON。", "我喜欢Python")) == 1
    assert metric.grade(Item("ÜBER straße", "über STRASSE")) == 1
    assert metric.grade(Item("", "x")) == metric.grade(Item("x", "…")) == 0


@pytest.mark.parametrize(("words", "separator", "tokenize"), [(ENGLISH, " ", "13a"), (CHINESE, "", "zh")])
def test_bleu_of_a_set_is_that_of_sacrebleu(words: list[str], separator: str, tokenize: str) -> None:
    items = pairs(words, separator, 30, 3)
    metric = Bleu().build()
    found = metric.estimate(items, metric.grade_all(items))
    answers, references = [one.answer for one in items], [[one.expected for one in items]]
    assert found.value == pytest.approx(BLEU(tokenize=tokenize).corpus_score(answers, references).score / 100)
    assert 0 < found.low < found.value < found.high < 1
    assert metric.details(items) == {"tokenize": [tokenize]}
    for item in items:
        expected = BLEU(tokenize=tokenize, effective_order=True).sentence_score(item.answer, [item.expected]).score
        assert metric.grade(item) == pytest.approx(expected / 100)


def test_bleu_smooths_orders_without_a_match_as_sacrebleu_does() -> None:
    metric = Bleu().build()
    for answers in (["the cat is here now"], ["a b c d e"], ["cat"], [""], ["the cat sat on the mat today"] * 2):
        items = [Item(answer, "the cat sat on the mat") for answer in answers]
        expected = BLEU().corpus_score(answers, [["the cat sat on the mat"] * len(answers)]).score / 100
        assert metric.estimate(items, []).value == pytest.approx(expected)


def test_tokenizer_of_bleu_follows_the_reference() -> None:
    metric = Bleu().build()
    items = [Item("a", "plain words"), Item("a", "中文"), Item("a", "これは本です")]
    assert metric.details(items)["tokenize"] == ["13a", "char", "zh"]


@pytest.mark.parametrize(("words", "separator"), [(ENGLISH, " "), (CHINESE, "")])
def test_chrf_of_a_set_is_that_of_sacrebleu(words: list[str], separator: str) -> None:
    items = [*pairs(words, separator, 30, 4), Item("", words[0]), Item("long answers count", words[1][0])]
    metric = Chrf().build()
    grades = metric.grade_all(items)
    found = metric.estimate(items, grades)
    answers, references = [one.answer for one in items], [[one.expected for one in items]]
    assert found.value == pytest.approx(CHRF().corpus_score(answers, references).score / 100)
    assert found.low < found.value < found.high
    for item, grade in zip(items, grades, strict=True):
        assert grade == pytest.approx(CHRF().sentence_score(item.answer, [item.expected]).score / 100)


def test_interval_of_bleu_is_that_of_resampled_sets() -> None:
    """The sets are scored by sacrebleu itself, without the sums that the interval is made from."""
    items = pairs(ENGLISH, " ", 40, 5)
    draw = np.random.default_rng(6)
    scores = []
    for _ in range(400):
        chosen = [items[k] for k in draw.integers(len(items), size=len(items))]
        answers, references = [one.answer for one in chosen], [one.expected for one in chosen]
        scores.append(BLEU().corpus_score(answers, [references]).score / 100)
    low, high = np.quantile(scores, (0.025, 0.975))
    found = Bleu().build().estimate(items, [])
    assert (found.low, found.high) == pytest.approx((low, high), abs=0.035)
