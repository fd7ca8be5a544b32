"""`weitiao data convert`: the rows of a file in another format, in another kind of file."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from weitiao.console import quoted
from weitiao.data.conversion.pairing import Pairs
from weitiao.data.conversion.records import RECORD_FORMATS, Input, Opened, PlacedRow, RecordFormat
from weitiao.data.conversion.targets import RESERVED, Layout, adapted, check_formats, has_text_form, to_row
from weitiao.data.conversion.turns import has_joined_input
from weitiao.data.example import Example
from weitiao.data.formats.preference import Judged, Record
from weitiao.data.reading.rows import BadRow
from weitiao.data.writing.rejected import OnRow, RejectedRows, bad_rows, refuse_inputs, silent
from weitiao.data.writing.writing import RowWriter, file_format, row_writer
from weitiao.errors import DataError
from weitiao.paths import user_path

_WITH_TEXT_FORM = ("prompt_completion", "preference", "kto")


@dataclass(frozen=True, slots=True)
class Conversion:
    """What a conversion did.

    Attributes:
        source: The input, as messages print it.
        kind: What kind of file it is.
        source_format: What its columns mean.
        output: The file that was written.
        format: What the columns of the output mean.
        rows_read, rows_written: Numbers of rows; they differ where one row gives two, or two give one.
        rejected: Rows that cannot be used, or that the format cannot hold.
        rejected_path: Where they are listed; None when there are none.
        left_out_bad: Answers that were judged bad and are therefore not among the examples.
        left_out_columns: Columns beside the conversation whose names the format has for something else, with the
            number of rows that had them.
        joined_inputs: alpaca rows whose `instruction` and `input` were joined to one turn.
    """

    source: str
    kind: str
    source_format: str
    output: str
    format: str
    rows_read: int
    rows_written: int
    rejected: int
    rejected_path: str | None
    left_out_bad: int
    left_out_columns: dict[str, int]
    joined_inputs: int


def convert_file(
    given: Input,
    output: Path,
    *,
    to: str | None = None,
    kind: str | None = None,
    turns: bool = False,
    skip_bad_rows: bool = False,
    rejected_path: Path | None = None,
    on_row: OnRow = silent,
) -> Conversion:
    """Writes the rows of a file in another format. Memory does not grow with the file.

    Args:
        given: The input.
        output: The file to write; its ending decides the kind of file.
        to: One of `RECORD_FORMATS`; the input's own when None.
        kind: One of `writing.FILE_FORMATS`, for an output whose ending does not tell.
        turns: Write prompts and answers as lists of turns also where text would do.
        skip_bad_rows: Leave out rows that cannot be used or that the format cannot hold, instead of stopping.
        rejected_path: Where such rows are listed; `rejected.jsonl` beside the output by default.
        on_row: Is told about progress.

    Raises:
        DataError: The input cannot be read, a row cannot be used or held (the first ones are named), the formats
            have nothing in common, or the output cannot be written.
    """
    output = user_path(output)
    kind = file_format(output, kind)
    opened = Opened(given)
    refuse_inputs(output, opened.paths)
    source = opened.format()
    target = source if to is None else _known(to)
    check_formats(source, target, opened.shown)
    rejected_path = rejected_path or output.with_name("rejected.jsonl")
    if rejected_path == output:
        raise DataError(f"{output}: is also where bad rows are listed.", "Give the output another name.")
    job = _Job(opened, source, target, kind, on_row)
    layout = job.layout(turns=turns)
    with (
        RejectedRows(rejected_path if skip_bad_rows else None) as rejected,
        row_writer(output, format=kind) as writer,
    ):
        job.run(layout, writer, rejected, output.parent)
        if rejected.count and not skip_bad_rows:
            raise job.without_partner(output) if job.alone == rejected.count else bad_rows(rejected)
        if not job.written:
            raise DataError(
                f"{opened.shown}: none of its {job.read:,} rows can be written as {target}"
                + (f"; {rejected.first[0]}." if rejected.first else "."),
                "Check --from and --column, which say what the columns mean.",
            )
    return Conversion(
        source=opened.shown,
        kind=opened.kind,
        source_format=source,
        output=str(output),
        format=target,
        rows_read=job.read,
        rows_written=job.written,
        rejected=rejected.count,
        rejected_path=str(rejected_path) if rejected.count else None,
        left_out_bad=job.left_out_bad,
        left_out_columns=dict(job.left_out_columns),
        joined_inputs=job.joined_inputs,
    )


class _Job:
    """One conversion and its counts."""

    def __init__(self, opened: Opened, source: RecordFormat, target: RecordFormat, kind: str, on_row: OnRow) -> None:
        self._opened = opened
        self._target = target
        self._kind = kind
        self._on_row = on_row
        self._reader = opened.reader(source)
        self._pairing = (source, target) == ("kto", "preference")
        self.read = self.written = self.left_out_bad = self.joined_inputs = self.alone = 0
        self.left_out_columns: Counter[str] = Counter()

    def layout(self, *, turns: bool) -> Layout:
        """Text where all rows can be written as text, for a column of texts and lists has no type; a CSV has text."""
        if self._target in _WITH_TEXT_FORM and self._kind != "csv" and not turns:
            turns = not all(has_text_form(record) for record in self._usable())
        return Layout(self._target, turns=turns and self._kind != "csv", uniform=self._kind == "parquet")

    def run(self, layout: Layout, writer: RowWriter, rejected: RejectedRows, folder: Path) -> None:
        """Reads, converts and writes all rows."""

        def reject(placed: PlacedRow, problem: BadRow) -> None:
            rejected.add(placed.file, placed.row, problem)

        def reject_alone(placed: PlacedRow, problem: BadRow) -> None:
            self.alone += 1
            reject(placed, problem)

        if self._pairing:
            with Pairs(cast(Callable[[PlacedRow], Judged], self._reader), folder) as pairs:
                for placed in self._rows():
                    try:
                        pairs.add(placed)
                    except BadRow as problem:
                        reject(placed, problem)
                for placed, pair in pairs.pairs(reject_alone):
                    try:
                        self._write(pair, to_row(pair, layout), writer)
                    except BadRow as problem:
                        reject(placed, problem)
            return
        for placed in self._rows():
            try:
                records = adapted(self._reader(placed), self._target)
                rows = [(record, to_row(record, layout)) for record in records]
                for record, row in rows:
                    self._write(record, row, writer)
                self.left_out_bad += not rows
            except BadRow as problem:
                reject(placed, problem)

    def without_partner(self, output: Path) -> DataError:
        """The error for judged answers of which there is only a good, or only a bad one."""
        found, command = self._opened.shown, f"weitiao data convert {quoted(self._opened.given.path)} {quoted(output)}"
        others = "--on-bad-rows skip for the other rows, which have one" if self.written else ""
        return DataError(
            f"{found}: {self.alone:,} of its {self.read:,} rows have no partner: a preference takes a good and a bad "
            "answer to the same prompt.",
            f"Keep the good answers as examples: {command} --to messages"
            + (f"; or add {others}." if others else "; or give judged answers of which two have one prompt."),
        )

    def _rows(self) -> Iterator[PlacedRow]:
        for placed in self._opened.rows():
            self.read += 1
            self._on_row("converting", self.read)
            yield placed

    def _usable(self) -> Iterator[Record]:
        """What can be read, for a first look; bad rows are named when the rows are written."""
        for number, placed in enumerate(self._opened.rows(), start=1):
            self._on_row("looking", number)
            try:
                record = self._reader(placed)
            except BadRow:
                continue
            yield from (record,) if self._pairing else adapted(record, self._target)

    def _write(self, record: Record, fields: dict[str, Any], writer: RowWriter) -> None:
        kept = {name: value for name, value in record.columns.items() if name not in RESERVED[self._target]}
        writer.write({**fields, **kept})
        self.written += 1
        self.left_out_columns.update(record.columns.keys() - kept.keys())
        if self._target != "alpaca":
            turns = record.messages if isinstance(record, Example) else record.prompt
            self.joined_inputs += any(map(has_joined_input, turns))


def _known(format: str) -> RecordFormat:
    if format not in RECORD_FORMATS:
        raise DataError(f"There is no format `{format}` to write.", f"Formats are: {', '.join(RECORD_FORMATS)}.")
    return cast(RecordFormat, format)
