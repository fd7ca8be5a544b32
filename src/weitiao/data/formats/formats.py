"""From the columns of a row to an example."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from weitiao.data.config import FormatName, SourceConfig
from weitiao.data.example import Example, Message
from weitiao.data.formats.conversations import parsed_json, to_messages, to_tools
from weitiao.data.formats.detection import FORMATS
from weitiao.data.formats.templates import RowTemplate, is_scalar, template_for, variable
from weitiao.data.reading.rows import BadRow, Row, kind_of
from weitiao.errors import DataError

_encode = json.JSONEncoder(ensure_ascii=False, default=str).encode


class Converter:
    """Turns the rows of one source into examples.

    Args:
        source: The source.
        format: The source's format, detected when the source leaves it open.
        answers: Whether rows have to have one.

    Attributes:
        columns: The columns that the turns are made of; None where a template may print any.

    Raises:
        DataError: The settings do not go together with the format.
    """

    def __init__(self, source: SourceConfig, format: FormatName, *, answers: bool = True) -> None:
        self._answers = answers
        self._columns: dict[str, str] = {str(field): column for field, column in source.columns.items()}
        self._roles = {name.strip().casefold(): role for name, role in source.roles.items()}
        self._format = format
        self._fields = FORMATS[format]
        templates = {"prompt": source.prompt, "system": source.system, "completion": source.completion}
        self._templates = {name: RowTemplate(text) for name, text in templates.items() if text is not None}
        fields = {*self._fields.required, *self._fields.optional, *self._columns} - self._templates.keys()
        self._consumed = {self._columns.get(field, field) for field in fields}
        named = [column.split(".")[0] for column in self._consumed]
        printed = [template.names for template in self._templates.values()]
        self.columns = None if None in printed else frozenset(named).union(*(names or () for names in printed))
        unused = set(source.columns).difference(self._fields.all)
        if unused:
            unused_names = ", ".join(sorted(unused))
            raise DataError(
                f"{source.path}: `columns` names {unused_names}, which the format {format} does not have.",
                f"Its fields are {', '.join(self._fields.all)}; remove the entry or set another `format`.",
            )
        if format == "text" and "system" in self._templates:
            raise DataError(f"{source.path}: raw text has no system turn.", "Remove `system`, or set another `format`.")

    def __call__(self, row: Row, row_id: str) -> Example:
        """Converts one row.

        Args:
            row: The row as it was read.
            row_id: The identity that the example gets.

        Raises:
            BadRow: The row could not be read or has another type, or a field of it is missing, empty or of another
                type.
        """
        example = self._example(columns_of(row), row_id)
        _check_unicode(example)
        return example

    def _example(self, row: dict[str, Any], row_id: str) -> Example:
        columns = {name: value for name, value in row.items() if name not in self._consumed}
        if self._format == "text":
            return Example(row_id, text=self._text(row, "text"), columns=columns)
        messages = self._with_system(row, self._conversation(row))
        tools = to_tools(self._optional(row, "tools"), "tools")
        return Example(row_id, messages, tools=tools, columns=columns)

    def _conversation(self, row: dict[str, Any]) -> tuple[Message, ...]:
        """The turns, without the system turn that stands in a column of its own."""
        match self._format:
            case "messages" | "sharegpt":
                field = self._fields.required[0]
                messages = to_messages(self._required(row, field), field, self._roles)
                if self._answers and not any(message["role"] == "assistant" for message in messages):
                    raise BadRow(field, "the conversation has no assistant turn")
                return messages
            case "alpaca":
                return self._alpaca(row)
            case _:
                return self._prompt_completion(row)

    def _alpaca(self, row: dict[str, Any]) -> tuple[Message, ...]:
        instruction = self._string(self._required(row, "instruction"), "instruction")
        given = self._string(self._optional(row, "input"), "input", default="")
        content = "\n".join(part for part in (instruction, given) if part.strip())
        if not content:
            raise BadRow("instruction", "is empty, and so is `input`")
        question: Message = {"role": "user", "content": content, "instruction": instruction, "input": given}
        history = self._optional(row, "history")
        if history and isinstance(history, str):
            history = parsed_json(history, "history")
        before = to_messages(history, "history", self._roles) if history else ()
        answer = () if self._lacks(row, "output") else ({"role": "assistant", "content": self._text(row, "output")},)
        return (*before, question, *answer)

    def _prompt_completion(self, row: dict[str, Any]) -> tuple[Message, ...]:
        prompt = self._turns(row, "prompt", "user")
        if "completion" not in self._templates and self._lacks(row, "completion"):
            return prompt
        answers = self._turns(row, "completion", "assistant")
        if answers[-1]["role"] != "assistant":
            raise BadRow("completion", "must end with an assistant turn")
        return (*prompt, *answers)

    def _lacks(self, row: dict[str, Any], field: str) -> bool:
        """Whether a row has no answer, and need not have one."""
        return not self._answers and self._look_up(row, field) in (None, "")

    def _turns(self, row: dict[str, Any], field: str, role: str) -> tuple[Message, ...]:
        """The turns of a field, which a template may make; text is one turn, what cannot be turns must be text."""
        template = self._templates.get(field)
        value = self._required(row, field) if template is None else template.render(row, name=field)
        if isinstance(value, str):
            if not value.strip():
                raise BadRow(field, "is empty" if role == "user" else "the answer is empty")
            return ({"role": role, "content": value},)
        if not isinstance(value, (list, tuple)) or (value and all(map(is_scalar, value))):
            raise self._must_be_text(row, field, value)
        return to_messages(value, field, self._roles)

    def _must_be_text(self, row: dict[str, Any], field: str, value: Any) -> BadRow:
        """The reason for a value that is no text, with the templates that make text of it."""
        made = template_for(self._columns.get(field, field), value)
        settings = {"completion" if field == "output" else field: made}
        if self._format == "alpaca":
            asked = [name for name in ("instruction", "input") if self._look_up(row, name)]
            settings = {"prompt": " ".join(variable(self._columns.get(name, name)) for name in asked)} | settings
        told = ", ".join(f'`{name}: "{template}"`' for name, template in settings.items())
        return BadRow(
            field, f"must be text, is {kind_of(value)}" + (f"; what makes text of it: {told}" if made else "")
        )

    def _with_system(self, row: dict[str, Any], messages: tuple[Message, ...]) -> tuple[Message, ...]:
        """Puts the system turn of a column, or else of the template, before a conversation that has none."""
        text = self._string(self._optional(row, "system"), "system", default="")
        if messages[0]["role"] == "system":
            if text.strip() and text != messages[0]["content"]:
                raise BadRow("system", "differs from the system turn that the conversation has, too")
            return messages
        if not text.strip() and "system" in self._templates:
            text = self._templates["system"].render(row, name="system")
        return ({"role": "system", "content": text}, *messages) if text.strip() else messages

    def _text(self, row: dict[str, Any], field: str) -> str:
        text = self._required(row, field)
        if not isinstance(text, str):
            raise self._must_be_text(row, field, text)
        if not text.strip():
            raise BadRow(field, "the text is empty" if field == "text" else "the answer is empty")
        return text

    def _string(self, value: Any, field: str, *, default: str | None = None) -> str:
        if value is None and default is not None:
            return default
        if not isinstance(value, str):
            raise BadRow(field, f"must be text, is {kind_of(value)}")
        return value

    def _required(self, row: dict[str, Any], field: str) -> Any:
        return required(row, self._columns.get(field, field), field)

    def _optional(self, row: dict[str, Any], field: str) -> Any:
        allowed = field in self._fields.optional or field in self._columns
        return self._look_up(row, field) if allowed else None

    def _look_up(self, row: dict[str, Any], field: str) -> Any:
        """The value of a field's column."""
        return look_up(row, self._columns.get(field, field))


def columns_of(row: Row) -> dict[str, Any]:
    """The columns of a row.

    Raises:
        BadRow: The row could not be read, or is no object.
    """
    if row.problem:
        raise BadRow("", f"the row {row.problem}")
    if not isinstance(row.data, dict):
        raise BadRow("", f"the row is {kind_of(row.data)}, not an object with columns")
    return row.data


def required(row: dict[str, Any], column: str, field: str) -> Any:
    """The value of a column, for a field.

    Raises:
        BadRow: The row does not have it, or it is null.
    """
    value = look_up(row, column)
    if value is None:
        if column in row:
            raise BadRow(field, "is null")
        alike = next((name for name in row if name.strip().casefold() == column.strip().casefold()), None)
        told = f"; there is `{alike}`, which differs in white space or case" if alike is not None else ""
        raise BadRow(field, f"the column `{column}` is missing{told}")
    return value


def look_up(row: dict[str, Any], column: str) -> Any:
    """The value of a column, or None; a dotted name that is no column reaches into nested values."""
    if column in row or "." not in column:
        return row.get(column)
    return _reach(row, column.split("."))


def _reach(value: Any, parts: Sequence[str]) -> Any:
    for part in parts:
        if isinstance(value, dict):
            value = value.get(part)
        elif isinstance(value, (list, tuple)) and part.isdecimal() and int(part) < len(value):
            value = value[int(part)]
        else:
            return None
    return value


def _check_unicode(example: Example) -> None:
    r"""Refuses half surrogate pairs (`\ud83d` on its own in JSON), which no tokenizer and no file takes."""
    for field in ("text", "messages", "tools", "columns"):
        try:
            _encode(getattr(example, field)).encode()
        except UnicodeEncodeError as error:
            raise BadRow(field, f"holds half of a surrogate pair, {error.object[error.start]!r}") from error
