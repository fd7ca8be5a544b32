"""The formats, and which of them the first rows of a source have."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from weitiao.console import quoted
from weitiao.data.config import CanonicalField, FormatName, SourceConfig
from weitiao.data.formats.columns import find_pair
from weitiao.data.formats.conversations import role_of, to_messages
from weitiao.data.formats.templates import template_for, variable
from weitiao.data.reading.rows import BadRow, Row, kind_of, listed
from weitiao.errors import DataError


class Fields(NamedTuple):
    """The fields of a format. `on_request` are used only when `columns` names a column for them, because a column
    of that name often means something else (the `system` of a table of support tickets)."""

    required: tuple[str, ...]
    optional: tuple[str, ...] = ()
    on_request: tuple[str, ...] = ()

    @property
    def all(self) -> tuple[str, ...]:
        """Every field that `columns` may name."""
        return self.required + self.optional + self.on_request


# In the order in which they are tried: where a row fits several, the conversation says more than its parts, and
# published alpaca files carry a `text` that repeats the rest.
FORMATS: dict[FormatName, Fields] = {
    "messages": Fields(("messages",), ("tools",)),
    "sharegpt": Fields(("conversations",), ("tools", "system")),
    "alpaca": Fields(("instruction", "output"), ("input", "system", "history")),
    "prompt_completion": Fields(("prompt", "completion"), (), ("system", "tools")),
    "text": Fields(("text",)),
}

ANSWER_FIELDS = {"output", "completion"}
"""Fields of the answer to a question that stands in a field of its own."""

Columns = dict[CanonicalField, str]
SIDES = ("chosen", "rejected")
"""Columns of rows that compare two answers."""
_BESIDE_A_PAIR = {"system", "history", "id", "idx", "index", "uid", "uuid", "_id"}
"""Columns beside a question and an answer that leave no doubt about the two."""


class Detected(NamedTuple):
    """A format, and the source with `columns` for what has other names than those of the format."""

    format: FormatName
    source: SourceConfig

    @property
    def told(self) -> str:
        """The columns that were found out, as a recipe would have them; empty when there are none."""
        columns = ", ".join(f"{field}: {column}" for field, column in self.source.columns.items())
        return f"`columns: {{{columns}}}`" if columns else ""


def detect(source: SourceConfig, rows: Sequence[Row], shown: str, *, answers: bool = True) -> Detected:
    """Finds the format whose fields the first rows have; where their columns have other names, by what they hold.

    Args:
        source: The source; its `columns` and templates count as fields, and formats that use them are preferred.
        rows: The first rows, at least one; those that are no objects are passed over.
        shown: The name of the source for the message.
        answers: Whether rows have to have one.

    Raises:
        DataError: No format fits, or none of the rows is an object.
    """
    objects = [row.data for row in rows if isinstance(row.data, dict) and not row.problem]
    if not objects:
        line = f" (line {rows[0].line})" if rows[0].line is not None else ""
        raise DataError(
            f"{shown}: none of the first {len(rows)} rows can be read as an object with columns; row 1{line} "
            f"{rows[0].problem or f'is {kind_of(rows[0].data)}'}.",
            "Check that the file is what its name says, and that it is UTF-8.",
        )
    names = list(dict.fromkeys(key for row in objects for key in row))
    made = {name for name in ("prompt", "completion") if getattr(source, name) is not None}
    present = set(names) | set(source.columns) | made
    asked = set(source.columns) | made
    missing = set() if answers else ANSWER_FIELDS
    fitting = [
        name
        for name, fields in FORMATS.items()
        if present.issuperset(set(fields.required) - missing) and (name == "prompt_completion" or not made)
    ]
    if fitting == ["text"] and "text" not in asked and len(names) > 1:
        # A table of `text` and `category` is hardly ever meant as raw text, and training would run all the same.
        fitting = []
    if fitting:
        best = max(fitting, key=lambda name: len(asked.intersection(FORMATS[name].all)))
        return Detected(best, source)
    found = None if asked else _by_values(objects, names, source.roles)
    if found is None:
        raise _no_format(source, objects, names, shown)
    return Detected(found[0], source.model_copy(update={"columns": found[1]}))


def proposal(objects: Sequence[dict[str, Any]]) -> dict[str, str]:
    """What the columns of rows may mean, for a remedy: columns by field, `NAME` for what cannot be guessed.

    Args:
        objects: The first rows.
    """
    names = list(dict.fromkeys(key for row in objects for key in row))
    if conversations := _alone(_conversations(objects, names, {}), names):
        return {"messages": conversations[0]}
    pair = find_pair([{k: v for k, v in row.items() if k not in _BESIDE_A_PAIR} for row in objects], guess=True)
    question = pair.question or next((one for one in pair.columns if one.is_text and one is not pair.answer), None)
    others = (one for one in pair.columns if one is not question and "key" not in one.name)
    answer = pair.answer or next(others, None)
    return pair.fields(question.name if question else "NAME", answer.name if answer else "NAME")


def _by_values(
    objects: Sequence[dict[str, Any]], names: Sequence[str], roles: Mapping[str, str]
) -> tuple[FormatName, Columns] | None:
    """The format of rows whose columns have names of their own, where there is only one way to understand them."""
    conversations = _alone(_conversations(objects, names, roles), names)
    if len(conversations) == 1 and not set(SIDES).intersection(names):
        if "system" in names:
            return "sharegpt", {"conversations": conversations[0]}
        return "messages", {"messages": conversations[0]}
    pair = {role_of(name): name for name in names if name not in _BESIDE_A_PAIR}
    if len(names) - len(_BESIDE_A_PAIR.intersection(names)) == 2 and pair.keys() == {"user", "assistant"}:
        question, answer = pair["user"], pair["assistant"]
        if all(holds(objects, name, (str,)) for name in (question, answer)):
            # Only alpaca has a `history`, and a `system` that needs no asking for.
            if {"system", "history"}.intersection(names):
                return "alpaca", {"instruction": question, "output": answer}
            return "prompt_completion", {"prompt": question, "completion": answer}
    return None


def _conversations(objects: Sequence[dict[str, Any]], names: Sequence[str], roles: Mapping[str, str]) -> list[str]:
    """The columns that hold conversations with an answer in all of the rows; a `history` is the beginning of one."""
    own = {name.strip().casefold(): role for name, role in roles.items()}
    return [
        name for name in names if name != "history" and all(_is_conversation(row.get(name), own) for row in objects)
    ]


def _alone(conversations: list[str], names: Sequence[str]) -> list[str]:
    """The conversations, if no column beside them asks or answers by its name: how it belongs to them is not known."""
    others = {role_of(name) for name in names if name not in conversations}
    return conversations if others.isdisjoint({"user", "assistant"}) else []


def _is_conversation(value: Any, roles: Mapping[str, str]) -> bool:
    if not isinstance(value, (list, tuple)):
        return False
    try:
        return any(message["role"] == "assistant" for message in to_messages(value, "", roles))
    except BadRow:
        return False


def holds(objects: Sequence[dict[str, Any]], name: str, types: tuple[type, ...]) -> bool:
    """Whether a column has values of some types, and no others but null."""
    values = [row[name] for row in objects if row.get(name) is not None]
    return bool(values) and all(isinstance(value, types) for value in values)


def _no_format(source: SourceConfig, objects: Sequence[dict[str, Any]], names: Sequence[str], shown: str) -> DataError:
    with_columns = f" with `columns` for {', '.join(source.columns)}" if source.columns else ""
    found = proposal(objects)
    raw = "; if it is raw text, set `format: text`" if "text" in names else ""
    answer = found.get("completion", "")
    if holds(objects, answer, (int, float)):
        prompt, completion = variable(found["prompt"]), template_for(answer, 0)
        example = f'with templates: `{{prompt: "{prompt}", completion: "{completion}"}}`{raw}'
    else:
        columns = ", ".join(f"{name}: {column}" for name, column in found.items())
        example = f"for example `columns: {{{columns}}}`, or with the templates `prompt` and `completion`{raw}"
    if set(SIDES).issubset(names):
        example = f"or learn the better answers: weitiao data convert {quoted(shown)} better.jsonl --to messages"
    return DataError(
        f"{shown}: no format fits the columns {listed(names)}{with_columns}.",
        f"Say what they mean, {example}.",
    )
