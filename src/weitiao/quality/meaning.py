"""What the columns of a file mean where no recipe says so: enough to tell input from answer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

from weitiao.data.config import FormatName, SourceConfig
from weitiao.data.conversion.records import (
    FIELDS_OF_COMPARED,
    Reader,
    RecordFormat,
    compared_format,
    compared_reader,
    renamed,
)
from weitiao.data.formats.columns import find_pair
from weitiao.data.formats.detection import FORMATS, SIDES, detect
from weitiao.data.formats.formats import Converter
from weitiao.data.formats.templates import variable
from weitiao.data.reading.files import objects_of
from weitiao.data.reading.rows import Row
from weitiao.errors import DataError

ANSWER_COLUMN = "\0answer"
"""Stands for an answer that a row does not have, so that the rest of the row can be looked at."""
TEXT_COLUMN = "\0text"
"""Stands for all text of a row that has no columns of a known meaning."""


@dataclass(frozen=True, slots=True)
class Meaning:
    """How the rows of one source are understood.

    Attributes:
        source: The source, with `columns` for what was found.
        format: Its format.
        read: Turns a row into what it means, or raises `BadRow`.
        has_answers: Whether rows have an answer; evaluation prompts need none.
        note: What was found, for people.
    """

    source: SourceConfig
    format: RecordFormat
    read: Reader
    has_answers: bool = True
    note: str = ""

    @property
    def answer_field(self) -> str:
        """The field that holds the answer, among other turns or on its own."""
        if self.format in FIELDS_OF_COMPARED:
            return {"preference": "chosen", "stepwise": "completions"}.get(self.format, "completion")
        return FORMATS[cast(FormatName, self.format)].required[-1]

    @property
    def answer_column(self) -> str:
        """The column of this field."""
        return {str(field): column for field, column in self.source.columns.items()}.get(
            self.answer_field, self.answer_field
        )


def find_meaning(
    source: SourceConfig,
    head: Sequence[Row],
    shown: str,
    *,
    input_column: str | None = None,
    output_column: str | None = None,
) -> Meaning:
    """Finds out what the columns mean: from the options, the source, the known formats, then from names and values.

    Args:
        source: The source as the recipe or the command line names it.
        head: Its first rows.
        shown: Its name for messages.
        input_column: The column with the input, as the user says.
        output_column: The column with the answer, as the user says.

    Raises:
        DataError: No row can be read, or the user's column is in none of them.
    """
    objects = [row.data for row in head if isinstance(row.data, dict)]
    if input_column or output_column:
        return _as_told(source, objects, shown, input_column, output_column)
    format, found, told = source.format, source, ""
    if format == "auto":
        said = source.columns or source.prompt or source.completion
        named = [renamed(row, source.columns) for row in head]
        if not (source.prompt or source.completion) and (compared := compared_format(objects_of(named))) is not None:
            read = compared_reader(compared, source.path, named, shown)
            return Meaning(
                source, compared, lambda row, row_id: read(renamed(row, source.columns), row_id), note=compared
            )
        try:
            format, found = detect(source, list(head), shown)
        except DataError:
            if not objects or said:
                raise
            return _guess(source, objects)
        told = "" if source.columns else "".join(f", {field} `{column}`" for field, column in found.columns.items())
    return Meaning(found, format, Converter(found, format), note=f"{format}{told}")


def used_columns(meaning: Meaning) -> frozenset[str] | None:
    """The columns that the turns are made of; None for all of them."""
    if meaning.source.columns.get("text") == TEXT_COLUMN:
        return None
    if not isinstance(meaning.read, Converter):
        columns = {str(field): column for field, column in meaning.source.columns.items()}
        return frozenset(columns.get(field, field) for field in FIELDS_OF_COMPARED[meaning.format])
    return None if meaning.read.columns is None else meaning.read.columns | set(SIDES)


def _as_told(
    source: SourceConfig, objects: Sequence[dict[str, Any]], shown: str, given: str | None, wanted: str | None
) -> Meaning:
    names = list(dict.fromkeys(key for row in objects for key in row))
    for name in (given, wanted):
        if name is not None and name.split(".")[0] not in names:
            raise DataError(
                f"{shown}: the rows have no column `{name}`.", f"Their columns are {', '.join(map(str, names))}."
            )
    if given is None:
        pair = find_pair([{k: v for k, v in row.items() if k != wanted} for row in objects], guess=False)
        question = pair.question or next((one for one in pair.columns if one.is_text), None)
        if question is None:
            raise DataError(f"{shown}: no column holds text beside `{wanted}`.", "Name the input: --input COLUMN.")
        given = question.name
    return _pair(source, objects, given, wanted)


def _pair(source: SourceConfig, objects: Sequence[dict[str, Any]], given: str, wanted: str | None) -> Meaning:
    """Input and answer in a column each; an answer that is a number or the like is written as text."""
    columns = {"prompt": given, "completion": wanted if wanted is not None else ANSWER_COLUMN}
    completion = None
    if wanted is not None and not any(isinstance(row.get(wanted), (str, type(None))) for row in objects):
        completion = variable(wanted)
        del columns["completion"]
    note = f"input `{given}`" + (f", answer `{wanted}`" if wanted is not None else ", no answers")
    # A column named `prompt` may hold turns: `format` says that it is the prompt all the same.
    update = {"columns": columns, "completion": completion, "format": "prompt_completion"}
    read = Converter(source := source.model_copy(update=update), "prompt_completion")
    return Meaning(source, "prompt_completion", read, has_answers=wanted is not None, note=note)


def _guess(source: SourceConfig, objects: Sequence[dict[str, Any]]) -> Meaning:
    pair = find_pair(objects, guess=False)
    if pair.question is not None:
        return _pair(source, objects, pair.question.name, pair.answer.name if pair.answer else None)
    source = source.model_copy(update={"columns": {"text": TEXT_COLUMN}, "format": "text"})
    return Meaning(source, "text", Converter(source, "text"), note="no known columns: all text of a row as one")
