"""Who speaks: the names of roles in published data, and turns that are keyed by them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

CANONICAL_ROLES = ("system", "user", "assistant", "tool")
"""The roles that chat templates know."""

_NAMES = {
    "system": ("system", "developer"),
    "user": ("user", "human", "prompter", "input", "instruction", "question", "query", "prompt"),
    "assistant": (
        "assistant", "gpt", "chatgpt", "bing", "bard", "model", "ai", "bot", "chatbot", "output", "answer", "response",
        "completion", "function_call", "tool_call",
    ),
    "tool": ("tool", "function", "observation", "tool_response", "function_response"),
}  # fmt: skip
ROLES: Mapping[str, str] = {name: role for role, names in _NAMES.items() for name in names}
"""The canonical role of each name; of names, the case does not count."""

CALLS = ("function_call", "tool_call")
"""Names of an assistant's turn whose text is a tool call as JSON."""


def role_of(name: Any, own: Mapping[str, str] = ROLES) -> str | None:
    """The canonical role that a name stands for; None when it is not known.

    Args:
        name: The name, in any case.
        own: Names in small letters and their roles, which are asked first.
    """
    key = name.strip().casefold() if isinstance(name, str) else ""
    return own.get(key) or ROLES.get(key)


def single_turns(turns: Sequence[Any], field: str, own: Mapping[str, str] = ROLES) -> Iterator[tuple[Any, str]]:
    """The turns of a list whose items may be pairs: `["Hi", "Hello"]`, `{"human": "Hi", "assistant": "Hello"}`.

    Args:
        turns: The list.
        field: Where it stands in the row.
        own: See `role_of`.

    Yields:
        Turns and their places. An item that is no such pair comes as it is.
    """
    for index, turn in enumerate(turns):
        place = f"{field}[{index}]"
        if isinstance(turn, (list, tuple)) and len(turn) == 2 and all(isinstance(part, str) for part in turn):
            yield {"role": "user", "content": turn[0]}, f"{place}[0]"
            yield {"role": "assistant", "content": turn[1]}, f"{place}[1]"
        elif isinstance(turn, dict) and len(said := _by_speaker(turn, own)) > 1:
            for name, text in said:
                yield {"role": name, "content": text}, f"{place}.{name}"
        else:
            yield turn, place


def _by_speaker(turn: Mapping[str, Any], own: Mapping[str, str]) -> list[tuple[str, str]]:
    """What an object says whose keys are the names of roles, system first; nothing for another object."""
    if "role" in turn or "from" in turn:
        return []
    said = [(name, text) for name, text in turn.items() if text is not None and text != ""]
    roles = [role_of(name, own) for name, _ in said]
    if len(set(roles)) < len(roles) or not {"user", "assistant"}.issubset(roles) or "tool" in roles or None in roles:
        return []
    if not all(isinstance(text, str) for _, text in said):
        return []
    return sorted(said, key=lambda one: CANONICAL_ROLES.index(str(role_of(one[0], own))))
