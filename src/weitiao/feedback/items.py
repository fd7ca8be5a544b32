"""Pairs of answers to the same prompt."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from weitiao.data.example import Message

if TYPE_CHECKING:
    from weitiao.evaluation.answers import Prediction

Choice = Literal["a", "b", "tie", "bad"]
Order = Literal["ab", "ba"]


@dataclass(frozen=True, slots=True)
class PreferenceItem:
    """A prompt with the answers of A and B.

    Attributes:
        item_id: The row id with a hash of the content: a judgement holds for these very answers and no others.
        row_id: Where the row stands.
        messages: The turns that were the prompt.
        a: The answer of A.
        b: The answer of B.
    """

    item_id: str
    row_id: str
    messages: tuple[Message, ...]
    a: str
    b: str

    @property
    def is_same(self) -> bool:
        """Whether the answers agree but for space at their ends, so that there is nothing to judge."""
        return self.a.strip() == self.b.strip()

    def shown(self, order: Order) -> tuple[str, str]:
        """The answers in the order in which a judge sees them."""
        return (self.a, self.b) if order == "ab" else (self.b, self.a)


def pair_answers(before: Sequence[Prediction], after: Sequence[Prediction]) -> list[PreferenceItem]:
    """Pair the answers of A and B.

    Args:
        before: Predictions of A.
        after: Predictions of B for the same rows in the same order.
    """
    items = []
    for a, b in zip(before, after, strict=True):
        assert a.row_id == b.row_id
        messages = min(a.messages, b.messages, key=len)  # without the examples of a few-shot prompt
        items.append(item_of(a.row_id, messages, a.answer, b.answer))
    return items


def item_of(row_id: str, messages: tuple[Message, ...], a: str, b: str) -> PreferenceItem:
    """A pair of answers to a prompt."""
    return PreferenceItem(f"{row_id}#{digest_of([messages, a, b])}", row_id, messages, a, b)


def digest_of(content: Any) -> str:
    """A short hash of something that is written as JSON."""
    return hashlib.sha256(json.dumps(content, ensure_ascii=False, default=str).encode()).hexdigest()[:12]


def first_shown(item_id: str, *, seed: int) -> Order:
    """Which answer is shown first: a coin that item and seed throw, so that a session that goes on shows it again."""
    return "ab" if hashlib.sha256(f"order:{seed}:{item_id}".encode()).digest()[0] % 2 else "ba"


def shuffled_items(items: Sequence[PreferenceItem], *, seed: int) -> list[PreferenceItem]:
    """The items in an order that seed and content decide: those judged before a judge stops are a random sample."""
    return sorted(items, key=lambda item: hashlib.sha256(f"place:{seed}:{item.item_id}".encode()).digest())
