"""Whether an answer does what the prompt asked for, where a program can see it.

A prompt of the suite carries its constraints as `{name: settings}`; the names are those of `CHECKERS`.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from typing import Any

_HAN = re.compile(r"[\u3400-\u4dbf\u4e00-\u9fff]")
_WORD = re.compile(r"[^\W_]+(?:['’.,-][^\W_]+)*")
_SENTENCE_END = re.compile(r"(?:[.!?]+[\"'”’)\]]*(?=\s|$)|[。！？…]+[”’」』）]*)")
_BULLET = re.compile(r"^\s*[-*•]\s+\S", re.MULTILINE)
_NUMBERED = re.compile(r"^\s*\d+[.)、．]\s*\S", re.MULTILINE)
_NUMBER = re.compile(r"-?\d[\d,]*(?:\.\d+)?")
_FENCE = re.compile(r"^```\w*\n(.*?)\n?```$", re.DOTALL)
_LANGUAGE_SHARE = 0.5


def follows(answer: str, constraints: Mapping[str, Mapping[str, Any]]) -> bool:
    """Whether an answer meets all constraints. An empty one never does.

    Args:
        answer: What the model wrote; space at both ends does not count.
        constraints: Names of `CHECKERS` with their settings.
    """
    text = answer.strip()
    return bool(text) and all(CHECKERS[name](text, **settings) for name, settings in constraints.items())


_COUNTED: dict[str, Callable[[str], int]] = {
    "words": lambda text: len(_WORD.findall(text)),  # of languages that separate them by space
    "han_characters": lambda text: len(_HAN.findall(text)),  # without punctuation
    "sentences": lambda text: sum(bool(_WORD.search(part)) for part in _SENTENCE_END.split(text)),
    "paragraphs": lambda text: sum(bool(part.strip()) for part in re.split(r"\n\s*\n", text)),
    "bullets": lambda text: len(_BULLET.findall(text)),  # lines that begin with one
    "numbered": lambda text: len(_NUMBERED.findall(text)),  # lines that begin with a number and a full stop
}
"""What is counted, and has to be within bounds."""


def _within(count: Callable[[str], int]) -> Callable[..., bool]:
    def check(text: str, *, least: int = 0, most: int | None = None) -> bool:
        number = count(text)
        return number >= least and (most is None or number <= most)

    return check


def includes(text: str, *, texts: Sequence[str], times: int = 1) -> bool:
    """Whether each of the texts occurs so many times, in any case."""
    return all(text.casefold().count(one.casefold()) >= times for one in texts)


def avoids(text: str, *, texts: Sequence[str]) -> bool:
    """Whether none of the texts occurs, in any case."""
    return not any(one.casefold() in text.casefold() for one in texts)


def capitals(text: str, *, all: bool) -> bool:
    """Whether all letters that have a case are capitals, or none is."""
    cased = [letter for letter in text if letter.upper() != letter.lower()]
    return bool(cased) and (text == text.upper() if all else text == text.lower())


def starts_with(text: str, *, texts: Sequence[str]) -> bool:
    """Whether it begins with one of the texts, in any case; quotation marks before it do not count."""
    return text.lstrip("\"'“‘「*").casefold().startswith(tuple(one.casefold() for one in texts))


def ends_with(text: str, *, texts: Sequence[str]) -> bool:
    """Whether it ends with one of the texts, in any case; punctuation after a text without any does not count."""
    ends = (text.casefold(), _without_marks(text).casefold())
    return any(end.endswith(one.casefold()) for one in texts for end in ends)


def one_of(text: str, *, texts: Sequence[str]) -> bool:
    """Whether it is one of the texts and nothing else; case and punctuation at both ends do not count."""
    return _without_marks(text).casefold() in [_without_marks(one).casefold() for one in texts]


def matches(text: str, *, pattern: str) -> bool:
    """Whether a regular expression is found in it."""
    return re.search(pattern, text) is not None


def number(text: str, *, value: float) -> bool:
    """Whether the last number in it is this one."""
    found = _NUMBER.findall(text)
    return bool(found) and float(found[-1].replace(",", "")) == value


def json_object(text: str, *, keys: Sequence[str]) -> bool:
    """Whether it is a JSON object with exactly these keys and nothing else, apart from a code fence around it."""
    value = _json(text)
    return isinstance(value, dict) and set(value) == set(keys)


def json_list(text: str, *, length: int) -> bool:
    """Whether it is a JSON array of this length and nothing else, apart from a code fence around it."""
    value = _json(text)
    return isinstance(value, list) and len(value) == length


def language(text: str, *, name: str) -> bool:
    """Whether most of its letters are Chinese (`zh`), or none is (`en`)."""
    letters = [letter for letter in text if letter.isalpha()]
    share = len(_HAN.findall(text)) / len(letters) if letters else 0.0
    return share >= _LANGUAGE_SHARE if name == "zh" else bool(letters) and share == 0


CHECKERS: dict[str, Callable[..., bool]] = {
    **{name: _within(count) for name, count in _COUNTED.items()},
    **{
        checker.__name__: checker
        for checker in (
            includes, avoids, capitals, starts_with, ends_with, one_of, matches, number, json_object, json_list,
            language,
        )
    },
}  # fmt: skip
"""The checkers by name: each takes the answer without space at both ends, and its settings."""


def _json(text: str) -> Any:
    fenced = _FENCE.match(text)
    try:
        return json.loads(fenced.group(1) if fenced else text)
    except ValueError:
        return None


def _without_marks(text: str) -> str:
    """The text without punctuation, symbols and space at both ends."""
    kept = [i for i, letter in enumerate(text) if unicodedata.category(letter)[0] not in "PSZC"]
    return text[kept[0] : kept[-1] + 1] if kept else ""
