"""Metrics that compare texts and numbers."""

from __future__ import annotations

import unicodedata

import pytest

from weitiao.errors import DataError
from weitiao.evaluation.metrics.base import Item, Metric, normalized, plain_words
from weitiao.evaluation.metrics.matching import Contains, NormalizedMatch, Regex
from weitiao.evaluation.metrics.number import Number


def grade(metric: Metric, answer: str, expected: str) -> float:
    return metric.grade(Item(answer, expected, row_id="test.jsonl:3"))


# -- exact match ------------------------------------------------------------------------------------------------------


def test_none_compares_every_character() -> None:
    assert normalized(" Yes\n", "none") == " Yes\n"


def test_whitespace_strips_both_ends_only() -> None:
    assert normalized("\u3000 a  b\n", "whitespace") == "a  b"
    assert normalized("A", "whitespace") != normalized("a", "whitespace")


def test_an_accent_may_be_encoded_in_two_ways() -> None:
    composed, decomposed = "caf\u00e9", unicodedata.normalize("NFD", "caf\u00e9")
    assert composed != decomposed
    assert normalized(composed, "whitespace") == normalized(decomposed, "whitespace")
    assert normalized(composed, "none") != normalized(decomposed, "none")


@pytest.mark.parametrize(("one", "other"), [("STRASSE", "straße"), ("Σίσυφος", "ΣΊΣΥΦΟΣ"), ("É", "e\u0301")])
def test_casefold_ignores_case_in_any_script(one: str, other: str) -> None:
    assert normalized(one, "casefold") == normalized(other, "casefold")


def test_full_width_characters_stay_different() -> None:
    assert normalized("１２", "casefold") != normalized("12", "casefold")


# -- normalised match and contains ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("The Eiffel  Tower.", "eiffel tower"),
        ("１２，ＡＢＣ！", "12abc"),
        ("北京，是中国的首都。", "北京是中国的首都"),
        ("北京 大学", "北京大学"),
        ("「你好」", "你好"),
        ("card_arrival", "Card arrival".replace(" ", "_")),
        ("1,000", "1000"),
        ("an apple", "Apple"),
        ("\N{MINUS SIGN}5", "-5"),
    ],
)
def test_normalised_match_looks_at_the_words(one: str, other: str) -> None:
    assert grade(NormalizedMatch().build(), one, other) == 1


@pytest.mark.parametrize(
    ("one", "other"),
    [("3.14", "314"), ("-5", "5"), ("A", ""), ("A", "The"), ("是", "不是"), ("x y", "y x"), ("😀", "😂")],
)
def test_normalised_match_tells_what_differs(one: str, other: str) -> None:
    assert grade(NormalizedMatch().build(), one, other) == 0


def test_words_of_a_text() -> None:
    assert plain_words("The “Café”, at 3.50$ -- don't!") == "café at 3.50 dont"


@pytest.mark.parametrize(
    ("answer", "expected", "right"),
    [
        ("The intent is card_arrival.", "card_arrival", True),
        ("I would say: Paris, of course", "paris", True),
        ("答案是北京大学。", "北京", True),
        ("15", "5", False),
        ("-5", "5", False),
        ("4.5", "4", False),
        ("It is 4.", "4", True),
        ("cards", "card", False),
        ("discard, then card", "card", True),
        ("", "x", False),
        ("a: ?!", "?!", True),
    ],
)
def test_contains_finds_whole_words(answer: str, expected: str, right: bool) -> None:
    assert grade(Contains().build(), answer, expected) == right


# -- regex ------------------------------------------------------------------------------------------------------------


def test_regex_compares_the_group_with_the_expected_answer() -> None:
    metric = Regex(type="regex", pattern=r"Answer: (\w+)").build()
    assert grade(metric, "So.\nAnswer: B", "B") == 1
    assert grade(metric, "Answer: C, no. Answer: B", "B") == 0
    assert grade(metric, "B", "B") == 0
    assert grade(metric, "Answer: B", "Because. Answer: B") == 1
    last = Regex(type="regex", pattern=r"Answer: (\w+)", take="last").build()
    assert grade(last, "Answer: C, no. Answer: B", "B") == 1


def test_regex_without_comparison_checks_the_form() -> None:
    metric = Regex(type="regex", pattern=r"\d{4}-\d{2}-\d{2}", compare=False).build()
    assert (grade(metric, "on 2024-05-01", "no date"), grade(metric, "in May", "2024-05-01")) == (1, 0)
    items = [Item("in May", ""), Item("2024-05-01", "")]
    assert metric.details(items) == {"num_without_match": 1}


# -- number -----------------------------------------------------------------------------------------------------------

POINT = Number().build()


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("She makes 9 * 2 = <<9*2=18>>18 every day.\n#### 18", 18),
        ("#### 1,450,000", 1_450_000),
        ("#### $-3.50 and then 7", -3.5),
        ("#### 72\n\nQuestion: what is 3 + 4? #### 7", 72),
        ("#### Step 2\nSo the answer is 12", 12),
        ("The answer is 5.", 5),
        ("10-3=7", 7),
        ("between 5-10", 10),
        ("(4)-3", 3),
        ("it fell by -12.5 degrees", -12.5),
        ("\N{MINUS SIGN}8", -8),
        ("x = +6", 6),
        ("-$1,234.56", -1234.56),
        ("¥ 99", 99),
        ("约１２３元", 123),
        ("答案是72", 72),
        ("价格：￥1,200。", 1200),
        ("3/4 of it", 0.75),
        ("-1 1/2", -1.5),
        ("2½ cups", 2.5),
        ("\\boxed{\\frac{3}{4}}", 0.75),
        ("$1\\frac{1}{2}$", 1.5),
        ("1{,}000", 1000),
        ("25%", 25),
        ("6.02e23", 6.02e23),
        ("1.5E-3", 0.0015),
        (".5", 0.5),
        ("1,2,3", 3),
        ("12kg", 12),
        ("1/0", 1),
        ("٣", 3),
    ],
)
def test_the_number_of_a_text(text: str, value: float) -> None:
    assert POINT.extract(text) == pytest.approx(value)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("The result is \\boxed{18}, i.e. 9 pairs of 2.", 18),
        ("\\boxed{x = \\frac{3}{4}}, and \\boxed{5}; 6 steps", 5),
        ("#### \\boxed{7} after 3 steps", 7),
        ("Final answer: 12 (see step 3)", 12),
        ("The answer is 7. Let me check step 1.", 7),
        ("The answer is 5. No, the answer is 6, as 2 * 3 = 6 in 1 step", 6),
        ("The answer is 5 * 3 = 15 apples for 2", 15),
        ("**Answer:**\n\n1,250 in 3 steps.", 1250),
        ("答案是3/4。共2步", 0.75),
        ("The answer is 18, and that answer is right", 18),
        ("about 3-4 days", 4),
        ("The answer is 3\N{EN DASH}4 days of 7", 4),
        ("18 dollars.\n\nQ: next 5", 18),
        ("It is 3.\n问题 2：5 加 6", 3),
        ("1 000", 1000),
        ("1\N{NARROW NO-BREAK SPACE}234\N{NARROW NO-BREAK SPACE}567 km", 1234567),
        ("in 2023 500 people", 500),
        ("12,5", 12.5),
        ("0,125", 0.125),
        ("1\\,000", 1000),
        ("x = \N{EN DASH}3", -3),
        ("７％", 7),
        ("4th", 4),
    ],
)
def test_the_number_that_a_text_marks_or_ends_in(text: str, value: float) -> None:
    assert POINT.extract(text) == value


@pytest.mark.parametrize(
    "text",
    ["", "no number", "card2 x_3", "version v2", "CO2", "1.2.3", "at 10:30", "born 3/4/2020", "2024-05-01", "1e12345"],
)
def test_a_text_without_a_number(text: str) -> None:
    assert POINT.extract(text) is None


def test_a_decimal_comma() -> None:
    metric = Number(decimal_comma=True).build()
    assert grade(metric, "Das sind 1.234,5 Euro.", "1234,50") == 1
    assert grade(metric, "1,234.5", "1234,5") == 0


def test_numbers_are_compared_by_value_within_the_tolerance() -> None:
    exact, near = Number().build(), Number(tolerance=0.01).build()
    assert grade(exact, "0.5", "1/2") == grade(exact, "1e3", "1,000.00") == 1
    assert (grade(exact, "3.14", "3.15"), grade(near, "3.14", "3.15"), grade(near, "3.13", "3.15")) == (0, 1, 0)
    assert grade(exact, "1e999", "5") == grade(exact, "nothing", "0") == 0


def test_numbers_are_exact_whatever_their_length() -> None:
    exact, near = Number().build(), Number(tolerance=1).build()
    assert grade(exact, "12345678902", "12345678901") == 0
    assert (grade(near, "12345678902", "12345678901"), grade(near, "12345678903", "12345678901")) == (1, 0)
    assert grade(exact, "0.1 + 0.2 is 0.30000000000000004", "0.3") == 0
    assert grade(exact, "0.30", "3/10") == grade(exact, "33.3e-1", "3.33") == 1
    long = "9" * 5_000
    assert grade(exact, long, long) == 1
    assert grade(exact, long[:-1] + "8", long) == grade(near, long + "9", long) == grade(exact, "1e999", "1e998") == 0


def test_an_expected_answer_without_a_number_is_named() -> None:
    with pytest.raises(DataError, match=r"test\.jsonl:3: .*no number"):
        Number().build().check(Item("", "none", row_id="test.jsonl:3"))
