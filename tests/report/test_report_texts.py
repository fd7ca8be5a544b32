"""The catalogues of texts: both languages are complete, and name whatever the program can find."""

from __future__ import annotations

import re
import string

import pytest

from weitiao.evaluation.gap.errors import REMEDIES
from weitiao.quality.settings import KINDS, SEVERITIES
from weitiao.quality.sources import PARTS
from weitiao.report.render import SECTIONS
from weitiao.retention.comparison import OVERALL
from weitiao.study.pipeline.steps import STEPS
from weitiao.text.wording import Wording, table_of
from weitiao.verdict.verdict import EXIT_CODES

NO_BREAK = "\N{NO-BREAK SPACE}"
HAN = re.compile(r"[一-鿿]")


def fields(text: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(text) if name}


def test_both_languages_have_the_same_texts_with_the_same_values() -> None:
    english, chinese = table_of("en"), table_of("zh")
    of_settings = ("setting.", "section.", "about.")  # their English is in docstrings, see tests/recipe
    of_commands = (
        "command",
        "option.",
        "panel.",
        "help.",
        "closing.",
        "phrase.",
        "form.",
    )  # and theirs in code, see tests/cli
    assert list(english) == [key for key in chinese if not key.startswith((*of_settings, *of_commands))]
    for key, text in english.items():
        assert fields(text) == fields(chinese[key]), key


def test_whatever_the_program_can_find_has_a_name_in_both_languages() -> None:
    keys = set(table_of("zh"))
    assert {f"finding.{kind}" for kind in KINDS} | {f"finding.{kind}.remedy" for kind in KINDS} <= keys
    assert {f"severity.{one}" for one in SEVERITIES} <= keys
    assert {f"part.{part}" for part in PARTS if part != "against"} <= keys
    assert {f"error.{kind}" for kind in REMEDIES} | {f"error.{kind}.advice" for kind in REMEDIES} <= keys
    assert {f"remedy.{one}" for remedies in REMEDIES.values() for one in remedies} <= keys
    assert {f"verdict.{decision}" for decision in EXIT_CODES} <= keys
    assert {f"retention.{name}" for name in OVERALL.values()} <= keys
    assert {f"step.{step.name}" for step in STEPS} <= keys
    assert {f"{name}.title" for name in SECTIONS} <= keys


def test_chinese_is_chinese() -> None:
    names = {
        "page.lang",
        "unit.nats",
        "reason.unit.nats",
        "metric.rouge_l",
        "metric.bleu",
        "metric.chrf",
        "reproduce.gpu",
        "group.column",
        "examples.count",
    }
    by_english = ("phrase.", "form.")  # see tests/cli
    texts = {key: text for key, text in table_of("zh").items() if not key.startswith(by_english) and key not in names}
    without = {key for key, text in texts.items() if not HAN.search(text)}
    assert without <= {
        "interval",
        "list.comma",
        "list.sentence",
        "reason.part",
        "done.eval",
        "progress.comma",
        "progress.source",
        "progress.part",
        "lines.ended",
        "scores.prompted",
        "reason.unit.share",
    }
    assert not [key for key, text in table_of("en").items() if HAN.search(text)]


@pytest.mark.parametrize(
    ("seconds", "english", "chinese"),
    [
        (0.42, "0.4 s", "0.4 秒"),
        (9.97, "10 s", "10 秒"),
        (200, "3 min 20 s", "3 分 20 秒"),
        (7500, "2 h 5 min", "2 小时 5 分"),
    ],
)
def test_times(seconds: float, english: str, chinese: str) -> None:
    found = [Wording(language).duration(seconds) for language in ("en", "zh")]
    assert [text.replace(NO_BREAK, " ") for text in found] == [english, chinese]


def test_numbers_keep_their_sign_and_zero_has_none() -> None:
    words = Wording("en")
    found = [
        *(words.points(value) for value in (0.125, -0.04, 0.0, -0.0001)), words.nats(1.5),
        words.nats(-0.02, with_sign=True),
        words.p_value(0.0004), words.p_value(0.0312), words.size(3.2e9), words.size(5e8),
    ]  # fmt: skip
    assert [text.replace(NO_BREAK, " ") for text in found] == [
        "+12.5 points", "−4.0 points", "0.0 points", "0.0 points", "1.500 nats",
        "−0.020 nats", "p < 0.001", "p = 0.031", "3.0 GiB", "477 MiB",
    ]  # fmt: skip
    assert not any(" " in text for text in found)  # a number is not torn from its unit
