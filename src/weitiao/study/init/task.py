"""What kind of task rows are: how their answers are scored, and settings that suit their number and lengths."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec

from weitiao.data.example import Example
from weitiao.data.formats.columns import labels_of

_ENDS_IN_NUMBER = re.compile(r"(?<![\w.])[-+]?\d[\d,.]*\s?(%|[^\W\d]{1,8})?[.)]?$")
_LONGEST_SHORT = 60
_LONGEST_LIST = 4000


@dataclass(frozen=True, slots=True)
class Task:
    """What the answers are.

    Attributes:
        kind: `labels`, `numbers`, `json`, `short`, `long` or `text` (raw text, no answers).
        metrics: For `evaluate.metrics`, the first decides.
        why: The reason, for people.
        system: A system text that names the labels; empty where there are none, or too many.
        max_new_tokens: Tokens that an answer may take.
    """

    kind: str
    metrics: tuple[str, ...]
    why: str
    system: str = ""
    max_new_tokens: int = 256


def task_of(examples: Sequence[Example]) -> Task:
    """The task that examples show, at least one of them."""
    answers = [example.answer for example in examples if example.messages]
    if not answers:
        return Task("text", ("perplexity",), "raw text has no answers: its perplexity is measured")
    room = _room(answers)
    if labels := sorted(labels_of([answer.strip() for answer in answers])):
        system = f"Answer with exactly one of: {', '.join(labels)}."
        why = f"the answers are {len(labels)} labels"
        return Task("labels", ("accuracy", "macro_f1"), why, system if len(system) <= _LONGEST_LIST else "", room)
    if _most(_is_json(answer) for answer in answers):
        return Task("json", ("json_fields", "json_valid"), "the answers are JSON: F1 over their fields", "", room)
    if _most(_ENDS_IN_NUMBER.search(answer.rstrip()) for answer in answers):
        return Task("numbers", ("number",), "the answers are numbers, or end in one", "", room)
    if _most(len(answer) <= _LONGEST_SHORT and "\n" not in answer.strip() for answer in answers):
        return Task("short", ("exact_match", "normalized_match"), "the answers are short texts", "", room)
    if find_spec("rouge_score"):
        why = "free texts: words in common with the expected answer; `weitiao compare --judge` says more"
        return Task("long", ("rouge_l",), why, "", room)
    why = "free texts: how likely the expected answers are; pip install 'weitiao[eval]' brings rouge_l"
    return Task("long", ("normalized_match", "perplexity"), why, "", room)


def fraction(rows: int, wanted: int, most: float) -> float:
    """The share of the rows that gives about so many, not more than `most`."""
    return float(f"{min(most, max(wanted / rows, 0.01)):.2g}")


def epochs(rows: int) -> int:
    """Passes over the rows: few rows have to be seen more often."""
    return 5 if rows < 300 else 3 if rows < 5000 else 1


def _most(found: object) -> bool:
    verdicts = [bool(one) for one in found]  # type: ignore[attr-defined]
    return sum(verdicts) >= 0.95 * len(verdicts)


def _is_json(text: str) -> bool:
    try:
        return isinstance(json.loads(text), dict | list)
    except (ValueError, RecursionError):
        return False


def _room(answers: Sequence[str]) -> int:
    """Tokens for all but the longest answers in a hundred; a token is hardly less than two characters, or one Han."""
    sizes = sorted(sum(1.0 if one > "\u2e7f" else 0.5 for one in answer) for answer in answers)
    long = sizes[min(len(sizes) - 1, len(sizes) * 99 // 100)]
    return int(min(1024, max(16, -(-long // 8) * 8 + 8)))
