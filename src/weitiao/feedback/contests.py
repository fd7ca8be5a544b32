"""Which of two models answers better, as each judge sees it, and how many more judgements would decide that."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from weitiao.evaluation.statistics import SignTest, sign_test
from weitiao.feedback.items import Choice
from weitiao.feedback.preference import more_needed
from weitiao.feedback.sitting import is_person
from weitiao.feedback.store import FeedbackStore


@dataclass(frozen=True, slots=True)
class Contest:
    """Two models before one judge.

    Attributes:
        judge: Who judged.
        models: The two, by name.
        wins: How often each won, in their order.
        ties: Pairs on which neither is better.
        bad: Pairs on which neither is good.
        test: Of the second against the first; None where neither won a pair.
        more_needed: About how many more judgements would decide; 0 where they did, None where there seems to be no
            preference.
    """

    judge: str
    models: tuple[str, str]
    wins: tuple[int, int]
    ties: int
    bad: int
    test: SignTest | None
    more_needed: int | None


def contests(store: FeedbackStore, choices: Mapping[str, Mapping[str, Choice]]) -> tuple[Contest, ...]:
    """All contests in a store; corrections that people wrote are answers of nobody who could win one.

    Args:
        store: Pairs with what made their answers.
        choices: What each judge chose, by pair.
    """
    models = {
        item.item_id: (a.model, b.model)
        for item, a, b in store.pairs()
        if a.model != b.model and not (is_person(a.model) or is_person(b.model))
    }
    counts: dict[tuple[str, tuple[str, str]], Counter[str]] = {}
    for judge, found in choices.items():
        for pair, choice in found.items():
            if pair in models:
                one, other = models[pair]
                two = (one, other) if (judge, (other, one)) not in counts else (other, one)
                winner = {"a": one, "b": other}.get(choice, f"\0{choice}")
                counts.setdefault((judge, two), Counter())[winner] += 1
    return tuple(_contest(judge, two, found) for (judge, two), found in counts.items())


def _contest(judge: str, models: tuple[str, str], counts: Counter[str]) -> Contest:
    wins = (counts[models[0]], counts[models[1]])
    ties, bad = counts["\0tie"], counts["\0bad"]
    test = sign_test(wins[1], wins[0], ties + bad) if sum(wins) else None
    return Contest(judge, models, wins, ties, bad, test, None if test is None else more_needed(test))
