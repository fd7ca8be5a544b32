"""The formats, and which of them the first rows of a source have."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from weitiao.data.config import FormatName, SourceConfig
from weitiao.data.rows import Row, kind_of
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


def detect_format(source: SourceConfig, rows: Sequence[Row], shown: str) -> FormatName:
    """Finds the format whose fields the first rows have.

    Args:
        source: The source; its `columns` and templates count as fields, and formats that use them are preferred.
        rows: The first rows, at least one; those that are no objects are passed over.
        shown: The name of the source for the message.

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
    fitting = [
        name
        for name, fields in FORMATS.items()
        if present.issuperset(fields.required) and (name == "prompt_completion" or not made)
    ]
    if fitting == ["text"] and "text" not in asked and len(names) > 1:
        # A table of `text` and `category` is hardly ever meant as raw text, and training would run all the same.
        fitting = []
    if not fitting:
        raise _no_format(source, names, shown)
    return max(fitting, key=lambda name: len(asked.intersection(FORMATS[name].all)))


def _no_format(source: SourceConfig, names: Sequence[str], shown: str) -> DataError:
    with_columns = f" with `columns` for {', '.join(source.columns)}" if source.columns else ""
    two = names if len(names) == 2 else ("NAME", "NAME")
    raw = "; if it is raw text, set `format: text`" if "text" in names else ""
    return DataError(
        f"{shown}: no format fits the columns {', '.join(map(str, names))}{with_columns}.",
        f"Say what they mean, for example `columns: {{prompt: {two[0]}, completion: {two[1]}}}`, or with the templates "
        f"`prompt` and `completion`{raw}.",
    )
