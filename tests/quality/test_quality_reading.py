"""Reading past damage, and arrays larger than a window."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from checking import check_files, of_kind, pair, read_rows, rows_of, write_rows

from weitiao.data.clean_config import CleanConfig
from weitiao.data.config import SourceConfig
from weitiao.data.conversion.records import Input
from weitiao.data.reading.json_files import read_json
from weitiao.data.reading.rows import Row
from weitiao.data.writing.convert import convert_file
from weitiao.errors import DataError
from weitiao.quality.characters import mend_bytes
from weitiao.quality.check import Part, check, clean, parts_of_files
from weitiao.quality.inspection import inspect
from weitiao.quality.settings import CheckSettings

TEXTS = ["plain", "你好 🙂", '], {"\\', "line\nbreak", "é"]


def read(path: Path, **options: int) -> list[Row]:
    return list(read_json(path, past_damage=True, **options)[1])


def rows_in(text: str) -> list[Row]:
    """The rows of an array, found in the whole text by Python's own decoder."""
    text, rows, line, end = text.removeprefix("\ufeff"), list[Row](), 1, 0
    blank = re.compile(r"[ \r\n,]*")
    at = text.index("[") + 1
    while text[at := blank.match(text, at).end()] != "]":  # type: ignore[union-attr]
        line += text.count("\n", end, at)
        value, end = json.JSONDecoder().raw_decode(text, at)
        rows.append(Row(len(rows) + 1, line, value))
        line, at = line + text.count("\n", at, end), end
    return rows


def documents(rows: list[Any]) -> dict[str, str]:
    return {
        "indented": json.dumps(rows, indent=2),
        "one line": json.dumps(rows, ensure_ascii=False),
        "wrapped": json.dumps({"rows": rows}, indent=1, ensure_ascii=False) + "\n\n",
        "mark": "\ufeff" + json.dumps(rows),
        "spaces": "\r\n [ " + " ,\n".join(json.dumps(row) for row in rows) + " ]\n ",
    }


@pytest.mark.parametrize("size", [1, 7, 64, 1 << 20])
def test_arrays_read_through_windows_of_any_size(tmp_path: Path, size: int) -> None:
    # Longer than what is read to find the beginning of the array.
    rows: list[Any] = [pair(text, text * 3) for text in TEXTS] * 600 + [12345, 3.25, None, ["a", {"b": []}], "text", {}]
    for name, text in documents(rows).items():
        file = tmp_path / "rows.json"
        file.write_bytes(text.encode())
        expected = rows_in(text)
        assert [row.data for row in expected] == rows, name
        assert read(file, chunk_bytes=size) == expected, name
        assert list(read_json(file, chunk_bytes=size)[1]) == expected, name


def test_an_empty_array_and_an_empty_file(tmp_path: Path) -> None:
    file = tmp_path / "rows.json"
    for text in ("[]", " [ ] \n", ""):
        file.write_text(text)
        assert read(file) == []


def test_bytes_that_are_not_utf8_in_an_array_are_named_and_the_rest_is_read(tmp_path: Path) -> None:
    rows = [pair(f"question {i}", "fine") for i in range(50)]
    data = json.dumps(rows, indent=1).encode().replace(b"question 20", b"caf\xe9 \xed\xa0\xbc\xed\xbc\x95")
    file = tmp_path / "rows.json"
    file.write_bytes(data)
    report = check_files(file, kinds={"encoding", "format"})
    (finding,) = report.findings
    at = data.index(b"\xe9")
    assert report.rows == 50
    assert (finding.kind, finding.severity, finding.row) == ("encoding", "error", 21)
    assert f"at byte {at} of the file, line {data[:at].count(10) + 1}" in finding.reason
    assert "the bytes e9 " in f"{finding.reason} "


@pytest.mark.parametrize("size", [1, 16, 1 << 20])
def test_damage_of_an_array_is_named_alike_through_windows_of_any_size(tmp_path: Path, size: int) -> None:
    file = tmp_path / "rows.json"
    data = b'\xef\xbb\xbf[\n {"a": "\xe4\xbd\xa0"},\n {"a":\n "caf\xe9"},\n {"a": 1}]'
    file.write_bytes(data)
    assert [(row.number, row.line) for row in read(file, chunk_bytes=size)] == [(1, 2), (2, 3), (3, 5)]
    with pytest.raises(DataError, match=rf"line 4: is not UTF-8: .* e9 .* at byte {data.index(0xE9)} of the file"):
        list(read_json(file, chunk_bytes=size)[1])
    # Bytes of another encoding that look like JSON's own marks are no fault of the JSON.
    file.write_bytes('[{"a": "功"}]'.encode("big5"))
    with pytest.raises(DataError, match="is not UTF-8"):
        read(file, chunk_bytes=size)
    file.write_text('[{"a": "你"},\n {"a": 1} {"a": 2}]', encoding="utf-8")
    with pytest.raises(DataError, match="line 2, column 11: is not valid JSON: a comma or the end"):
        read(file, chunk_bytes=size)


def test_bytes_that_are_not_utf8_in_lines(tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    bad = b'{"prompt": "caf\xe9 \\\\ \\n", "completion": "b"}\n'
    file.write_bytes(b'{"prompt": "a", "completion": "b"}\n' + bad + b'{"prompt": "c", "completion": ""}\n')
    report = check_files(file, kinds={"encoding", "empty_answer"})
    (finding,) = of_kind(report, "encoding")
    assert (finding.row, finding.line) == (2, 2)
    assert "byte 50" in finding.reason
    assert rows_of(report, "empty_answer") == [3]
    assert read(file)[1].data == {"prompt": "caf\udce9 \\ \n", "completion": "b"}


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"caf\xe9", "café"),
        (b"\xed\xa0\xbc\xed\xbc\x95", "🌕"),
        ("你好世界".encode("gb18030"), "你好世界"),
        (b"it\x92s", "it’s"),
        (b"plain", "plain"),
    ],
)
def test_bytes_are_mended_by_the_likely_encoding(data: bytes, text: str) -> None:
    assert mend_bytes(data.decode("utf-8", errors="surrogateescape")) == text


def test_what_follows_a_fault_of_an_array_is_a_finding_and_other_files_are_read(tmp_path: Path) -> None:
    broken = tmp_path / "a.json"
    broken.write_text(json.dumps([pair("a"), pair("b")], indent=1)[:-20])
    whole = write_rows(tmp_path / "b.jsonl", [pair("c"), pair("d", "")])
    report = check_files(broken, whole)
    (finding,) = of_kind(report, "format")
    assert (finding.file, finding.row) == (str(broken), 2)
    assert "is not valid JSON" in finding.reason
    assert [f.file for f in of_kind(report, "empty_answer")] == [str(whole)]


def test_nothing_readable_at_all_is_an_error(tmp_path: Path) -> None:
    file = tmp_path / "a.json"
    file.write_text('"a text"')
    with pytest.raises(DataError, match="holds text, not a list"):
        check_files(file)
    file.write_text("[]")
    with pytest.raises(DataError, match="no rows"):
        check_files(file)


@pytest.mark.parametrize(
    ("rows", "note"),
    [
        ([{"text": f"t {i}", "category": "ab"[i % 2]} for i in range(40)], "input `text`, answer `category`"),
        ([{"question": "q", "answer": "a", "extra": 1}] * 3, "input `question`, answer `answer`"),
        (
            [{"satz": f"ein Satz {i}", "klasse": ["ja", "nein"][i % 2]} for i in range(40)],
            "input `satz`, answer `klasse`",
        ),
        (
            [{"klasse": ["ja", "nein"][i % 2], "satz": f"ein Satz {i}"} for i in range(40)],
            "input `satz`, answer `klasse`",
        ),
        ([{"text": f"t {i}", "label": i % 2} for i in range(40)], "input `text`, answer `label`"),
        ([{"prompt": "q", "key": 1000}] * 3, "input `prompt`, no answers"),
        ([{"instruction": f"q {i}", "is_classification": i > 9} for i in range(20)], "input `instruction`, no answers"),
        ([{"data": [{"text": "a"}, {"text": "b"}]}] * 3, "no known columns: all text of a row as one"),
        ([{"instruction": "q", "input": "", "output": "a"}] * 3, "alpaca"),
        ([{"text": "raw"}] * 3, "text"),
    ],
)
def test_what_columns_mean_is_found_out_and_told(tmp_path: Path, rows: list[Any], note: str) -> None:
    file = write_rows(tmp_path / "a.jsonl", rows)
    report = check_files(file, kinds={"format", "empty_answer"})
    assert report.sources == (f"train: {file}: JSON Lines, {note}",)
    assert report.findings == ()


def compared(asked: str, chosen: str, rejected: str, layout: str) -> dict[str, Any]:
    """A row that compares two answers, in one of the layouts in use."""
    turns = [
        [{"role": "user", "content": asked}, {"role": "assistant", "content": said}] for said in (chosen, rejected)
    ]
    match layout:
        case "columns":
            return {"prompt": asked, "chosen": chosen, "rejected": rejected}
        case "conversation":
            return {"conversations": turns[0][:1], "chosen": turns[0][1], "rejected": turns[1][1]}
        case "whole":
            return {"chosen": turns[0], "rejected": turns[1]}
        case _:
            said = (f"\n\nHuman: {asked}\n\nAssistant: {answer}" for answer in (chosen, rejected))
            return dict(zip(("chosen", "rejected"), said, strict=True))


@pytest.mark.parametrize("layout", ["columns", "conversation", "whole", "transcript"])
def test_comparisons_are_understood_in_every_layout(tmp_path: Path, layout: str) -> None:
    asked = [f"What is {i} and {i + 1} together?" for i in range(6)]
    rows = [compared(question, f"It is {2 * i + 1}.", "Who cares?", layout) for i, question in enumerate(asked)]
    rows += [compared(asked[0], "It is 1.", "I do not know.", layout)]  # another pair for a known prompt
    rows += [rows[1], compared("Where is the cafÃ©?", "It is there.", "Ask at the cafÃ©.", layout)]
    rows += [compared("Is it late?", "Yes, it is.", "Yes, it is.", layout)]
    file = write_rows(tmp_path / "a.jsonl", rows)
    against = write_rows(tmp_path / "b.jsonl", [pair(asked[2], "5")])
    report = check_files(file, against=(against,), kinds={"format", "encoding", "duplicate", "leak", "empty_answer"})
    assert report.sources[0] == f"train: {file}: JSON Lines, preference"
    assert (rows_of(report, "duplicate"), rows_of(report, "leak"), rows_of(report, "format")) == ([8], [3], [10])
    assert "is the same as `chosen`" in of_kind(report, "format")[0].reason
    (encoding,) = of_kind(report, "encoding")
    assert (encoding.rows, encoding.field) == ([9], "turn 1 (user)")
    (part,) = inspect(parts_of_files([file])).parts
    assert (part.rows, part.unusable, dict(part.turns)) == (9, 1, {2: 9})


def test_columns_of_comparisons_may_have_other_names(tmp_path: Path) -> None:
    rows = [{"q": f"What is {i}?", "good": f"It is {i}.", "bad": "Who cares?", "note": ""} for i in range(4)]
    rows += [{**rows[0], "good": ""}, {**rows[1], "bad": rows[1]["good"]}, rows[2]]
    file = write_rows(tmp_path / "a.jsonl", rows)
    columns = {"prompt": "q", "chosen": "good", "rejected": "bad"}
    kinds = frozenset({"format", "empty_answer", "duplicate"})
    source = SourceConfig.model_validate({"path": str(file), "columns": columns})
    report = check([Part("train", (source,))], CheckSettings(kinds=kinds))
    assert {kind: rows_of(report, kind) for kind in kinds} == {"format": [6], "empty_answer": [5], "duplicate": [7]}


@pytest.mark.parametrize("mark", ["label", "kto_tag"])
def test_judged_answers_are_understood(tmp_path: Path, mark: str) -> None:
    asked = [f"What is {i} and {i + 1} together?" for i in range(6)]
    rows: list[dict[str, Any]] = [{**pair(asked[i], f"It is {2 * i + 1}."), mark: True} for i in range(6)]
    rows += [{**pair(asked[0], "Who cares?"), mark: False}]  # another answer to a known question
    rows += [rows[1], {**rows[2], mark: False}, {**pair("Where is the cafÃ©?"), mark: True}, {**pair("a"), mark: None}]
    file = write_rows(tmp_path / "a.jsonl", rows)
    against = write_rows(tmp_path / "b.jsonl", [pair(asked[3], "7")])
    kinds = {"format", "encoding", "duplicate", "near_duplicate", "contradiction", "leak"}
    report = check_files(file, against=(against,), kinds=kinds)
    assert report.sources[0] == f"train: {file}: JSON Lines, kto"
    found = {kind: where for kind in kinds if (where := rows_of(report, kind))}
    assert found == {"format": [11], "encoding": [10], "duplicate": [8], "contradiction": [9], "leak": [4]}
    assert "is null" in of_kind(report, "format")[0].reason
    usable = write_rows(tmp_path / "c.jsonl", rows[:10])
    assert rows_of(check_files(usable, against=(file,)), "leak") == [*range(1, 11)]
    (part,) = inspect(parts_of_files([usable])).parts
    assert (part.rows, part.labels) == (10, {"good": 8, "bad": 2})


def test_what_a_reader_has_to_say_is_told_by_every_command(tmp_path: Path) -> None:
    folder = tmp_path / "rows"
    write_rows(folder / "a.jsonl", [pair("a"), pair("b")])
    (folder / "b.csv").write_text('prompt,completion\n"c\nd,e\nf",g\n')
    (folder / "readme.md").write_text("x")
    beside, swallowed = convert_file(Input(str(folder)), tmp_path / "out.jsonl").findings
    assert beside == "files that are not read: readme.md"
    assert "hold, in a quoted field, lines that look like rows" in swallowed and "b.csv, row 1" in swallowed
    assert check_files(folder).notes == (f"{folder}: {beside}", f"{folder}: {swallowed}")


def test_the_worse_answer_of_a_comparison_is_checked_and_mended(tmp_path: Path) -> None:
    file = write_rows(tmp_path / "a.jsonl", [compared("Where to?", "There.", "To the cafÃ©.", "columns")])
    (finding,) = check_files(file, kinds={"encoding"}).findings
    assert (finding.field, finding.row) == ("rejected (assistant)", 1)
    clean(parts_of_files([file]), CleanConfig(fix=("encoding",)), tmp_path / "out")
    assert read_rows(tmp_path / "out" / "cleaned.jsonl") == [compared("Where to?", "There.", "To the café.", "columns")]
