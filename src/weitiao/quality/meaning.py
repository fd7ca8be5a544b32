"""What the columns of a file mean where no recipe says so: enough to tell input from answer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

from weitiao.data.config import FormatName, SourceConfig
from weitiao.data.conversion.records import FIELDS_OF_COMPARED, Reader, RecordFormat, compared_format, compared_reader
from weitiao.data.formats.detection import FORMATS, SIDES, detect, holds
from weitiao.data.formats.formats import Converter
from weitiao.data.reading.rows import Row
from weitiao.errors import DataError

ANSWER_COLUMN = "\0answer"
"""Stands for an answer that a row does not have, so that the rest of the row can be looked at."""
TEXT_COLUMN = "\0text"
"""Stands for all text of a row that has no columns of a known meaning."""

_INPUTS = ("prompt", "question", "query", "instruction", "input", "text", "sentence", "utterance", "message", "content")
_OUTPUTS = (
    "completion", "answer", "output", "response", "std_answer", "solution", "target", "label", "category", "intent",
    "class", "chosen",
)  # fmt: skip


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
            return "chosen" if self.format == "preference" else "completion"
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
        if not said and (compared := compared_format(objects)) is not None:
            return Meaning(source, compared, compared_reader(compared, source.path, head, shown), note=compared)
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
        return FIELDS_OF_COMPARED[meaning.format]
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
        others = [name for name in names if name != wanted and isinstance(objects[0].get(name), str)]
        given = next((name for name in _INPUTS if name in others), others[0] if others else None)
    if given is None:
        raise DataError(f"{shown}: no column holds text beside `{wanted}`.", "Name the input: --input COLUMN.")
    return _pair(source, objects, given, wanted)


def _pair(source: SourceConfig, objects: Sequence[dict[str, Any]], given: str, wanted: str | None) -> Meaning:
    """Input and answer in a column each; an answer that is a number or the like is written as text."""
    columns = {"prompt": given, "completion": wanted if wanted is not None else ANSWER_COLUMN}
    completion = None
    if wanted is not None and not any(isinstance(row.get(wanted), (str, type(None))) for row in objects):
        completion = "{{ row[" + repr(wanted) + "] }}"
        del columns["completion"]
    note = f"input `{given}`" + (f", answer `{wanted}`" if wanted is not None else ", no answers")
    # A column named `prompt` may hold turns: `format` says that it is the prompt all the same.
    update = {"columns": columns, "completion": completion, "format": "prompt_completion"}
    read = Converter(source := source.model_copy(update=update), "prompt_completion")
    return Meaning(source, "prompt_completion", read, has_answers=wanted is not None, note=note)


def _guess(source: SourceConfig, objects: Sequence[dict[str, Any]]) -> Meaning:
    names = list(dict.fromkeys(key for row in objects for key in row))
    texts = [name for name in names if holds(objects, name, (str,))]
    scalars = [name for name in names if holds(objects, name, (str, int, float, bool))]
    given = next((name for name in _INPUTS if name in texts), None)
    wanted = next((name for name in _OUTPUTS if name in scalars and name != given), None)
    if given is not None:
        return _pair(source, objects, given, wanted or _label_column(objects, scalars, given))
    if len(texts) == 2:
        label = next((name for name in texts if _has_few_values(objects, name)), texts[1])
        return _pair(source, objects, next(name for name in texts if name != label), label)
    if wanted is not None and len(texts) > 1:
        longest = max((name for name in texts if name != wanted), key=lambda name: _length(objects, name))
        return _pair(source, objects, longest, wanted)
    if len(texts) == 1:
        return _pair(source, objects, texts[0], _label_column(objects, scalars, texts[0]))
    source = source.model_copy(update={"columns": {"text": TEXT_COLUMN}, "format": "text"})
    return Meaning(source, "text", Converter(source, "text"), note="no known columns: all text of a row as one")


def _has_few_values(objects: Sequence[dict[str, Any]], name: str) -> bool:
    """Whether a column looks like labels: each value stands in four rows or more, on average."""
    values = [str(row[name]) for row in objects if row.get(name) is not None]
    return len(set(values)) * 4 <= len(values) and max(map(len, values)) <= 100


def _label_column(objects: Sequence[dict[str, Any]], scalars: Sequence[str], given: str) -> str | None:
    labels = [
        name
        for name in scalars
        if name != given and _has_few_values(objects, name) and not isinstance(objects[0].get(name), bool)
    ]
    return labels[0] if len(labels) == 1 else None


def _length(objects: Sequence[dict[str, Any]], name: str) -> int:
    return sum(len(row[name]) for row in objects if isinstance(row.get(name), str))
