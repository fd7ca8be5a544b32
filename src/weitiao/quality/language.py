"""The language of a text: by script first, which needs no model and no length, then by a language identifier.

The identifier is py3langid (a fork of langid.py by Adrien Barbaresi, after M. Lui and T. Baldwin, "langid.py: An
Off-the-shelf Language Identification Tool", ACL 2012): see docs/cleaning.md for why this one. It is asked only about
texts of one script (Latin, Cyrillic, ...) that are long enough for its answer to mean something.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import NamedTuple

from weitiao.quality.findings import Found
from weitiao.quality.markup import looks_like_code, prose
from weitiao.quality.settings import Severity

_NOT_WORDS = re.compile(r"https?://\S+|www\.\S+|\S+@\S+|\$[^$\n]{1,300}\$|\\\w+|<[^<>\n]{1,200}>")
_NOT_LATIN = re.compile("[\u0370-\u1cff\u2e80-\uffef]")
_HAN = re.compile("[\u3400-\u9fff\uf900-\ufaff]")
_KANA = re.compile("[\u3040-\u30ff]")
_HANGUL = re.compile("[\uac00-\ud7a3]")
_THAI = re.compile("[\u0e00-\u0e7f]")
_LATIN = re.compile(r"[A-Za-z\u00c0-\u024f\u1e00-\u1eff]{2,}")
_OTHERS = {
    "Cyrillic": re.compile("[\u0400-\u04ff]{2,}"),
    "Greek": re.compile("[\u0370-\u03ff]{2,}"),
    "Hebrew": re.compile("[\u0590-\u05ff]{2,}"),
    "Arabic": re.compile("[\u0600-\u06ff]{2,}"),
    "Devanagari": re.compile("[\u0900-\u097f]{2,}"),
}
_NO_LANGUAGE = "zxx"  # ISO 639-2: no linguistic content
_SCRIPT_LANGUAGES = {
    "Han": "zh",
    "Japanese": "ja",
    "Hangul": "ko",
    "Thai": "th",
    "Greek": "el",
    "Hebrew": "he",
    "Devanagari": "hi",
}
_LANGUAGE_NAMES = {"Han": "Chinese", "Latin": "Latin letters", "Hangul": "Korean"}
_ASKS_FOR_A_LANGUAGE = re.compile(
    r"translat|翻译|翻譯|译成|译为|互译|pinyin|拼音|[英中法德日韩俄汉漢]文|[英法德日韩俄汉漢]语|西班牙|葡萄牙|阿拉伯|外语|双语|"
    r"\b(?:english|chinese|mandarin|cantonese|french|spanish|german|italian|japanese|korean|russian|latin|portuguese|"
    r"arabic|hindi|greek|turkish|vietnamese|thai|dutch|polish|swedish|hebrew|indonesian|ukrainian)\b|language",
    re.IGNORECASE,
)
_ENGLISH = frozenset((
    "the", "of", "and", "to", "that", "with", "this", "are", "was", "you", "for", "have", "it", "its", "from", "be",
    "not",
))  # fmt: skip
_QUOTED_WORD = re.compile(r"[A-Za-z]*[a-z]{3,}")

_LEAST_ANSWER = 5
_LEAST_QUESTION = 2
_LEAST_FOR_IDENTIFIER = 20
_LEAST_TO_COUNT = 4
_LEAST_CONFIDENCE = 0.99
_SEEN_CHARACTERS = 600
_SEEN_BY_IDENTIFIER = 250
_ENGLISH_SHARE = 0.12
_HAN_PER_WORD = 1.5


class Script(NamedTuple):
    """The script that most of a text is written in.

    Attributes:
        name: `Han`, `Japanese`, `Latin`, ...; empty for a text without words.
        words: How many words of it there are; Chinese characters count as two thirds of a word.
        share: Their share of all words.
    """

    name: str
    words: float
    share: float


Identifier = Callable[[str], tuple[str, float]]
"""Anything that names the language of a text: its ISO 639-1 code and the probability."""


def script_of(text: str) -> Script:
    """Counts the words of each script in the prose of a text; code, addresses and formulas do not count."""
    text = prose(text[: 4 * _SEEN_CHARACTERS])
    if any(mark in text for mark in "\\$<@") or "http" in text or "www." in text:
        text = _NOT_WORDS.sub(" ", text)
    latin = len(_LATIN.findall(text))
    if text.isascii() or not _NOT_LATIN.search(text):
        return Script("Latin" if latin else "", latin, 1.0 if latin else 0.0)
    han, kana = len(_HAN.findall(text)), len(_KANA.findall(text))
    counts: dict[str, float] = {"Latin": latin, "Hangul": len(_HANGUL.findall(text)) / 2}
    counts["Japanese" if kana * 10 > han + kana else "Han"] = (han + kana) / _HAN_PER_WORD
    counts["Thai"] = len(_THAI.findall(text)) / 5
    counts |= {name: len(pattern.findall(text)) for name, pattern in _OTHERS.items()}
    name = max(counts, key=lambda script: counts[script])
    total = sum(counts.values())
    return Script(name, counts[name], counts[name] / total) if total else Script("", 0.0, 0.0)


def language_of(text: str, identifier: Identifier | None) -> str:
    """The language of a text as ISO 639-1 code; of its script where it has fewer than four words; empty without any.

    Good for counting over many rows; a single short text may be taken for another language.
    """
    script = script_of(text)
    if script.name in _SCRIPT_LANGUAGES:
        return _SCRIPT_LANGUAGES[script.name]
    if identifier is None or script.words < _LEAST_TO_COUNT:
        return script.name
    code = _identified(text, identifier)[0]
    return "" if code == _NO_LANGUAGE else code


def _identified(text: str, identifier: Identifier) -> tuple[str, float]:
    """Language and probability; plain English is told by its commonest words, which is twenty times as fast."""
    plain = _NOT_WORDS.sub(" ", prose(text[: 2 * _SEEN_CHARACTERS]))[:_SEEN_BY_IDENTIFIER]
    words = plain.lower().split()
    common = [word for word in words if word in _ENGLISH]
    if len(common) >= _ENGLISH_SHARE * len(words) and len(set(common)) >= 3:
        return "en", 1.0
    return identifier(plain)


@lru_cache(maxsize=1)
def load_identifier() -> Identifier:
    """The language identifier, loaded once.

    Raises:
        ImportError: It is not installed.
    """
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    model = LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)

    def identify(text: str) -> tuple[str, float]:
        language, probability = model.classify(text)
        return str(language), float(probability)

    return identify


def find_other_language(question: str, answer: str, identifier: Identifier | None) -> Iterator[Found]:
    """An answer in another language than its question, unless the question asks for that.

    Answers of fewer than five words, code, data and numbers say nothing about a language.

    Args:
        question: What the row asks, all turns of it.
        answer: The answer.
        identifier: Tells languages of one script apart; None compares scripts only.
    """
    given = script_of(answer)
    if given.words < _LEAST_ANSWER or given.share < 0.9:
        return
    asked = script_of(question)
    if asked.words < _LEAST_QUESTION or asked.share < 0.6:
        return
    if asked.name != given.name:
        if _ASKS_FOR_A_LANGUAGE.search(question) or looks_like_code(answer):
            return
        names = [_LANGUAGE_NAMES.get(name, name) for name in (asked.name, given.name)]
        reason = f"the question is in {names[0]}, the answer in {names[1]}"
        severity: Severity | None = None
        if given.name == "Latin" and _QUOTED_WORD.search(question):
            reason += "; the question names words in Latin letters, so this may be meant"
            severity = "info"
        yield Found(reason, severity=severity)
    elif identifier is not None and min(asked.words, given.words) >= _LEAST_FOR_IDENTIFIER:
        if asked.name in _SCRIPT_LANGUAGES or asked.share < 0.9:
            return
        language, sure = _identified(answer, identifier)
        if sure < _LEAST_CONFIDENCE:
            return
        other, also_sure = _identified(question, identifier)
        if language != other and also_sure >= _LEAST_CONFIDENCE and not _ASKS_FOR_A_LANGUAGE.search(question):
            yield Found(f"the question is in `{other}`, the answer in `{language}`")
