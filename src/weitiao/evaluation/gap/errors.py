"""The kinds of wrong answers, what helps against each, and of which kind an answer is."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Sequence
from typing import Any, Literal

from weitiao.evaluation.answers import Prediction
from weitiao.evaluation.metrics.base import Item, normalized
from weitiao.evaluation.metrics.json_text import JsonFields, parse_json
from weitiao.evaluation.metrics.matching import Contains
from weitiao.quality.language import script_of
from weitiao.quality.row_checks import find_refusal

Kind = Literal[
    "empty",
    "refusal",
    "rewritten",
    "cut_off",
    "wrong_language",
    "invalid_json",
    "wrong_keys",
    "wrong_value",
    "outside_labels",
    "other_label",
    "too_long",
    "wrong",
]
Remedy = Literal["prompt", "constraint", "tuning", "more data"]

REMEDIES: dict[Kind, tuple[Remedy, ...]] = {
    "empty": ("prompt", "tuning"),
    "refusal": ("prompt", "tuning"),
    "rewritten": ("prompt", "constraint", "tuning"),
    "cut_off": ("prompt", "tuning"),
    "wrong_language": ("prompt", "tuning"),
    "invalid_json": ("constraint", "tuning"),
    "wrong_keys": ("prompt", "constraint", "tuning"),
    "wrong_value": ("prompt", "tuning", "more data"),
    "outside_labels": ("prompt", "constraint", "tuning"),
    "other_label": ("tuning", "more data"),
    "too_long": ("prompt", "tuning"),
    "wrong": ("tuning", "more data"),
}
"""Every kind, in the order in which they are looked for, with what addresses it, the cheapest first: another prompt, a
constraint on decoding or on the format, tuning on the rows that are there, more rows. What a kind is called, and what
can honestly be said about it, stands in the catalogues of texts: `error.KIND` and `error.KIND.advice`."""

FIELDS = JsonFields().build()
"""Compares JSON by its values."""

_TOO_LONG = 3
_MAIN_SCRIPT = 0.7
_CONTAINS = Contains().build()
_BRACKET = re.compile(r"[{\[]")


class Classifier:
    """Tells the kinds of wrong answers apart. Each answer gets one: the first of `REMEDIES` that holds.

    Args:
        expected: All expected answers.
        labels: The closed set of labels; empty when answers are free.
    """

    def __init__(self, expected: Sequence[str], labels: Collection[str]) -> None:
        self._labels = {label.strip() for label in labels}
        self._folded = {normalized(label, "casefold") for label in labels}
        self._longest = max(map(len, expected), default=0)

    def kind(self, prediction: Prediction) -> Kind:
        """The kind of a wrong answer."""
        expected, answer = prediction.expected.strip(), prediction.answer.strip()
        if not answer:
            return "empty"
        if _refuses(answer) and not _refuses(expected):
            return "refusal"
        wanted = structured(expected)
        if self._is_rewritten(expected, answer, wanted):
            return "rewritten"
        folded = normalized(answer, "casefold")
        begun = normalized(expected, "casefold").startswith(folded)
        if not prediction.stopped and (begun or not self._labels):
            return "cut_off"
        if _differ_in_script(expected, answer):
            return "wrong_language"
        if wanted is not None:
            return _kind_of_json(wanted, answer)
        if self._labels:
            return "other_label" if folded in self._folded else "outside_labels"
        return "too_long" if len(answer) > _TOO_LONG * self._longest else "wrong"

    def _is_rewritten(self, expected: str, answer: str, wanted: Any) -> bool:
        """Whether the right answer, and for labels no other one, stands in what was written."""
        if wanted is not None:
            return any(FIELDS.grade(Item(json.dumps(found), expected)) == 1 for found in _json_inside(answer))
        if not _stands_in(expected, answer):
            return False
        others = (label for label in self._labels if label != expected and not _stands_in(label, expected))
        return not any(_stands_in(label, answer) for label in others)


def structured(text: str) -> Any:
    """The JSON object or list that a text is; None when it is neither."""
    try:
        value = parse_json(text, allow_fence=False)
    except ValueError:
        return None
    return value if isinstance(value, dict | list) else None


def _kind_of_json(wanted: Any, answer: str) -> Kind:
    given = structured(answer)
    if given is None:
        return "invalid_json"
    if isinstance(wanted, dict) and (not isinstance(given, dict) or given.keys() != wanted.keys()):
        return "wrong_keys"
    return "wrong_value"


def _json_inside(text: str) -> list[Any]:
    """Every object or list that begins somewhere in a text."""
    decoder, found, place = json.JSONDecoder(), [], 0
    while match := _BRACKET.search(text, place):
        try:
            value, place = decoder.raw_decode(text, match.start())
        except (ValueError, RecursionError):  # a model may well write a thousand brackets
            place = match.start() + 1
        else:
            found.append(value)
    return found


def _stands_in(part: str, text: str) -> bool:
    """Whether a text has the words of another, apart from case and punctuation."""
    return _CONTAINS.grade(Item(answer=text, expected=part)) == 1


def _refuses(text: str) -> bool:
    return any(find_refusal(text))


def _differ_in_script(expected: str, answer: str) -> bool:
    """Whether nearly all words of either are in a script of its own."""
    wanted, given = script_of(expected), script_of(answer)
    sure = min(wanted.share, given.share) >= _MAIN_SCRIPT
    return sure and wanted.name != given.name
