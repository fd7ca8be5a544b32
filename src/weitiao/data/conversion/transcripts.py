"""Rows that compare two whole conversations: where the shared prompt ends and the two answers begin."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from weitiao.data.example import Message
from weitiao.data.formats.conversations import to_messages
from weitiao.data.reading.rows import BadRow, kind_of

_SPEAKER = re.compile(r"(?:\A\s*|\n\n)(Human|Assistant):")
_ROLES = {"Human": "user", "Assistant": "assistant"}


def whole_conversation(value: Any, field: str) -> tuple[Message, ...]:
    """Reads one side of a comparison that has no prompt of its own.

    Args:
        value: A list of turns; or the text of a transcript whose turns begin with `Human:` and `Assistant:` after a
            blank line, as Anthropic's hh-rlhf has it. White space around a turn's text is the transcript's layout.
        field: Where it stands in the row.

    Raises:
        BadRow: It is neither, or a turn of it cannot be used.
    """
    if isinstance(value, str):
        value = _transcript(value, field)
    if not isinstance(value, (list, tuple)):
        raise BadRow(field, f"must be a list of turns or a transcript, is {kind_of(value)}")
    return to_messages(value, field)


def _transcript(text: str, field: str) -> list[Message]:
    before, *parts = _SPEAKER.split(text)
    if before.strip() or not parts:
        raise BadRow(field, "has no prompt: there is no `prompt`, and it is no transcript that begins with `Human:`")
    speakers, texts = parts[0::2], parts[1::2]
    return [{"role": _ROLES[who], "content": said.strip()} for who, said in zip(speakers, texts, strict=True)]


def shared_beginning(chosen: Sequence[Message], rejected: Sequence[Message]) -> int:
    """Finds where two conversations part.

    Returns:
        The number of turns of the prompt: the common beginning, shortened so that both sides go on with an
        assistant's turn.

    Raises:
        BadRow: The two are the same, or there is no such beginning.
    """
    if list(chosen) == list(rejected):
        raise BadRow("rejected", "is the same as `chosen`")
    size = 0
    for one, other in zip(chosen, rejected, strict=False):
        if one != other:
            break
        size += 1
    while size and not all(size < len(side) and side[size]["role"] == "assistant" for side in (chosen, rejected)):
        size -= 1
    if not size:
        raise BadRow("rejected", "does not begin like `chosen`: the two share no prompt that an answer follows")
    return size
