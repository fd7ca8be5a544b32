"""What the columns of rows of any format mean, preferences and judged answers included, and what reads them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal, get_args

from weitiao.data.config import FormatName, SourceConfig
from weitiao.data.conversion.judgements import MARKS, JudgedReader, is_mark
from weitiao.data.conversion.preferences import PreferenceReader
from weitiao.data.example import Record
from weitiao.data.formats.detection import FORMATS, SIDES
from weitiao.data.formats.formats import Converter
from weitiao.data.reading.rows import Row

RecordFormat = FormatName | Literal["preference", "kto"]
"""What the columns of a row can mean together."""

RECORD_FORMATS: tuple[str, ...] = (*get_args(FormatName), "preference", "kto")
_CONVERSATION_FIELDS = frozenset(name for fields in FORMATS.values() for name in fields.all) - {"text"}
FIELDS_OF_COMPARED = {"preference": _CONVERSATION_FIELDS | set(SIDES), "kto": _CONVERSATION_FIELDS | set(MARKS)}

Reader = Callable[[Row, str], Record]
"""Turns a row, and the identity that it gets, into its canonical form, or raises `BadRow`."""


def compared_format(objects: Sequence[dict[str, Any]]) -> Literal["preference", "kto"] | None:
    """Whether rows compare two answers, or have an answer and a mark for good or bad; None for other rows.

    A `label` that is neither true nor false is the name of a class.

    Args:
        objects: The first rows, columns with other names already renamed.
    """
    names = {name for row in objects for name in row}
    if names.issuperset(SIDES):
        return "preference"
    if not any(names.issuperset(FORMATS[format].required) for format in FORMATS if format != "text"):
        return None
    marks = [row["label"] for row in objects if row.get("label") is not None]
    return "kto" if "kto_tag" in names or (marks and all(map(is_mark, marks))) else None


def reader_of(source: SourceConfig, format: RecordFormat, head: Sequence[Row], shown: str) -> Reader:
    """What reads the rows of a source.

    Args:
        source: The source; its columns and templates count for the formats of examples.
        format: What the columns mean.
        head: The first rows. In the formats that compare or judge, columns with other names are already renamed.
        shown: The name of the source for messages.

    Raises:
        DataError: The settings do not go together with the format, or judged answers have none that is known.
    """
    match format:
        case "preference":
            return PreferenceReader(source.path)
        case "kto":
            return JudgedReader(source.path, head, shown)
        case _:
            return Converter(source, format)
