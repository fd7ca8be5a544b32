"""Turns of a conversation, in any of the spellings in use, to canonical messages."""

from __future__ import annotations

from typing import Any

from weitiao.data.example import LEARNING_MARKS, Message
from weitiao.data.json_values import JsonError, parse_json
from weitiao.data.rows import BadRow, kind_of

ROLES = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "human": "user",
    "assistant": "assistant",
    "gpt": "assistant",
    "function_call": "assistant",
    "tool": "tool",
    "function": "tool",
    "observation": "tool",
}
"""The roles of OpenAI's and of ShareGPT's spelling, and the four that chat templates know."""

_CONSUMED = {"role", "from", "content", "value", "tool_calls", "function_call"}
_TEXT_PARTS = ("text", "input_text", "output_text")


def to_messages(value: Any, field: str) -> tuple[Message, ...]:
    """Converts a list of turns.

    Args:
        value: Turns with `role` and `content`, or `from` and `value`; or the same list as JSON text.
        field: Where the list stands in the row.

    Returns:
        Messages with `role`, `content` (always text; empty for a turn that only calls tools), `tool_calls` whose
        arguments are objects, and whatever else a turn had that is not null: reasoning, whether it is learned, ...

    Raises:
        BadRow: It is no list, it is empty, or a turn cannot be used: a user turn without text, for instance, or an
            answer with neither text nor a tool call.
    """
    turns = parsed_json(value, field) if isinstance(value, str) else value
    if not isinstance(turns, (list, tuple)):
        raise BadRow(field, f"must be a list of turns, is {kind_of(turns)}")
    if not turns:
        raise BadRow(field, "the conversation is empty")
    return tuple(_message(turn, f"{field}[{index}]") for index, turn in enumerate(turns))


def to_tools(value: Any, field: str) -> tuple[dict[str, Any], ...]:
    """Converts tool definitions: a list, or the same as JSON text; bare functions get OpenAI's wrapper.

    Raises:
        BadRow: It is not a list of objects with a name.
    """
    if value is None or value == "":
        return ()
    tools = parsed_json(value, field) if isinstance(value, str) else value
    if not isinstance(tools, (list, tuple)):
        raise BadRow(field, f"must be a list of tool definitions, is {kind_of(tools)}")
    return tuple(_tool(tool, f"{field}[{index}]") for index, tool in enumerate(tools))


def parsed_json(text: str, field: str) -> Any:
    """The value of JSON text that stands in a column.

    Raises:
        BadRow: It is not valid JSON, or its value cannot be used.
    """
    try:
        return parse_json(text)
    except JsonError as error:
        raise BadRow(field, error.reason) from error


def _tool(tool: Any, field: str) -> dict[str, Any]:
    if not isinstance(tool, dict):
        raise BadRow(field, f"must be an object, is {kind_of(tool)}")
    wrapped = tool if "function" in tool else {"type": "function", "function": tool}
    function = wrapped["function"]
    if not isinstance(function, dict) or not isinstance(function.get("name"), str):
        raise BadRow(field, "the tool definition has no name")
    return wrapped


def _message(turn: Any, field: str) -> Message:
    if not isinstance(turn, dict):
        raise BadRow(field, f"a turn must be an object with a role and a content, is {kind_of(turn)}")
    role_key, role = _first(turn, "role", "from", field)
    if not isinstance(role, str) or role not in ROLES:
        raise BadRow(f"{field}.{role_key}", f"the role {role!r} is not known; known are {', '.join(ROLES)}")
    content_key, content = _first(turn, "content", "value", field)
    place = f"{field}.{content_key}"
    extras = {key: value for key, value in turn.items() if key not in _CONSUMED and value is not None}
    for key in LEARNING_MARKS:
        if (mark := extras.get(key)) is not None and mark not in (0, 1):
            raise BadRow(f"{field}.{key}", f"must be true, false, 1 or 0 (whether the turn is learned), is {mark!r}")
    if role == "function_call":
        calls = _calls(_text(content, place), place)
        return {"role": "assistant", "content": "", "tool_calls": calls, **extras}
    calls = _calls(turn.get("tool_calls"), f"{field}.tool_calls")
    calls += _calls(turn.get("function_call"), f"{field}.function_call")
    if calls and ROLES[role] != "assistant":
        raise BadRow(f"{field}.tool_calls", f"only the assistant calls tools, this is a turn of the role {role}")
    text = "" if content is None and calls else _text(content, place)
    if not text.strip() and ROLES[role] == "user":
        raise BadRow(place, "the user turn is empty")
    if not text.strip() and ROLES[role] == "assistant" and not calls:
        raise BadRow(place, "the answer is empty")
    return {"role": ROLES[role], "content": text, **({"tool_calls": calls} if calls else {}), **extras}


def _first(turn: dict[str, Any], key: str, other: str, field: str) -> tuple[str, Any]:
    """The first of two keys that the turn has (with a value, if one has), and its value."""
    for name in (key, other):
        if turn.get(name) is not None:
            return name, turn[name]
    if key == "content" and (turn.get("tool_calls") or turn.get("function_call")):
        return key, None
    if key in turn or other in turn:
        raise BadRow(f"{field}.{key if key in turn else other}", "is null")
    raise BadRow(f"{field}.{key}", f"is missing (nor is there `{other}`)")


def _text(content: Any, field: str) -> str:
    """The text of a turn: a string, or a list of text parts as OpenAI's two interfaces write them."""
    if isinstance(content, str):
        return content
    if not isinstance(content, (list, tuple)):
        raise BadRow(field, f"must be text, is {kind_of(content)}")
    for index, part in enumerate(content):
        if not (isinstance(part, dict) and part.get("type") in _TEXT_PARTS and isinstance(part.get("text"), str)):
            raise BadRow(f"{field}[{index}]", "only parts of the type text are supported")
    return "".join(part["text"] for part in content)


def _calls(value: Any, field: str) -> list[dict[str, Any]]:
    """Tool calls in OpenAI's form: a list, or one call, or either as JSON text."""
    if value is None or value == []:
        return []
    calls = parsed_json(value, field) if isinstance(value, str) else value
    if isinstance(calls, dict):
        calls = [calls]
    if not isinstance(calls, (list, tuple)) or not calls:
        raise BadRow(field, f"must be a tool call or a list of them, is {kind_of(calls)}")
    return [_call(call, f"{field}[{index}]") for index, call in enumerate(calls)]


def _call(call: Any, field: str) -> dict[str, Any]:
    if not isinstance(call, dict):
        raise BadRow(field, f"a tool call must be an object, is {kind_of(call)}")
    function = call.get("function") or call
    if not isinstance(function, dict) or not isinstance(function.get("name"), str):
        raise BadRow(field, "the tool call has no name")
    arguments = function.get("arguments") or {}
    if isinstance(arguments, str):
        # Chat templates print an object as JSON; text would be quoted a second time.
        arguments = parsed_json(arguments, f"{field}.arguments")
    if not isinstance(arguments, dict):
        raise BadRow(f"{field}.arguments", f"must be an object, is {kind_of(arguments)}")
    identity = {"id": call["id"]} if call.get("id") is not None else {}
    return {**identity, "type": "function", "function": {"name": function["name"], "arguments": arguments}}
