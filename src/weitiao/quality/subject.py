"""A row as a check looks at it: turns, input and answer, and what kept it from being read."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, cast

from weitiao.data.config import FormatName
from weitiao.data.conversion.records import FIELDS_OF_COMPARED
from weitiao.data.conversion.targets import adapted
from weitiao.data.example import Example, Judged, Message, Preference
from weitiao.data.formats.conversations import role_of
from weitiao.data.formats.formats import Converter
from weitiao.data.parts.asked import Asked, RawInput, asked_in, asked_text
from weitiao.data.reading.opening import BAD_BYTES, NOT_UTF8
from weitiao.data.reading.rows import BadRow, Row
from weitiao.quality.findings import Problem
from weitiao.quality.meaning import ANSWER_COLUMN, TEXT_COLUMN, Meaning

_ANSWER_FIELDS = ("output", "completion")


@dataclass(frozen=True)
class Subject:
    """A row to be looked at.

    Attributes:
        row: The row as it was read.
        example: What it means, if it can be used.
        messages: Its turns; without the answer, where that cannot be read.
        text: Raw text, where the row is that.
        problem: Why it cannot be used, if it cannot.
        rejected: The turns that a row which compares two answers has instead of the last one.
        mark: Whether a judged answer is `good` or `bad`, in steps if all of them are right; empty for other rows.
        raw_input: The columns that the template of the input takes, without the template's own words; empty without
            a template.
    """

    row: Row
    example: Example | None
    messages: tuple[Message, ...]
    text: str
    problem: Problem | None
    rejected: tuple[Message, ...] = ()
    mark: str = ""
    raw_input: str = ""

    @cached_property
    def answer(self) -> str:
        """The last answer; empty when the row has none."""
        last = self.messages[-1] if self.messages else None
        return str(last["content"] or "") if last is not None and last["role"] == "assistant" else ""

    @cached_property
    def told_apart(self) -> str:
        """What tells two rows that ask the same apart: the answer, and the worse one; of a judged answer, its mark."""
        return self.mark or "\n".join((self.answer, *(str(message["content"] or "") for message in self.rejected)))

    @cached_property
    def label(self) -> str:
        """What may be a label: the answer, or the mark of a judged one."""
        return self.mark or self.answer

    @cached_property
    def inputs(self) -> tuple[str, ...]:
        """The user turns before the last answer; raw text as a whole."""
        if self.text:
            return (self.text,)
        return tuple(str(message["content"]) for message in self.messages if message["role"] == "user")

    @cached_property
    def asked(self) -> Asked | None:
        """What it asks; None where that cannot be read."""
        if self.text:
            return asked_text(self.text)
        last = self.messages[-1:] if self.messages and self.messages[-1]["role"] == "assistant" else ()
        turns = self.messages[: len(self.messages) - len(last)] or self.messages
        if not turns:
            return None
        asked = asked_in(turns, self.raw_input)
        # Of one question, several answers are judged: a row repeats another, or contradicts it, with the same answer.
        judged = asked_in(self.messages).keys[:1] if self.mark else ()
        return asked._replace(keys=(*judged, *asked.keys))

    def texts(self) -> Iterator[tuple[str, str, str]]:
        """Role, field and text of each turn; raw text has the role `text`."""
        if self.text:
            yield "text", "text", self.text
        for index, message in enumerate(self.messages):
            if message["content"]:
                yield message["role"], f"turn {index + 1} ({message['role']})", str(message["content"])
        for message in self.rejected:
            if message["content"]:
                yield "rejected", f"rejected ({message['role']})", str(message["content"])


class SubjectReader:
    """Turns the rows of one source into subjects.

    Args:
        meaning: What its columns mean.
    """

    def __init__(self, meaning: Meaning) -> None:
        self._meaning = meaning
        self._raw_input = RawInput(meaning.source.prompt)
        self._convert = meaning.read
        self._without_answer: Converter | None = None
        if meaning.format in FIELDS_OF_COMPARED:
            return
        format = cast(FormatName, meaning.format)
        update: dict[str, Any] = {"columns": {**meaning.source.columns, meaning.answer_field: ANSWER_COLUMN}}
        if format == "prompt_completion":
            update["completion"] = None
        self._without_answer = Converter(meaning.source.model_copy(update=update), format)

    def __call__(self, row: Row, row_id: str = "") -> Subject:
        """Reads one row.

        Args:
            row: The row.
            row_id: The identity that the example gets.
        """
        problem = None
        if row.problem:
            kind = "encoding" if row.problem.startswith(NOT_UTF8) else "format"
            problem = Problem(kind, f"the row {row.problem}")
            if not isinstance(row.data, dict):
                return Subject(row, None, (), "", problem)
            # The bytes that were not UTF-8 go, so that all checks can read the rest.
            row = replace(row, data=mapped(row.data, lambda text: BAD_BYTES.sub("", text)), problem="")
        row = self._prepared(row)
        raw = self._raw_input(row.data)
        try:
            record = self._convert(row, row_id)
        except BadRow as bad:
            return Subject(row, None, self._given(row), "", problem or _as_problem(bad), raw_input=raw)
        mark = ("bad", "good")[record.label] if isinstance(record, Judged) else ""
        (example,) = adapted(replace(record, label=True) if isinstance(record, Judged) else record, "messages")
        assert isinstance(example, Example)
        if example.steps:
            mark = "good" if all(label >= 0.5 for _, label in example.steps) else "bad"
        messages = example.messages if self._meaning.has_answers else example.messages[:-1]
        rejected = record.rejected if isinstance(record, Preference) else ()
        return Subject(row, None if problem else example, messages, example.text, problem, rejected, mark, raw)

    def _prepared(self, row: Row) -> Row:
        """The row with what the format does not know: all its text, or an answer that it need not have."""
        if not isinstance(row.data, dict):
            return row
        if self._meaning.answer_column == TEXT_COLUMN:
            return replace(row, data={**row.data, TEXT_COLUMN: " ".join(_strings(row.data))})
        if not self._meaning.has_answers:
            return replace(row, data={**row.data, ANSWER_COLUMN: "-"})
        return row

    def _given(self, row: Row) -> tuple[Message, ...]:
        """What a model would be given by a row whose answer cannot be read; nothing if that cannot be read either."""
        if not isinstance(row.data, dict) or self._meaning.format == "text" or self._without_answer is None:
            return ()
        answer: Any = "-"
        if self._meaning.format in ("messages", "sharegpt"):
            turns = row.data.get(self._meaning.answer_column)
            if not isinstance(turns, (list, tuple)):
                return ()
            answer = [*(turn for turn in turns if not _is_empty_answer(turn)), {"role": "assistant", "content": "-"}]
        try:
            return self._without_answer(replace(row, data={**row.data, ANSWER_COLUMN: answer}), "").messages[:-1]
        except BadRow:
            return ()


def _as_problem(bad: BadRow) -> Problem:
    field, reason = bad.field, bad.reason
    where = f"the field `{field}` " if field else ""
    if reason == "the answer is empty" or (reason == "is null" and field in _ANSWER_FIELDS):
        return Problem("empty_answer", "the answer is empty" if reason != "is null" else "the answer is null", field)
    if "no assistant turn" in reason or "must end with an assistant turn" in reason:
        return Problem("role_order", reason, field)
    if "surrogate" in reason:
        return Problem("encoding", f"{where}holds half of a surrogate pair", field)
    return Problem("format", f"{where}{reason}", field)


def mapped(value: Any, change: Callable[[str], str]) -> Any:
    """The same value with a change of every text in it."""
    if isinstance(value, str):
        return change(value)
    if isinstance(value, list):
        return [mapped(item, change) for item in value]
    if isinstance(value, dict):
        return {key: mapped(item, change) for key, item in value.items()}
    return value


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for item in value.values():
            yield from _strings(item)
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from _strings(item)


def _is_empty_answer(turn: Any) -> bool:
    if not isinstance(turn, dict) or role_of(turn.get("role") or turn.get("from")) != "assistant":
        return False
    content = turn.get("content", turn.get("value"))
    return content is None or (isinstance(content, str) and not content.strip())
