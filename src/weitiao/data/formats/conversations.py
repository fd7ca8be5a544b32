"""Turns of a conversation, in any of the spellings in use, and under any names of who speaks, to canonical messages."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from weitiao.data.example import LEARNING_MARKS, Message
from weitiao.data.reading.json_values import JsonError, parse_json
from weitiao.data.reading.rows import BadRow, kind_of

CANONICAL_ROLES = ("system", "user", "assistant", "tool")
"""The roles that chat templates know."""

_NAMES = {
    "system": ("system", "developer", "系统"),
    "user": (
        "user", "human", "prompter", "input", "instruction", "question", "query", "prompt",
        "用户", "人类", "问题", "提问", "问", "指令", "输入",
    ),
    "assistant": (
        "assistant", "gpt", "chatgpt", "bing", "bard", "model", "ai", "bot", "chatbot", "output", "answer", "response",
        "completion", "function_call", "tool_call", "助手", "模型", "回答", "答案", "回复", "答", "输出",
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


_CONTENTS = ("content", "value", "parts", "text")
_CONSUMED = {"role", "from", "content", "value", "tool_calls", "function_call"}
_TEXT_PARTS = ("text", "input_text", "output_text")


def to_messages(value: Any, field: str, roles: Mapping[str, str] = ROLES) -> tuple[Message, ...]:
    """Converts a list of turns.

    Args:
        value: Turns with `role` and `content`, or `from` and `value`, or `role` and Gemini's `parts`; pairs of a
            question and its answer (`single_turns`); or the same list as JSON text.
        field: Where the list stands in the row.
        roles: Names of roles, in small letters, beside those that are known.

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
    return tuple(_message(turn, place, roles) for turn, place in single_turns(turns, field, roles))


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


def _message(turn: Any, field: str, roles: Mapping[str, str]) -> Message:
    if not isinstance(turn, dict):
        raise BadRow(field, f"a turn must be an object with role and content, or a pair of texts, is {kind_of(turn)}")
    role_key, name = _first(turn, ("role", "from"), field)
    role = role_of(name, roles)
    if role is None:
        remedy = f"say who it is, for example `roles: {{{name}: user}}`" if isinstance(name, str) else ""
        raise BadRow(f"{field}.{role_key}", f"the role {name!r} is not known", remedy)
    content_key, content = _first(turn, _CONTENTS, field)
    place = f"{field}.{content_key}"
    used = {*_CONSUMED, content_key}
    extras = {key: value for key, value in turn.items() if key not in used and value is not None}
    for key in LEARNING_MARKS:
        if (mark := extras.get(key)) is not None and mark not in (0, 1):
            raise BadRow(f"{field}.{key}", f"must be true, false, 1 or 0 (whether the turn is learned), is {mark!r}")
    if name.strip().casefold() in CALLS:
        calls = _calls(_text(content, place), place)
        return {"role": "assistant", "content": "", "tool_calls": calls, **extras}
    calls = _calls(turn.get("tool_calls"), f"{field}.tool_calls")
    calls += _calls(turn.get("function_call"), f"{field}.function_call")
    if calls and role != "assistant":
        raise BadRow(f"{field}.tool_calls", f"only the assistant calls tools, this is a turn of the role {name}")
    text = "" if content is None and calls else _text(content, place)
    if not text.strip() and role == "user":
        raise BadRow(place, "the user turn is empty")
    if not text.strip() and role == "assistant" and not calls:
        raise BadRow(place, "the answer is empty")
    return {"role": role, "content": text, **({"tool_calls": calls} if calls else {}), **extras}


def _first(turn: dict[str, Any], keys: Sequence[str], field: str) -> tuple[str, Any]:
    """The first of some keys that the turn has (with a value, if one has), and its value."""
    for name in keys:
        if turn.get(name) is not None:
            return name, turn[name]
    if keys is _CONTENTS and (turn.get("tool_calls") or turn.get("function_call")):
        return keys[0], None
    null = next((name for name in keys if name in turn), None)
    if null is not None:
        raise BadRow(f"{field}.{null}", "is null")
    raise BadRow(f"{field}.{keys[0]}", f"is missing (nor is there `{keys[1]}`)")


def _text(content: Any, field: str) -> str:
    """The text of a turn: a string, or a list of text parts as OpenAI's two interfaces write them."""
    if isinstance(content, str):
        return content
    if not isinstance(content, (list, tuple)):
        raise BadRow(field, f"must be text, is {kind_of(content)}")
    for index, part in enumerate(content):
        if not (
            isinstance(part, dict) and part.get("type", "text") in _TEXT_PARTS and isinstance(part.get("text"), str)
        ):
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
