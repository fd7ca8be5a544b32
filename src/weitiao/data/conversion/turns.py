"""Canonical messages in the spellings of OpenAI and of ShareGPT."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from weitiao.data.example import Message
from weitiao.data.reading.rows import BadRow

_SHAREGPT_ROLES = {"system": "system", "user": "human", "assistant": "gpt", "tool": "observation"}


def without_parts(turn: Message) -> Message:
    """A turn without `instruction` and `input`, if these are the parts of its content that an alpaca row gave."""
    parts = turn.get("instruction"), turn.get("input")
    texts = [part for part in parts if isinstance(part, str) and part.strip()]
    if not turn.keys() >= {"instruction", "input"} or "\n".join(texts) != turn["content"]:
        return turn
    return {name: value for name, value in turn.items() if name not in ("instruction", "input")}


def has_joined_input(turn: Message) -> bool:
    """Whether the content of a turn was joined from an alpaca row's `instruction` and `input`."""
    return bool(str(turn.get("input", "")).strip()) and without_parts(turn) is not turn


def is_plain(turns: Sequence[Message], role: str) -> bool:
    """Whether turns are one turn of a role with nothing but text, so that the text can stand for them."""
    return len(turns) == 1 and turns[0]["role"] == role and not _beside_content(turns[0])


def is_text(turns: Sequence[Message]) -> bool:
    """Whether turns have nothing but a role and text."""
    return not any(_beside_content(turn) for turn in turns)


def openai_turns(turns: Sequence[Message], *, uniform: bool) -> list[Message]:
    """Turns with `role` and `content`.

    Args:
        turns: The messages.
        uniform: Whether the arguments of a tool call become JSON text, as OpenAI's interface has them: where a column
            has one type, objects would get every key that the arguments of any call have.
    """
    return [_turn(turn, uniform) for turn in turns]


def _turn(turn: Message, uniform: bool) -> Message:
    written = without_parts(turn)
    if not uniform or "tool_calls" not in written:
        return written
    calls = [
        {**call, "function": {**call["function"], "arguments": _json(call["function"]["arguments"])}}
        for call in written["tool_calls"]
    ]
    return {**written, "tool_calls": calls}


def sharegpt_turns(turns: Sequence[Message], field: str) -> list[dict[str, Any]]:
    """Turns with `from` and `value`; a turn that calls tools is one of `function_call`, with the calls as JSON.

    Args:
        turns: The messages.
        field: Where they stand, for the reason.

    Raises:
        BadRow: A turn has both text and tool calls.
    """
    return [_sharegpt_turn(turn, f"{field}[{index}]") for index, turn in enumerate(turns)]


def _sharegpt_turn(turn: Message, field: str) -> dict[str, Any]:
    others = {k: v for k, v in without_parts(turn).items() if k not in ("role", "content", "tool_calls")}
    calls = turn.get("tool_calls")
    if not calls:
        return {"from": _SHAREGPT_ROLES[turn["role"]], "value": turn["content"], **others}
    if turn["content"]:
        raise BadRow(field, "has text and tool calls in one turn; sharegpt has a turn for either")
    bare = [{**({"id": call["id"]} if "id" in call else {}), **call["function"]} for call in calls]
    return {"from": "function_call", "value": _json(bare[0] if len(bare) == 1 else bare), **others}


def openai_tools(tools: Sequence[dict[str, Any]], *, uniform: bool) -> Any:
    """Tool definitions as a list; as JSON text where a column has one type (`uniform`)."""
    return _json(list(tools)) if uniform else list(tools)


def sharegpt_tools(tools: Sequence[dict[str, Any]]) -> str:
    """Tool definitions as JSON text, without OpenAI's wrapper where it says no more than that it is a function."""
    return _json([tool["function"] if _is_bare(tool) else tool for tool in tools])


def _is_bare(tool: dict[str, Any]) -> bool:
    return tool.keys() == {"type", "function"} and tool["type"] == "function" and "function" not in tool["function"]


def _beside_content(turn: Message) -> set[str]:
    return without_parts(turn).keys() - {"role", "content"}


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
