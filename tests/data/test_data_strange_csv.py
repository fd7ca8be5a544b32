"""CSV and TSV with quotes that do not fit, and with long fields: nothing is made up, nothing vanishes unsaid."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weitiao.data.config import DataConfig
from weitiao.data.load import load_data
from weitiao.data.reading.csv_files import read_csv
from weitiao.data.reading.rows import Notes, Row


def rows_of(path: Path, text: str) -> tuple[list[Row], tuple[str, ...]]:
    path.write_bytes(text.encode())
    notes = Notes()
    return list(read_csv(path, notes)), notes.lines()


def test_a_field_may_be_long_and_have_many_lines(tmp_path: Path) -> None:
    contract = "\n".join(f"line {i}, of a contract" for i in range(9000))
    stream = io.StringIO(newline="")
    csv.writer(stream).writerows([["text", "label"], ["short", "a"], [contract, "b"], ["after", "c"]])
    rows, notes = rows_of(tmp_path / "a.csv", stream.getvalue())
    assert [row.data for row in rows] == [
        {"text": "short", "label": "a"},
        {"text": contract, "label": "b"},
        {"text": "after", "label": "c"},
    ]
    assert notes == (
        "rows that hold, in a quoted field, lines that look like rows of their own (check the quotes): 1 "
        "(first: row 2, lines 3 to 9002)",
    )


ITEMS = "".join(f"item {i}, price {i}\n" for i in range(50))


@pytest.mark.parametrize(
    ("broken", "num_lines"),
    [
        (f'"He wrote "ok" and then\n{ITEMS}end",b\n', 52),
        (f'"He said "yes", then\n{ITEMS}end",b\n', 52),
        (f'"He wrote "ok and then\n{ITEMS}end",b\n', 52),
        ('"a"b,3\n', 1),
        ('"a "b" c",3\n', 1),
    ],
)
def test_what_may_belong_to_a_broken_record_is_no_row(tmp_path: Path, broken: str, num_lines: int) -> None:
    for after in ("last,c\n", 'last,c\n"quoted",d\n', '"quoted",d\nlast,c\n'):
        rows, _ = rows_of(tmp_path / "a.csv", "text,label\nfirst,a\n" + broken + after)
        good = [row.data["text"] for row in rows if not row.problem]
        assert good == ["first", *(line.split(",")[0].strip('"') for line in after.splitlines())]
        (bad,) = (row for row in rows if row.problem)
        assert (bad.line, bad.data) == (3, broken)
        assert "is not valid CSV" in bad.problem
        assert (f"the next {num_lines - 1:,} lines" in bad.problem) == (num_lines > 1)


def test_where_nothing_tells_the_rest_of_the_file_is_one_bad_row(tmp_path: Path) -> None:
    # The third line ends the quoted text, or has a quoted field of its own.
    text = 'text,label,more\n"a "b,1,2\nx,"",z\nlast,5,6\n'
    (row,), _ = rows_of(tmp_path / "a.csv", text)
    assert row.data == text.partition("\n")[2]
    assert "the next 2 lines, all that are left," in row.problem
    (row,), _ = rows_of(tmp_path / "b.csv", 'text,label\n"never closed,1\nlast,5\n')
    assert "never closed: it would hold all 2 lines" in row.problem


def test_a_quote_is_text_between_tabs(tmp_path: Path) -> None:
    pairs = [(f"source {i}", f"target {i}") for i in range(60)]
    pairs[5] = ('"Yes" she said', "»Ja« sagte sie")
    pairs[9], pairs[40] = ('"Open', "offen"), ('closed"', "zu")
    pairs[50] = ('"Quoted."', '""')
    text = "en\tde\n" + "".join(f"{a}\t{b}\n" for a, b in pairs)
    rows, notes = rows_of(tmp_path / "a.tsv", text)
    assert [tuple(row.data.values()) for row in rows] == pairs
    assert notes == ()


@pytest.mark.parametrize("quoting", [csv.QUOTE_MINIMAL, csv.QUOTE_ALL])
@given(
    rows=st.lists(
        st.lists(st.text(st.sampled_from('ab \n\t"'), max_size=6).map(lambda text: f"x{text}"), min_size=3, max_size=3),
        min_size=1,
        max_size=4,
    )
)
def test_tables_that_spreadsheets_write_come_back(
    tmp_path_factory: pytest.TempPathFactory, quoting: int, rows: list[list[str]]
) -> None:
    stream = io.StringIO(newline="")
    csv.writer(stream, quoting=quoting).writerows([["one", "two", "three"], *rows])
    read, _ = rows_of(tmp_path_factory.getbasetemp() / "a.csv", stream.getvalue())
    assert [list(row.data.values()) for row in read] == rows


def test_the_delimiter_is_the_one_that_divides_the_rows(tmp_path: Path) -> None:
    rows, _ = rows_of(tmp_path / "a.csv", "text;label, long\nfirst;a\nsecond, too;b\n")
    assert [row.data for row in rows] == [
        {"text": "first", "label, long": "a"},
        {"text": "second, too", "label, long": "b"},
    ]


def test_what_a_reader_found_is_said_with_the_rows(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text('prompt,completion\n"x\na,b\nc,d\ny",z\nq,r\n')
    data = load_data(DataConfig.model_validate({"train": str(tmp_path / "a.csv")}))
    assert len(data.train) == 2
    assert "look like rows of their own (check the quotes): 1 (first: row 1, lines 2 to 5)" in str(data.summaries[0])
