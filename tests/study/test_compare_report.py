"""What a person is told about preferences."""

from __future__ import annotations

import io
from dataclasses import replace

import pytest
from rich.console import Console

from weitiao.evaluation.statistics import proportion, sign_test
from weitiao.feedback.preference import Preference, Preferences, agreement
from weitiao.terminal.comparison import conclusion, print_preferences

OPEN = Preference(
    judge="human:ann",
    test=sign_test(12, 6, 4),
    num_items=60,
    num_same=3,
    num_judged=22,
    num_ties=4,
    num_disagreements=0,
    num_unparsable=0,
    first_share=proportion(10, 18),
    more_needed=30,
)


@pytest.mark.parametrize(
    ("one", "words"),
    [
        (OPEN, "about 30 more judgements would show it."),
        (replace(OPEN, more_needed=39), "too few pairs left (38): use more rows"),
        (replace(OPEN, test=sign_test(9, 9, 4), more_needed=None), "No preference is to be seen"),
        (replace(OPEN, test=sign_test(18, 2, 2), more_needed=0), "tuned is preferred (p = 0.0004)."),
        (replace(OPEN, test=sign_test(2, 18, 2), more_needed=0), "base is preferred (p = 0.0004)."),
        (replace(OPEN, test=None, num_ties=22), "Nobody won a judgement"),
        (replace(OPEN, test=None, num_ties=22, num_disagreements=20), "chose by place, not by answer"),
    ],
)
def test_one_sentence_says_what_follows(one: Preference, words: str) -> None:
    assert words in conclusion(one, ("base", "tuned"))


def test_every_judge_and_every_agreement_is_shown() -> None:
    other = replace(OPEN, judge="model[1]@abc/en", num_unparsable=2, num_disagreements=3)
    pair = agreement((OPEN.judge, other.judge), {"1": "a", "2": "b", "3": "b"}, {"1": "a", "2": "b", "3": "a"})
    same = agreement(("x", "y"), {"1": "a"}, {"1": "a"})
    assert pair is not None
    assert same is not None
    stream = io.StringIO()
    print_preferences(
        Preferences((OPEN, other), (pair, same)), ("base", "tuned"), Console(file=stream, width=200, color_system=None)
    )
    text = stream.getvalue()
    for words in (
        "Judged by human:ann",
        "Judged by model[1]@abc/en",
        "66.7% (95 % interval",
        "12 against 6",
        "22 of 60 pairs",
        "3 pairs, not judged",
        "2 replies named neither answer",
        "3 of them because the two orders disagreed",
        "50% is fair",
        "Cohen's kappa 0.40",
        "not defined: both always said the same",
    ):
        assert words in text
