"""Answers that are empty, cut off, or refusals."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator

from weitiao.quality.findings import Problem
from weitiao.quality.markup import looks_like_code

_LEAST_LATIN, _LEAST_HAN = 200, 60
_LEAST_LAST_LINE = 60
_HAN = re.compile("[\u3400-\u9fff]")
_OPEN_END = re.compile(r"(?:[\w,;:(\[{，；：、（《“‘]|\b(?:and|or|the|of|to|a)\s*)$")
_LIST_ITEM = re.compile(r"^\s*(?:[-*•+|#>]|\d{1,3}[.)、]|[A-Za-z][.)])")
_REFUSAL = re.compile(
    r"\s*(?:(?:i(?:['’]m| am) (?:very |really |truly )?sorry|sorry|apologies|i apologi[sz]e|unfortunately)\b.{0,60}?\b"
    r"(?:i (?:can(?:['’]?t|not)|am (?:not able|unable)|won['’]?t|do not have|don['’]t have)|as an ai)"
    r"|i (?:can(?:['’]?t|not)|won['’]?t|am unable to|am not able to) (?:help|assist|provide|create|write|generate|"
    r"do that|fulfil|comply|engage|support|answer)"
    r"|as an? (?:ai|artificial intelligence|language model|large language model|virtual assistant)\b"
    r"|(?:很|非常)?(?:抱歉|对不起|不好意思).{0,20}?(?:无法|不能|不可以|没有办法|做不到|不支持)"
    r"|(?:我)?(?:无法|不能)(?:回答|提供|协助|帮助|满足|执行|完成)"
    r"|作为(?:一个|一名|一款)?(?:人工智能|AI|语言模型|大型语言模型|机器人))",
    re.IGNORECASE | re.DOTALL,
)
_SEEN_FOR_REFUSAL = 200


def find_empty(answer: str) -> Iterator[Problem]:
    """An answer of characters that nobody sees; white space alone is found when the row is read."""
    if len(answer) < 20 and answer and all(unicodedata.category(char)[0] in "CZ" for char in answer):
        yield Problem("empty_answer", "the answer has only invisible characters", "answer", answer)


def find_truncated(answer: str) -> Iterator[Problem]:
    """A long answer in prose that ends in the middle of a sentence, or within a code block.

    An ending counts as open when a letter, a digit, a comma or an opening bracket stands last in a last line of 60
    characters or more that is no item of a list. Short answers, labels, lists and code often end so and are let alone.
    """
    text = answer.rstrip()
    if len(text) < _LEAST_HAN:
        return
    han = len(_HAN.findall(text[-_LEAST_LATIN:])) * 2 > min(len(text), _LEAST_LATIN)
    if len(text) < (_LEAST_HAN if han else _LEAST_LATIN):
        return
    if text.count("```") % 2:
        yield Problem("truncated", "the answer ends within a code block", "answer", f"…{text[-120:]}")
        return
    if not _OPEN_END.search(text[-8:]):
        return
    line = text[text.rfind("\n") + 1 :]
    if len(line) < _LEAST_LAST_LINE // (2 if han else 1) or _LIST_ITEM.match(line) or looks_like_code(text):
        return
    last_word = line.rsplit(maxsplit=1)[-1]
    # A line without spaces is no sentence; hashtags, addresses and numbers often stand last on purpose.
    if not han and (" " not in line or last_word[0] in '#@*_"' or "/" in last_word or "=" in last_word):
        return
    yield Problem("truncated", "the answer stops in mid-sentence", "answer", f"…{text[-120:]}")


def find_refusal(answer: str) -> Iterator[Problem]:
    """An answer that begins with a refusal, or with the phrases of an assistant that speaks of itself."""
    if _REFUSAL.match(answer[:_SEEN_FOR_REFUSAL]):
        yield Problem("refusal", "the answer refuses, or speaks as an AI", "answer", answer)
