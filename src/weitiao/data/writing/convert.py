"""`weitiao data convert`: the rows of a file in another format, in another kind of file."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

from weitiao.console import quoted
from weitiao.data.conversion.learned import Pairs
from weitiao.data.conversion.records import RECORD_FORMATS, Input, Opened, RecordFormat
from weitiao.data.conversion.targets import Layout, adapted, check_formats, has_text_form, reserved, to_row
from weitiao.data.conversion.turns import has_joined_input
from weitiao.data.example import Example, Judged, Record
from weitiao.data.reading.files import PlacedRow
from weitiao.data.reading.rows import BadRow
from weitiao.data.writing.rejected import OnRow, RejectedRows, Written, refuse_inputs, silent
from weitiao.data.writing.spool import Spool, Write
from weitiao.data.writing.writing import file_format, row_writer
from weitiao.errors import DataError, Phrase
from weitiao.paths import user_path

_WITH_TEXT_FORM = ("prompt_completion", "preference", "kto")


@dataclass(slots=True)
class Conversion(Written):
    """What a conversion did.

    Attributes:
        source: The input, as messages print it.
        kind: What kind of file it is.
        source_format: What its columns mean.
        output: The file that was written.
        format: What the columns of the output mean.
        rows_read, rows_written: Numbers of rows; they differ where one row gives two, or two give one.
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
    rows_read: int = 0
    rows_written: int = 0
    left_out_bad: int = 0
    left_out_columns: dict[str, int] = field(default_factory=Counter)
    joined_inputs: int = 0


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
    done = Conversion(opened.shown, opened.kind, source, str(output), target)
    job = _Job(opened, source, target, kind, done, on_row)
    layout = job.layout(turns=turns)
    with (
        RejectedRows(rejected_path, skip=skip_bad_rows) as rejected,
        row_writer(output, format=kind) as write,
    ):
        job.run(layout, write, rejected, output.parent)
        if job.alone and job.alone == rejected.count and not skip_bad_rows:
            raise job.without_partner(output)
        rejected.stop()
        if not done.rows_written:
            raise DataError(
                Phrase(
                    "{path}: none of its {count:,} rows can be written as {format}{first}.",
                    path=opened.shown,
                    count=done.rows_read,
                    format=target,
                    first=Phrase("; {first}", first=rejected.first[0].sentence()) if rejected.first else "",
                ),
                "Check --from and --column, which say what the columns mean.",
            )
    return replace(done, left_out_columns=dict(done.left_out_columns), **rejected.told(opened.findings()))


class _Job:
    """One conversion, which counts what it does in `done`."""

    def __init__(
        self, opened: Opened, source: RecordFormat, target: RecordFormat, kind: str, done: Conversion, on_row: OnRow
    ) -> None:
        self._opened = opened
        self._target = target
        self._reserved = reserved(target)
        self._kind = kind
        self._done = done
        self._on_row = on_row
        self._reader = opened.reader(source)
        self._pairing = (source, target) == ("kto", "preference")
        self.alone = 0

    def layout(self, *, turns: bool) -> Layout:
        """Text where all rows can be written as text, for a column of texts and lists has no type; a CSV has text."""
        if self._target in _WITH_TEXT_FORM and self._kind != "csv" and not turns:
            turns = not all(has_text_form(record) for record in self._usable())
        return Layout(self._target, turns=turns and self._kind != "csv", uniform=self._kind == "parquet")

    def run(self, layout: Layout, write: Write, rejected: RejectedRows, folder: Path) -> None:
        """Reads, converts and writes all rows."""
        for placed, records in self._records(rejected, folder):
            try:
                rows = [(record, to_row(record, layout)) for record in records]
                for record, row in rows:
                    self._write(record, row, write)
                self._done.left_out_bad += not rows
            except BadRow as problem:
                rejected.add(placed.file, placed.row, problem)

    def _records(self, rejected: RejectedRows, folder: Path) -> Iterator[tuple[PlacedRow, Sequence[Record]]]:
        """What each row, or each pair of rows, gives to write."""

        def reject_alone(placed: PlacedRow, problem: BadRow) -> None:
            self.alone += 1
            rejected.add(placed.file, placed.row, problem)

        with Spool(folder) as waiting:
            pairs = Pairs(cast(Callable[[PlacedRow], Judged], self._reader), waiting)
            for placed in self._opened.rows():
                self._done.rows_read += 1
                self._on_row("converting", self._done.rows_read)
                try:
                    if self._pairing:
                        pairs.add(placed)
                    else:
                        yield placed, adapted(self._reader(placed), self._target)
                except BadRow as problem:
                    rejected.add(placed.file, placed.row, problem)
            for placed, pair in pairs.pairs(reject_alone):
                yield placed, (pair,)

    def without_partner(self, output: Path) -> DataError:
        """The error for judged answers of which there is only a good, or only a bad one."""
        found, command = self._opened.shown, f"weitiao data convert {quoted(self._opened.given.path)} {quoted(output)}"
        others = "--on-bad-rows skip for the other rows, which have one" if self._done.rows_written else ""
        return DataError(
            f"{found}: {self.alone:,} of its {self._done.rows_read:,} rows have no partner: a preference takes a good "
            "and a bad answer to the same prompt.",
            f"Keep the good answers as examples: {command} --to messages"
            + (f"; or add {others}." if others else "; or give judged answers of which two have one prompt."),
        )

    def _usable(self) -> Iterator[Record]:
        """What can be read, for a first look; bad rows are named when the rows are written."""
        for number, placed in enumerate(self._opened.rows(), start=1):
            self._on_row("looking", number)
            try:
                record = self._reader(placed)
            except BadRow:
                continue
            yield from (record,) if self._pairing else adapted(record, self._target)

    def _write(self, record: Record, fields: dict[str, Any], write: Write) -> None:
        kept = {name: value for name, value in record.columns.items() if name not in self._reserved}
        write({**fields, **kept})
        self._done.rows_written += 1
        for name in record.columns.keys() - kept.keys():
            self._done.left_out_columns[name] += 1
        if self._target != "alpaca":
            turns = record.messages if isinstance(record, Example) else record.prompt
            self._done.joined_inputs += any(map(has_joined_input, turns))


def _known(format: str) -> RecordFormat:
    if format not in RECORD_FORMATS:
        raise DataError(f"There is no format `{format}` to write.", f"Formats are: {', '.join(RECORD_FORMATS)}.")
    return cast(RecordFormat, format)
