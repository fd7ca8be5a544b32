"""The canonical forms of a row that compares two answers, and of one that judges a single answer."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from weitiao.data.example import Example, Message


@dataclass(frozen=True, slots=True)
class Preference:
    """One prompt with a better and a worse answer.

    Attributes:
        row_id: Where the row stands, `FILE:ROW`.
        prompt: The turns before the answers, at least one.
        chosen: The better answer: turns that begin and end with the assistant's.
        rejected: The worse answer, likewise.
        tools: Tool definitions, as in `Example`.
        columns: Columns of the row that are no part of the conversation.
    """

    row_id: str
    prompt: tuple[Message, ...]
    chosen: tuple[Message, ...]
    rejected: tuple[Message, ...]
    tools: tuple[dict[str, Any], ...] = ()
    columns: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Judged:
    """One prompt with an answer that was found good or bad (Ethayarajh et al., 2024, https://arxiv.org/abs/2402.01306).

    Attributes:
        row_id: Where the row stands, `FILE:ROW`.
        prompt: The turns before the answer, at least one.
        completion: The answer: turns that end with the assistant's.
        label: Whether it is good.
        tools: Tool definitions, as in `Example`.
        columns: Columns of the row that are no part of the conversation.
    """

    row_id: str
    prompt: tuple[Message, ...]
    completion: tuple[Message, ...]
    label: bool
    tools: tuple[dict[str, Any], ...] = ()
    columns: dict[str, Any] = field(default_factory=dict)


Record = Example | Preference | Judged
"""One row of data in any of its canonical forms."""
