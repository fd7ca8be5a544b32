"""CSV and TSV with a header line, read as RFC 4180 has it: quotes, doubled quotes, line breaks within quotes."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from weitiao.data.reading.csv_records import Line, Lines, Record, num_after_broken
from weitiao.data.reading.opening import data_suffix, opened, refuse_utf16, utf8_remedy, with_escapes
from weitiao.data.reading.rows import Notes, Row, shown
from weitiao.errors import DataError

_SWALLOWED = "hold, in a quoted field, lines that look like rows of their own (check the quotes)"


def read_csv(path: Path, notes: Notes) -> Iterator[Row]:
    """Reads the records below the header line; every value is text.

    Where tabs divide the fields, a quote is text as corpora have it, unless the line as it stands does not have the
    header's number of fields, the field doubles every quote in it, or the header is quoted.

    Args:
        path: A file with commas; tabs in a `.tsv`; semicolons or tabs also elsewhere when the header asks for them.
        notes: Gets records that hold what looks like other records.

    Yields:
        Rows. A record with too many or too few fields, with a broken quote or with bytes that are not UTF-8 comes with
        its problem and its raw text; what may belong to a broken record is never read as another.

    Raises:
        DataError: The file cannot be read, or its header cannot be used.
    """
    with opened(path) as binary:
        refuse_utf16(path, binary.read(4))
    with opened(path) as binary:
        stream = io.TextIOWrapper(binary, encoding="utf-8", errors="surrogateescape", newline="")
        lines = Lines(stream)
        while (first := lines.peek()) is not None and not first.text.strip():
            lines.take()
        if first is None:
            return
        delimiter = _delimiter(path, first, lines.peek(1))
        quotes_are_text = delimiter == "\t" and not first.text.startswith('"')
        header = _header(path, lines, delimiter)
        yield from _Reader(header, delimiter, lines, notes, quotes_are_text=quotes_are_text).rows()


class _Reader:
    """Reads the records of one file."""

    def __init__(
        self, header: Sequence[str], delimiter: str, lines: Lines, notes: Notes, *, quotes_are_text: bool
    ) -> None:
        self._header = header
        self._delimiter = delimiter
        self._lines = lines
        self._notes = notes
        self._quotes_are_text = quotes_are_text

    def rows(self) -> Iterator[Row]:
        number = 0
        while (first := self._lines.peek()) is not None:
            if not first.text.strip("\r\n"):
                self._lines.take()
                continue  # a blank line
            number += 1
            fields, taken, problem = self._record()
            problem = next((line.problem for line in taken if line.problem), "") or problem
            if not problem and len(fields) != len(self._header):
                problem = f"has {len(fields)} fields where the header has {len(self._header)}"
            if problem:
                yield Row(number, first.number, _raw(taken), problem)
                continue
            if len(taken) > 2 and all(self._is_whole(line) for line in taken[1:-1]):
                self._notes.add(_SWALLOWED, f"row {number}, lines {first.number} to {taken[-1].number}")
            yield Row(number, first.number, dict(zip(self._header, fields, strict=True)))

    def _record(self) -> tuple[list[str], list[Line], str]:
        """The fields of the next record, the lines that it took, and what is wrong with it."""
        taken = [self._lines.take()]
        text = taken[0].text
        if '"' not in text:
            return text.rstrip("\r\n").split(self._delimiter), taken, ""
        record = Record(self._delimiter)
        record.feed(text)
        if self._quotes_are_text and self._is_whole(taken[0]) and not (record.open and self._goes_on()):
            return [_unquoted(field) for field in text.rstrip("\r\n").split("\t")], taken, ""
        while record.open and self._lines.peek() is not None:
            taken.append(self._lines.take())
            record.feed(taken[-1].text)
        if record.open:
            lines = f": it would hold all {len(taken):,} lines to the end of the file" if len(taken) > 1 else ""
            return [], taken, f"is not valid CSV: a quoted field is never closed{lines}"
        if not record.fault:
            return record.fields, taken, ""
        if self._quotes_are_text:
            return [], taken, f"is not valid TSV: {record.fault}"
        return [], taken, f"is not valid CSV: {record.fault}{self._skip_broken(taken)}"

    def _skip_broken(self, taken: list[Line]) -> str:
        """Takes the lines that may belong to a broken record, and says how many there are."""
        count = num_after_broken(self._lines, self._delimiter)
        before = len(taken)
        while self._lines.peek() is not None and (count is None or len(taken) < before + count):
            taken.append(self._lines.take())
        more = len(taken) - before
        if not more:
            return ""
        return f"; the next {more:,} lines{', all that are left,' if count is None else ''} may be part of it"

    def _goes_on(self) -> bool:
        """Whether the next line that is not blank is no record as it stands."""
        index = 0
        while (line := self._lines.peek(index)) is not None and not line.text.strip():
            index += 1
        return line is not None and not self._is_whole(line)

    def _is_whole(self, line: Line) -> bool:
        """Whether a line has as many fields as the header when quotes mean nothing, and more than one."""
        return len(self._header) > 1 and line.text.count(self._delimiter) + 1 == len(self._header)


def _raw(lines: Sequence[Line]) -> str:
    return with_escapes("".join(line.text for line in lines))


def _unquoted(field: str) -> str:
    """A field between tabs as it is, but for one that doubles each quote within quotes: there nobody meant text."""
    inner = field[1:-1]
    if len(field) < 2 or not (field[0] == field[-1] == '"') or '""' not in inner:
        return field
    return inner.replace('""', '"') if '"' not in inner.replace('""', "") else field


def _header(path: Path, lines: Lines, delimiter: str) -> list[str]:
    """Takes the header and returns the names of the columns."""
    record = Record(delimiter)
    taken: list[Line] = []
    while (not taken or record.open) and lines.peek() is not None:
        taken.append(lines.take())
        record.feed(taken[-1].text)
    where = f"{shown(path)}, line {taken[0].number}: "
    problem = next((line.problem for line in taken if line.problem), "")
    if problem:
        raise DataError(f"{where}the header {problem}.", utf8_remedy(path))
    fault = "a quoted field is never closed" if record.open else record.fault
    if fault:
        raise DataError(f"{where}the header is not valid CSV: {fault}.", "Correct the line.")
    header = record.fields
    double = next((name for name, count in Counter(header).items() if count > 1), None)
    if double is not None:
        raise DataError(f"{where}two columns are named `{double}`.", "Rename one of them.")
    return header


def _delimiter(path: Path, header: Line, following: Line | None) -> str:
    """Tabs in a `.tsv`; else what the header has; where it has several, what divides the next line alike."""
    if data_suffix(path) == ".tsv":
        return "\t"
    found = [mark for mark in (",", ";", "\t") if mark in header.text]
    if len(found) > 1 and following is not None:
        found.sort(key=lambda mark: _num_fields(header, mark) != _num_fields(following, mark))
    return found[0] if found else ","


def _num_fields(line: Line, delimiter: str) -> int:
    record = Record(delimiter)
    record.feed(line.text)
    return len(record.fields) + record.open
