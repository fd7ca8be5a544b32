"""How a chat template writes tool calls, found by asking it; and calls read back from what a model wrote."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from weitiao.data.example import Message
from weitiao.data.reading.rows import BadRow
from weitiao.rendering.printing import Printer, common_prefix

_NAME, _KEY = "qzname", "qzkey"


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A call that a model makes.

    Attributes:
        name: Of the function.
        arguments: As JSON text, as OpenAI's interface has them.
    """

    name: str
    arguments: str


@dataclass(frozen=True, slots=True)
class CallForm:
    """Calls as JSON between two texts.

    Attributes:
        opening: What the template writes before the JSON, as it is.
        before, after: The texts, without white space around them; empty where a template writes nothing there.
        key: The name of the arguments, `arguments` or `parameters`.
        listed: Whether the JSON is a list of calls.
    """

    opening: str
    before: str
    after: str
    key: str
    listed: bool

    def schema(self, tools: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """The JSON Schema of one call of any of these functions. Each keeps the schema of its arguments whole, in
        `$defs`, where its references lead to what they led to before."""
        functions = [tool["function"] for tool in tools]
        places = {one["name"]: f"#/$defs/{one['name'].replace('~', '~0').replace('/', '~1')}" for one in functions}
        calls = [
            {
                "type": "object",
                "properties": {"name": {"const": name}, self.key: {"$ref": place}},
                "required": ["name", self.key],
                "additionalProperties": False,
            }
            for name, place in places.items()
        ]
        call = calls[0] if len(calls) == 1 else {"anyOf": calls}
        whole = {"type": "array", "items": call, "minItems": 1, "maxItems": 1} if self.listed else call
        arguments = {one["name"]: one.get("parameters") or {"type": "object"} for one in functions}
        return {**whole, "$defs": {name: _moved(one, places[name]) for name, one in arguments.items()}}

    def read(self, text: str, known: Collection[str]) -> tuple[ToolCall, ...] | None:
        """The calls in what stands between the two; None where it is none.

        Args:
            text: What a model wrote there.
            known: Functions that it may call.
        """
        try:
            value = json.loads(text)
        except (ValueError, RecursionError):
            return None
        calls = value if self.listed else [value]
        if not isinstance(calls, list) or not calls:
            return None
        found = [_read(one, self.key, known) for one in calls]
        return tuple(one for one in found if one is not None) if None not in found else None


def _moved(schema: Any, place: str) -> Any:
    """A schema that has been put into another one at a place: its references begin there."""
    if isinstance(schema, list):
        return [_moved(one, place) for one in schema]
    if not isinstance(schema, dict):
        return schema
    moved = {key: _moved(value, place) for key, value in schema.items()}
    if isinstance(reference := schema.get("$ref"), str) and reference.startswith("#"):
        moved["$ref"] = place + reference[1:]
    return moved


def _read(value: Any, key: str, known: Collection[str]) -> ToolCall | None:
    if not isinstance(value, dict) or value.get("name") not in known or not isinstance(value.get(key, {}), dict):
        return None
    return ToolCall(value["name"], json.dumps(value.get(key, {}), ensure_ascii=False))


def call_form(printer: Printer) -> CallForm | None:
    """The form in which a template writes tool calls; None where it writes none, or not as JSON."""
    asked: Message = {"role": "user", "content": "a"}
    call = {"type": "function", "function": {"name": _NAME, "arguments": {_KEY: "1"}}}
    tool = {"type": "function", "function": {"name": _NAME, "description": "b", "parameters": {"type": "object"}}}
    try:
        plain = printer.print([asked, {"role": "assistant", "content": _KEY}], [tool])
        called = printer.print([asked, {"role": "assistant", "content": "", "tool_calls": [call]}], [tool])
    except BadRow:
        return None
    header, found, tail = plain.rpartition(_KEY)
    place = _json_call(called, start=min(common_prefix(header, called), len(header)))
    if not found or place is None or not called.endswith(tail):
        return None
    begin, end, key = place
    opening = called[common_prefix(header, called) : begin]
    before = opening.strip()
    after = called[end : len(called) - len(tail)].strip()
    listed = before.endswith("[") and after.startswith("]")
    if listed:
        opening = opening[: opening.rindex("[")]
    return CallForm(opening, before.removesuffix("[").strip(), after.removeprefix("]").strip(), key, listed)


def _json_call(text: str, *, start: int) -> tuple[int, int, str] | None:
    """Where the call stands in a printed conversation, and what its arguments are called."""
    begin = text.find("{", start)
    while begin >= 0:
        try:
            value, end = json.JSONDecoder().raw_decode(text, begin)
        except ValueError:
            value, end = None, begin
        if isinstance(value, dict) and value.get("name") == _NAME:
            keys = [key for key in ("arguments", "parameters") if value.get(key) == {_KEY: "1"}]
            if keys:
                return begin, end, keys[0]
        begin = text.find("{", begin + 1)
    return None
