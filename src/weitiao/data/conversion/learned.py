"""Rows of the kind that an objective takes, as examples: comparisons, judged answers, answers with a number."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

from weitiao.console import quoted
from weitiao.data.config import SourceConfig
from weitiao.data.conversion.records import ComparedFormat, Reader, compared_format, compared_reader, renamed
from weitiao.data.conversion.steps import LEARN_STEPS
from weitiao.data.example import Example, Judged, Preference, Record, Rows, as_answer
from weitiao.data.parts.asked import digest
from weitiao.data.reading.files import OpenedSource, PlacedRow, objects_of
from weitiao.data.reading.rows import BadRow, Row, kind_of
from weitiao.data.writing.spool import Spool
from weitiao.errors import DataError

_FORMATS: dict[str, ComparedFormat] = {"pair": "preference", "mark": "kto", "step": "stepwise"}
_LACKS = {
    "pair": "a better and a worse answer, in columns `chosen` and `rejected`",
    "mark": "an answer and a column `label` (or `kto_tag`) that is true or false",
    "step": "a `prompt`, and the steps of an answer and their labels as lists in columns `completions` and `labels`",
}
_NOT_FOR_COMPARED = ("prompt", "system", "completion", "roles")

ToExample = Callable[[Row, str], Example]
"""Turns a row, and the identity that it gets, into an example, or raises `BadRow`."""


def compared_rows(opened: OpenedSource, rows: Rows) -> tuple[str, ToExample]:
    """What reads the rows of a source that compare answers or judge them.

    Args:
        opened: The source.
        rows: Which rows are wanted; those of `answer` are not read here.

    Returns:
        The name of the format, and what turns a row into an example.

    Raises:
        DataError: The source has rows of another kind, or settings that belong to such.
    """
    source, shown, wanted = opened.config, opened.shown, _FORMATS[rows.record]
    head = [renamed(row, source.columns) for row in opened.head]
    found = compared_format(objects_of(head), labelled=rows.labelled)
    if found != wanted:
        remedy = "Name the columns with `columns`, or choose objective: sft."
        if found is not None and wanted != "stepwise":
            convert = f"Convert them: weitiao data convert {quoted(shown)} {wanted}.jsonl --to {wanted}"
            remedy = LEARN_STEPS if found == "stepwise" else convert
        raise DataError(
            f"{shown}: the objective learns from rows with {_LACKS[rows.record]}, and these have none.",
            remedy,
        )
    if given := [name for name in ("format", *_NOT_FOR_COMPARED) if getattr(source, name) != _default(name)]:
        raise DataError(f"{shown}: {wanted} rows are read without `{given[0]}`.", f"Remove `{given[0]}`.")
    read = compared_reader(wanted, shown, head, shown, rows)
    return wanted, lambda row, row_id: _as_example(read, renamed(row, source.columns), row_id, rows)


def with_numbers(convert: ToExample, rows: Rows) -> ToExample:
    """Reads the columns of a conversation's row that hold numbers, too."""
    if not rows.numbers:
        return convert

    def read(row: Row, row_id: str) -> Example:
        example = convert(row, row_id)
        if not example.messages:
            raise BadRow("", "is raw text, which has no answer to be scored")
        return replace(as_answer(example), numbers=_numbers(example.columns, rows))

    return read


def _as_example(read: Reader, row: Row, row_id: str, rows: Rows) -> Example:
    record: Record = read(row, row_id)
    numbers = _numbers(record.columns, rows)
    given: dict[str, Any] = {"tools": record.tools, "columns": record.columns, "given": 0, "numbers": numbers}
    match record:
        case Example():
            return record
        case Preference():
            turns = (*record.prompt, *record.chosen)
            return Example(row_id, turns, **given | {"rejected": record.rejected, "given": len(record.prompt)})
        case Judged():
            given |= {"given": len(record.prompt), "numbers": {**numbers, "mark": 1.0 if record.label else -1.0}}
            return Example(row_id, (*record.prompt, *record.completion), **given)


def _numbers(columns: dict[str, Any], rows: Rows) -> dict[str, float]:
    found = {}
    for name, column in rows.numbers.items():
        value = columns.get(column)
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise BadRow(column, "is missing" if value is None else f"must be a number, is {kind_of(value)}")
        found[name] = float(value)
    return found


def _default(name: str) -> Any:
    field = SourceConfig.model_fields[name]
    return field.get_default(call_default_factory=True)


Reject = Callable[[PlacedRow, BadRow], object]


class Pairs:
    """Collects judged answers, then gives preferences; holds a digest and a number per row in memory.

    Args:
        read: Turns a row into a judged answer.
        waiting: Where rows wait.
    """

    def __init__(self, read: Callable[[PlacedRow], Judged], waiting: Spool) -> None:
        self._read = read
        self._rows = waiting
        self._of_prompt: dict[bytes, list[int]] = {}

    def add(self, placed: PlacedRow) -> Judged:
        """Takes a row.

        Raises:
            BadRow: It is no judged answer.
        """
        judged = self._read(placed)
        self._rows.append([placed.file, placed.row_id, placed.row.number, placed.row.line, placed.row.data])
        number = len(self._rows) - 1
        key = digest([judged.prompt, judged.tools])
        # A bad answer is marked by the complement of its number.
        self._of_prompt.setdefault(key, []).append(number if judged.label else ~number)
        return judged

    def pairs(self, reject: Reject) -> Iterator[tuple[PlacedRow, Preference]]:
        """The first good answer to a prompt with the first bad one, the second with the second, ..., in the order in
        which the first row of each pair stands.

        Args:
            reject: Gets every row that has no partner.

        Yields:
            The row of the good answer, and the preference.
        """
        found: list[tuple[int, int]] = []
        alone: list[tuple[int, str]] = []
        for numbers in self._of_prompt.values():
            good, bad = [n for n in numbers if n >= 0], [~n for n in numbers if n < 0]
            found += zip(good, bad, strict=False)
            alone += [(n, "bad") for n in good[len(bad) :]] + [(n, "good") for n in bad[len(good) :]]
        for number, missing in sorted(alone):
            reason = f"has no partner: no other row has a {missing} answer to this prompt"
            reject(self._placed(number), BadRow("", reason))
        for good_number, bad_number in sorted(found, key=min):
            placed = self._placed(good_number)
            yield placed, _pair(self._read(placed), self._read(self._placed(bad_number)))

    def _placed(self, number: int) -> PlacedRow:
        file, row_id, row, line, data = self._rows[number]
        return PlacedRow(file, row_id, Row(row, line, data))


def _pair(good: Judged, bad: Judged) -> Preference:
    columns = {k: v for k, v in good.columns.items() if k in bad.columns and bad.columns[k] == v}
    return Preference(good.row_id, good.prompt, good.completion, bad.completion, tools=good.tools, columns=columns)
