"""The order of turns in a conversation."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from weitiao.data.example import Message
from weitiao.quality.findings import Problem

_FOLLOWS = {
    "": ("system", "user"),
    "system": ("user",),
    "user": ("assistant",),
    "assistant": ("user",),
    "assistant that calls a tool": ("tool",),
    "tool": ("tool", "assistant"),
}
"""Which roles may follow which; the empty one is the beginning. Many chat templates refuse anything else."""


def find_disorder(messages: Sequence[Message], *, has_answer: bool) -> Iterator[Problem]:
    """The first turn of a conversation that does not belong where it stands.

    Args:
        messages: The turns.
        has_answer: Whether the conversation must end with an answer.
    """
    last = ""
    for index, message in enumerate(messages):
        role = message["role"]
        if role not in _FOLLOWS[last]:
            place = f"follows a turn of the role {last}" if last else "is the first turn"
            yield Problem("role_order", f"a turn of the role {role} {place}", f"turn {index + 1}")
            return
        last = "assistant that calls a tool" if message.get("tool_calls") else role
    if has_answer and messages and not last.startswith("assistant"):
        yield Problem("role_order", f"the conversation ends with a turn of the role {last}", f"turn {len(messages)}")
