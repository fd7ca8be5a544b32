"""What the columns of rows of any format mean, preferences and judged answers included, and files of such rows."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, cast, get_args

from pydantic import ValidationError

from weitiao.console import quoted
from weitiao.data.config import CanonicalField, FormatName, SourceConfig
from weitiao.data.conversion.compared import EXTRAS, MARKS, JudgedReader, PreferenceReader, is_mark
from weitiao.data.conversion.steps import STEP_FIELDS, step_reader
from weitiao.data.example import ANSWERS, STEPS, Record, Rows
from weitiao.data.formats.detection import FORMATS, SIDES, Detected, detect, proposal
from weitiao.data.formats.formats import Converter, look_up
from weitiao.data.reading.files import OpenedSource, PlacedRow, objects_of
from weitiao.data.reading.paths import resolve_sources
from weitiao.data.reading.rows import Row
from weitiao.errors import DataError

ComparedFormat = Literal["preference", "kto", "stepwise"]
RecordFormat = FormatName | ComparedFormat
"""What the columns of a row can mean together."""

RECORD_FORMATS: tuple[str, ...] = (*get_args(FormatName), *get_args(ComparedFormat))
_CONVERSATION_FIELDS = frozenset(name for fields in FORMATS.values() for name in fields.all) - {"text"}
FIELDS_OF_COMPARED = {
    "preference": _CONVERSATION_FIELDS | set(SIDES),
    "kto": _CONVERSATION_FIELDS | set(MARKS),
    "stepwise": frozenset(("prompt", *STEP_FIELDS, *EXTRAS)),
}

Reader = Callable[[Row, str], Record]
"""Turns a row, and the identity that it gets, into its canonical form, or raises `BadRow`."""


def compared_format(objects: Sequence[dict[str, Any]], *, labelled: bool = True) -> ComparedFormat | None:
    """Whether rows compare two answers, have an answer and a mark for good or bad, or one in steps; None for others.

    A `label` that is neither true nor false is the name of a class.

    Args:
        objects: The first rows, columns with other names already renamed.
        labelled: Whether steps have to have labels.
    """
    names = {name for row in objects for name in row}
    if names.issuperset(SIDES):
        return "preference"
    if names.issuperset(("prompt", *STEP_FIELDS[: 1 + labelled])):
        return "stepwise"
    if not any(names.issuperset(FORMATS[format].required) for format in FORMATS if format != "text"):
        return None
    marks = [row["label"] for row in objects if row.get("label") is not None]
    return "kto" if "kto_tag" in names or (marks and all(map(is_mark, marks))) else None


def rows_in(opened: OpenedSource) -> Rows:
    """What a file's first rows are, for whoever takes any rows that have an answer: of two answers the better one."""
    kind = compared_format(objects_of(opened.head), labelled=False)
    if kind is None:
        return ANSWERS
    return {"preference": Rows("pair"), "kto": Rows("mark"), "stepwise": Rows("step", labelled=False)}[kind]


def compared_reader(format: RecordFormat, path: str, head: Sequence[Row], shown: str, rows: Rows = STEPS) -> Reader:
    """What reads preferences, judged answers or such in steps (as `rows` says); `head` are the first rows, columns with
    other names already renamed."""
    if format == "stepwise":
        return step_reader(path, rows)
    return PreferenceReader(path) if format == "preference" else JudgedReader(path, head, shown)


def renamed(row: Row, columns: Mapping[Any, str]) -> Row:
    """The row with its columns under the names of their fields.

    Args:
        row: As it was read.
        columns: Field to column.
    """
    if not columns or not isinstance(row.data, dict):
        return row
    values = {name: look_up(row.data, column) for name, column in columns.items()}
    rest = {name: value for name, value in row.data.items() if name not in columns.values()}
    return replace(row, data={**rest, **{k: v for k, v in values.items() if v is not None}})


@dataclass(frozen=True, slots=True)
class Input:
    """A file, a directory or a hub data set, and what its columns mean.

    Attributes:
        path: As in a recipe; a relative one is looked up in the current directory.
        format: One of `RECORD_FORMATS`, or `auto`.
        columns: Names of columns that differ from the format's own, from field to column.
        templates: Jinja templates by what they make: `prompt`, `system`, `completion`.
        subset, split, limit: As in a recipe.
    """

    path: str
    format: str = "auto"
    columns: Mapping[str, str] = field(default_factory=dict)
    templates: Mapping[str, str] = field(default_factory=dict)
    subset: str | None = None
    split: str | None = None
    limit: int | None = None


class Opened(OpenedSource):
    """An input that was looked at. Every pass over it reads it anew, one row at a time.

    Args:
        given: The input.

    Raises:
        DataError: There is no such data, it cannot be read or has no rows, or the settings do not go together.
    """

    def __init__(self, given: Input) -> None:
        self.given = given
        super().__init__(_source(given))

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns of the first rows that are objects, in their order."""
        return tuple(dict.fromkeys(name for row in objects_of(self.head) for name in row))

    def format(self) -> RecordFormat:
        """What the columns mean, as it was given or as the first rows show.

        Raises:
            DataError: No format fits.
        """
        if self.given.format in RECORD_FORMATS:
            return cast(RecordFormat, self.given.format)
        if not self.given.templates:
            compared = compared_format(objects_of([renamed(row, self.given.columns) for row in self.head]))
            if compared is not None:
                return compared
        self._example_source("auto")  # what is wrong with the settings has a remedy of its own
        try:
            return self._detected.format
        except DataError as error:
            if not self.columns:
                raise
            means = proposal(objects_of(self.head)).items()
            remedy = " ".join(f"--column {quoted(f'{field}={column}')}" for field, column in means)
            raise DataError(error.what, f"Say what they mean, for example {remedy}.") from error

    @cached_property
    def _detected(self) -> Detected:
        """What the first rows show of the columns of an example."""
        return detect(self._example_source("auto"), self.head, self.shown)

    def format_or_none(self) -> RecordFormat | None:
        """What the columns mean, or None when the rows have columns, but no format fits and nothing else was said.

        Raises:
            DataError: What was said about the columns is wrong, or the rows are no objects.
        """
        given = self.given
        try:
            return self.format()
        except DataError:
            if given.format != "auto" or given.columns or given.templates or not self.columns:
                raise
            return None

    def reader(self, format: RecordFormat) -> Callable[[PlacedRow], Record]:
        """What turns a row into its canonical form, or raises `BadRow`.

        Raises:
            DataError: The settings do not go together with the format.
        """
        if format in FIELDS_OF_COMPARED:
            self._check_columns(format)
            head = [renamed(row, self.given.columns) for row in self.head]
            compared = compared_reader(format, self.config.path, head, self.shown)
            return lambda placed: compared(renamed(placed.row, self.given.columns), placed.row_id)
        source = self._detected.source if self.given.format == "auto" else self._example_source(format)
        convert = Converter(source, cast(FormatName, format))
        return lambda placed: convert(placed.row, placed.row_id)

    def _check_columns(self, format: RecordFormat) -> None:
        if self.given.templates:
            raise DataError(f"{self.shown}: templates cannot make {format} rows.", "Remove the templates.")
        unknown = sorted(set(self.given.columns) - FIELDS_OF_COMPARED[format])
        if unknown:
            raise _unknown_columns(self.shown, unknown, format, sorted(FIELDS_OF_COMPARED[format]))

    def _example_source(self, format: str) -> SourceConfig:
        values = {"format": format, "columns": dict(self.given.columns), **self.given.templates}
        try:
            return SourceConfig.model_validate({**self.config.model_dump(), **values})
        except ValidationError as error:
            problem = error.errors()[0]
            if problem["loc"][:1] == ("columns",):
                known = sorted(get_args(CanonicalField))
                raise _unknown_columns(self.shown, [str(problem["loc"][1])], format, known) from error
            where = f" {'.'.join(map(str, problem['loc']))}:" if problem["loc"] else ""
            message = problem["msg"].removeprefix("Value error, ")
            raise DataError(f"{self.shown}:{where} {message}.", "Correct the setting.") from error


def named_columns(entries: Sequence[str]) -> dict[str, str]:
    """The columns from what stands on a command line: `field=column` each.

    Raises:
        DataError: One is not written in this way.
    """
    pairs = [entry.partition("=") for entry in entries]
    for entry, (name, _, column) in zip(entries, pairs, strict=True):
        if not (name and column):
            raise DataError(f"`{entry}` names no column.", "Write field=column, for instance prompt=question.")
    return {name: column for name, _, column in pairs}


def _source(given: Input) -> SourceConfig:
    if given.format != "auto" and given.format not in RECORD_FORMATS:
        known = ", ".join(RECORD_FORMATS)
        raise DataError(f"{given.path}: there is no format `{given.format}`.", f"Formats are: auto, {known}.")
    source = SourceConfig(path=given.path, subset=given.subset, split=given.split, limit=given.limit)
    return resolve_sources((source,), (Path.cwd(),))[0]


def _unknown_columns(shown: str, unknown: Sequence[str], format: str, known: Sequence[str]) -> DataError:
    return DataError(
        f"{shown}: no field of the format {format} is called {', '.join(unknown)}.",
        f"Its fields are: {', '.join(known)}.",
    )
