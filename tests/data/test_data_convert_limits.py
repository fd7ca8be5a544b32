"""What a format cannot hold is named or listed; memory stays bounded."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from conversion_rows import bare, convert, records, write
from workbench import PEAK_BYTES

from weitiao.errors import DataError

ANSWER = {"role": "assistant", "content": "b"}
ASKED = {"role": "user", "content": "a"}
CALL = {
    "role": "assistant",
    "content": "",
    "tool_calls": [{"type": "function", "function": {"name": "f", "arguments": {}}}],
}


@pytest.mark.parametrize(
    ("row", "to", "reason"),
    [
        ({"messages": [ASKED, ANSWER], "tools": [{"name": "f"}]}, "alpaca", "field `tools`: alpaca cannot hold tool"),
        ({"messages": [ASKED, ANSWER], "tools": [{"name": "f"}]}, "prompt_completion", "cannot hold tool definitions"),
        ({"messages": [ASKED, CALL, ANSWER]}, "alpaca", r"field `messages\[1\]`: alpaca holds the text of a turn only"),
        ({"messages": [ASKED, ASKED, ANSWER]}, "alpaca", "the roles are user, user, assistant"),
        ({"messages": [ANSWER]}, "alpaca", "the roles are assistant"),
        ({"messages": [{**ASKED, "name": "Kim"}, ANSWER]}, "alpaca", "this one has more"),
        ({"messages": [ASKED, ANSWER, ASKED]}, "prompt_completion", "the last turn is of the role user"),
        ({"messages": [ANSWER]}, "prompt_completion", "there is no prompt"),
        ({"messages": [ASKED, {**CALL, "content": "See."}, ANSWER]}, "sharegpt", "text and tool calls in one turn"),
    ],
)  # fmt: skip
def test_what_a_format_cannot_hold_is_named_or_skipped(tmp_path: Path, row: Any, to: str, reason: str) -> None:
    source = write(tmp_path / "a.jsonl", [{"messages": [ASKED, ANSWER]}, row, {"messages": [ASKED, ANSWER]}])
    old = tmp_path / "old.jsonl"
    old.write_text("stays")
    with pytest.raises(DataError, match=rf"a\.jsonl, row 2 \(line 2\), .*{reason}"):
        convert(source, old, to)
    assert old.read_text() == "stays" and not (tmp_path / "rejected.jsonl").exists()
    done = convert(source, tmp_path / "b.jsonl", to, skip_bad_rows=True)
    assert (done.rows_written, done.rejected) == (2, 1)
    assert json.loads((tmp_path / "rejected.jsonl").read_text())["data"] == row


def test_a_csv_cannot_hold_prompts_of_several_turns(tmp_path: Path) -> None:
    source = write(tmp_path / "a.jsonl", [{"messages": [ASKED, ANSWER, ASKED, ANSWER]}])
    with pytest.raises(DataError, match=r"row 1 \(line 1\): is more than one question .* a CSV file has text only"):
        convert(source, tmp_path / "b.csv", "prompt_completion")
    convert(source, tmp_path / "b.csv", "alpaca")
    assert bare(records(tmp_path / "b.csv")[0]) == bare(records(source)[0])


def test_formats_that_lack_what_the_other_is_about_are_refused_at_once(tmp_path: Path) -> None:
    examples = write(tmp_path / "a.jsonl", [{"messages": [ASKED, ANSWER]}])
    with pytest.raises(DataError, match="is messages, and its rows do not have a better and a worse answer"):
        convert(examples, tmp_path / "b.jsonl", "preference")
    with pytest.raises(DataError, match="do not have a mark for good or bad"):
        convert(examples, tmp_path / "b.jsonl", "kto")
    with pytest.raises(DataError, match="do not have raw text"):
        convert(examples, tmp_path / "b.jsonl", "text")
    with pytest.raises(DataError, match="There is no format `dpo` to write"):
        convert(examples, tmp_path / "b.jsonl", "dpo")


def test_columns_that_the_target_reads_as_something_else_are_left_out_and_counted(tmp_path: Path) -> None:
    rows = [{"messages": [ASKED, ANSWER], "prompt": "a", "id": 1}, {"messages": [ASKED, ANSWER], "id": 2}]
    done = convert(write(tmp_path / "a.jsonl", rows), tmp_path / "b.jsonl", "prompt_completion")
    assert done.left_out_columns == {"prompt": 1}
    assert [row.columns for row in records(tmp_path / "b.jsonl")] == [{"id": 1}, {"id": 2}]


def test_bad_rows_and_the_output_beside_them(tmp_path: Path) -> None:
    source = write(tmp_path / "a.jsonl", [{"prompt": "q", "completion": ""}, {"prompt": "q", "completion": "a"}, "x"])
    with pytest.raises(DataError, match=r"row 1 \(line 1\), field `completion`: the answer is empty.*all 2 bad rows"):
        convert(source, tmp_path / "b.jsonl", "messages")
    done = convert(source, tmp_path / "b.jsonl", "messages", skip_bad_rows=True)
    assert (done.rows_read, done.rows_written, done.rejected) == (3, 1, 2)
    assert done.rejected_path == str(tmp_path / "rejected.jsonl")
    with pytest.raises(DataError, match=r"none of its 3 rows can be written as alpaca; .*row 1"):
        convert(write(tmp_path / "c.jsonl", [{"prompt": "", "completion": "a"}] * 3), tmp_path / "d.jsonl", "alpaca",
                skip_bad_rows=True)  # fmt: skip
    with pytest.raises(DataError, match=r"a\.jsonl: is the input, which is never changed"):
        convert(source, source, "messages")
    with pytest.raises(DataError, match="where bad rows are listed"):
        convert(source, tmp_path / "rejected.jsonl", "messages")


def test_memory_does_not_grow_with_the_file(tmp_path: Path) -> None:
    """Doubling the rows adds far less memory than they take: a child measures its own peak."""
    import subprocess
    import sys

    code = (
        "import sys; from pathlib import Path; from weitiao.data.conversion.records import Input;"
        "from weitiao.data.writing.convert import convert_file;"
        "convert_file(Input(sys.argv[1]), Path(sys.argv[2]), to='messages');"
        f"print({PEAK_BYTES})"
    )
    peaks = []
    for number, count in enumerate((5_000, 30_000)):
        rows = ({"prompt": f"{i} " + "x" * 1000, "completion": "y" * 1000} for i in range(count))
        source = tmp_path / f"{number}.jsonl"
        with source.open("w") as stream:
            stream.writelines(json.dumps(row) + "\n" for row in rows)
        done = subprocess.run([sys.executable, "-c", code, str(source), str(tmp_path / "out.jsonl")],
                              capture_output=True, text=True, check=True)  # fmt: skip
        peaks.append(int(done.stdout))
    # 25,000 more rows are 50 MB of text.
    assert peaks[1] - peaks[0] < 10_000_000
