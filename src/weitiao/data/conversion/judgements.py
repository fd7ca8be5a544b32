"""Rows with one answer and a mark for good or bad, in the shapes of TRL (`label`) and LLaMA-Factory (`kto_tag`)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from weitiao.data.config import CanonicalField, SourceConfig
from weitiao.data.example import Judged
from weitiao.data.formats.detection import FORMATS, detect
from weitiao.data.formats.formats import Converter, columns_of
from weitiao.data.reading.rows import BadRow, Row, kind_of

MARKS = ("kto_tag", "label")
EXTRAS: dict[CanonicalField, str] = {"system": "system", "tools": "tools"}
"""Fields that a recipe has to ask for beside `prompt` and `completion`, and that belong to rows of this kind."""

_MEANINGS: dict[int | str, bool] = {1: True, 0: False, "true": True, "false": False, "1": True, "0": False}


class JudgedReader:
    """Turns rows with a conversation and a mark into judged answers.

    Args:
        path: The name of the source, for messages.
        rows: The first rows, columns with other names already renamed; they tell which format the conversation has.
        shown: The name of the source for the message when no format fits.

    Raises:
        DataError: The conversation has no format that is known.
    """

    def __init__(self, path: str, rows: Sequence[Row], shown: str) -> None:
        names = {name for row in rows if isinstance(row.data, dict) for name in row.data}
        self._mark = next((mark for mark in MARKS if mark in names), "label")
        bare = [Row(row.number, row.line, self._unmarked(row.data), row.problem) for row in rows]
        self._format, source = detect(SourceConfig(path=path), bare, shown)
        named = EXTRAS if self._format == "prompt_completion" else {}
        self._columns = {**named, **source.columns}
        self._convert = Converter(SourceConfig(path=path, columns=self._columns), self._format)

    def __call__(self, row: Row, row_id: str) -> Judged:
        """Converts one row.

        Args:
            row: The row as it was read; columns with other names already renamed.
            row_id: The identity that the judged answer gets.

        Raises:
            BadRow: The row could not be read, the mark is no truth value, a field is missing, empty or of another
                type, or no turn comes before the answer.
        """
        data = columns_of(row)
        label = self._label(data)
        example = self._convert(Row(row.number, row.line, self._unmarked(data)), row_id)
        field = FORMATS[self._format].required[-1]
        if not example.messages or example.messages[-1]["role"] != "assistant":
            raise BadRow(field, "must end with an assistant turn")
        answer = data.get(self._columns.get("completion", "completion"))
        is_list = self._format == "prompt_completion" and isinstance(answer, list)
        size = len(answer) if is_list and answer is not None else 1
        prompt, completion = example.messages[:-size], example.messages[-size:]
        if not prompt:
            raise BadRow(field, "no turn comes before the answer")
        return Judged(row_id, prompt, completion, label, tools=example.tools, columns=example.columns)

    def _unmarked(self, data: Any) -> Any:
        return {name: value for name, value in data.items() if name != self._mark} if isinstance(data, dict) else data

    def _label(self, data: dict[str, Any]) -> bool:
        value = data.get(self._mark)
        if value is None:
            there = self._mark in data
            raise BadRow(self._mark, "is null" if there else f"the column `{self._mark}` is missing")
        known = value.strip().lower() if isinstance(value, str) else value
        if not isinstance(known, (int, str)) or known not in _MEANINGS:
            said = f"`{value}`" if isinstance(value, (str, int)) else kind_of(value)
            raise BadRow(self._mark, f"must be true or false, is {said}")
        return _MEANINGS[known]


def is_mark(value: Any) -> bool:
    """Whether a value can only be a mark for good or bad: true or false, also as text."""
    return isinstance(value, bool) or (isinstance(value, str) and value.strip().lower() in ("true", "false"))
