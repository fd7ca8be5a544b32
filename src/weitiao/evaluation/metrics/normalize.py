"""What of an answer counts when it is compared with the expected one."""

from __future__ import annotations

import re
import unicodedata
from typing import Literal

Normalization = Literal["none", "whitespace", "casefold"]

KANA = r"\u3040-\u30ff"
HAN = r"\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
"""Ranges of characters for regular expressions: Japanese syllables, and Chinese characters."""

_ARTICLES = frozenset({"a", "an", "the"})
_SYMBOLS = frozenset("$+<=>^`|~")  # with those that Unicode calls punctuation, the ones of ASCII
_OF_NUMBERS = re.compile(r"(?<=\d)\.(?=\d)|(?<!\w)-(?=\d)")
_SPACE_BESIDE_HAN = re.compile(rf"(?<=[{KANA}{HAN}]) | (?=[{KANA}{HAN}])")


def normalized(text: str, normalization: Normalization) -> str:
    """What of an answer counts in the comparison.

    Args:
        text: An answer.
        normalization: `none` leaves it; `whitespace` strips both ends and brings equivalent Unicode spellings to one
            (NFC: an accented letter as one code point or as two is the same text); `casefold` also ignores case, as
            the caseless match of the Unicode Standard, section 3.13, does.
    """
    if normalization == "none":
        return text
    text = text.strip()
    if normalization == "casefold":
        text = unicodedata.normalize("NFD", text).casefold()
    return unicodedata.normalize("NFC", text)


def plain_words(text: str) -> str:
    """A text reduced to its words: no case, no punctuation, no English articles, single spaces.

    After the evaluation script of SQuAD (P. Rajpurkar et al., https://arxiv.org/abs/1606.05250), in any script:
    full-width and half-width forms are one (Unicode NFKC), punctuation is whatever Unicode calls so, and spaces beside
    Chinese characters and kana do not count. Unlike there, the point and the minus of a number stay, and a text that
    is nothing but articles (the choice `A`) stays too.
    """
    text = unicodedata.normalize("NFKC", text).casefold().replace("\N{MINUS SIGN}", "-")
    of_numbers = {found.start() for found in _OF_NUMBERS.finditer(text)}
    kept = "".join(c for place, c in enumerate(text) if place in of_numbers or not _is_punctuation(c))
    words = kept.split()
    return _SPACE_BESIDE_HAN.sub("", " ".join([word for word in words if word not in _ARTICLES] or words))


def _is_punctuation(character: str) -> bool:
    return character in _SYMBOLS or unicodedata.category(character).startswith("P")
