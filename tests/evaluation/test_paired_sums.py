"""Differences of scores of a whole set (macro-F1, BLEU, chrF) on the same items, against brute force and sacrebleu."""

from __future__ import annotations

import itertools
import random
from collections.abc import Sequence

import numpy as np
import pytest
from sacrebleu.metrics.bleu import BLEU
from sacrebleu.metrics.chrf import CHRF

from weitiao.evaluation.metrics.base import Item
from weitiao.evaluation.metrics.labels import Accuracy, MacroF1
from weitiao.evaluation.metrics.overlap import Bleu, Chrf
from weitiao.evaluation.paired import paired_difference, paired_difference_of_sums
from weitiao.evaluation.statistics import Floats

LABELS = ("red", "green", "blue")
WORDS = ("the", "old", "house", "by", "a", "river", "was", "sold", "again", "in", "May")


def macro_f1(pairs: Sequence[tuple[str, str]]) -> float:
    """The mean of F1 over the labels that are expected, counted plainly."""
    scores = []
    for label in {expected for expected, _ in pairs}:
        right = sum(expected == answer == label for expected, answer in pairs)
        either = sum(expected == label for expected, _ in pairs) + sum(answer == label for _, answer in pairs)
        scores.append(2 * right / either)
    return sum(scores) / len(scores)


def labelled(num: int, share_right: float, seed: int) -> list[Item]:
    draw = random.Random(seed)
    items = []
    for row in range(num):
        expected = LABELS[row % 3 if row % 4 else 0]
        items.append(Item(expected if draw.random() < share_right else draw.choice([*LABELS, "pink"]), expected))
    return items


def pairs_of(items: Sequence[Item]) -> list[tuple[str, str]]:
    return [(item.expected, item.answer) for item in items]


def mean_of_sums(sums_BK: Floats) -> Floats:
    return sums_BK[:, 0] / sums_BK[:, 1]


def test_for_a_mean_it_is_the_paired_difference_of_the_grades() -> None:
    draw = np.random.default_rng(0)
    before, after = draw.random(60), draw.random(60)
    plain = paired_difference(before, after)
    ones = np.ones(60)
    found = paired_difference_of_sums(
        np.stack([before, ones], axis=1), np.stack([after, ones], axis=1), mean_of_sums, grades=(before, after)
    )  # fmt: skip
    assert (found.before, found.after) == pytest.approx((plain.before, plain.after))
    assert found.difference.value == pytest.approx(plain.difference.value)
    assert (found.difference.low, found.difference.high) == pytest.approx((plain.difference.low, plain.difference.high))
    assert found.p_value == pytest.approx(plain.p_value, abs=1e-9)
    assert (found.num_better, found.num_worse) == (plain.num_better, plain.num_worse)


def test_macro_f1_differs_by_what_plain_counting_gives_and_swaps_are_all_tried() -> None:
    before = labelled(24, 0.4, seed=1)
    after = [*labelled(24, 0.9, seed=2)[:16], *before[16:]]
    metric = MacroF1().build(labels=LABELS)
    grades = metric.grade_all(before), metric.grade_all(after)
    found = metric.difference((before, after), grades)
    value = macro_f1(pairs_of(after)) - macro_f1(pairs_of(before))
    assert found.difference.value == pytest.approx(value)
    assert found.before == pytest.approx(metric.estimate(before, grades[0]).value)
    assert found.difference.low < value < found.difference.high
    differing = [place for place in range(24) if before[place].answer != after[place].answer]
    assert 8 <= len(differing) <= 13
    extreme = 0
    for swaps in itertools.product((False, True), repeat=len(differing)):
        swapped = {place for place, swap in zip(differing, swaps, strict=True) if swap}
        one = [after[place] if place in swapped else before[place] for place in range(24)]
        other = [before[place] if place in swapped else after[place] for place in range(24)]
        extreme += abs(macro_f1(pairs_of(other)) - macro_f1(pairs_of(one))) >= abs(value) - 1e-9
    assert found.p_value == pytest.approx(extreme / 2 ** len(differing))
    accuracy = Accuracy().build(labels=LABELS).difference((before, after), grades)
    assert accuracy.test == "McNemar's exact test"
    assert accuracy.difference.value != pytest.approx(value, abs=1e-3)


@pytest.mark.parametrize("name", ["bleu", "chrf"])
def test_overlap_differs_by_what_sacrebleu_gives_for_the_two_sets(name: str) -> None:
    draw = random.Random(3)

    def answers(share_kept: float) -> list[Item]:
        items = []
        for row in range(40):
            words = [WORDS[(row * k) % len(WORDS)] for k in range(1, 9)]
            kept = [word if draw.random() < share_kept else draw.choice(WORDS) for word in words]
            items.append(Item(" ".join(kept), " ".join(words)))
        return items

    before, after = answers(0.6), answers(0.8)
    metric = (Bleu() if name == "bleu" else Chrf()).build()
    scorer = BLEU(tokenize="13a") if name == "bleu" else CHRF()
    expected = [
        scorer.corpus_score([item.answer for item in items], [[item.expected for item in items]]).score / 100
        for items in (before, after)
    ]
    found = metric.difference((before, after), (metric.grade_all(before), metric.grade_all(after)))
    assert (found.before, found.after) == pytest.approx(expected, abs=1e-6)
    assert found.difference.value == pytest.approx(expected[1] - expected[0], abs=1e-6)
    assert 0 < found.difference.low < found.difference.value < found.difference.high
    assert found.p_value < 0.01


def test_the_interval_of_a_difference_of_macro_f1_covers_the_truth() -> None:
    """A tells labels rightly in 6 of 10 cases, B in 7; the truth is that of very many rows."""

    def items(num: int, seed: int) -> tuple[Floats, Floats]:
        draw = np.random.default_rng(seed)
        expected = draw.integers(3, size=num)
        sides = []
        for right in (0.6, 0.7):
            answer = np.where(draw.random(num) < right, expected, draw.integers(3, size=num))
            answered = np.eye(3)[answer]
            sides.append(np.hstack([np.eye(3)[expected], answered, np.eye(3)[expected] * answered]))
        return sides[0], sides[1]

    def score(sums_BK: Floats) -> Floats:
        support, answered, right = np.split(sums_BK, 3, axis=1)
        mean: Floats = (2 * right / np.maximum(support + answered, 1)).mean(1)
        return mean

    before, after = items(400_000, seed=0)
    truth = float((score(after.sum(0)[None]) - score(before.sum(0)[None]))[0])
    hits = 0
    for seed in range(1, 201):
        before, after = items(120, seed)
        nothing = (np.zeros(120), np.zeros(120))
        found = paired_difference_of_sums(before, after, score, grades=nothing, seed=seed).difference
        hits += found.low <= truth <= found.high
    assert 180 <= hits <= 199  # 190 expected; six standard deviations are 19
