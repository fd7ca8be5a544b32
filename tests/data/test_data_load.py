"""load_data: the whole way from files to examples, with bad rows, splits and identities."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from weitiao.data.config import DataConfig
from weitiao.data.load import DataSet, load_data
from weitiao.data.writing.rejected import add_rejected
from weitiao.errors import DataError


def write(path: Path, rows: list[Any]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def pairs(count: int, start: int = 0) -> list[dict[str, str]]:
    return [{"prompt": f"question {i}", "completion": f"answer {i}"} for i in range(start, start + count)]


def load(rejected_path: Path | None = None, **section: Any) -> DataSet:
    return load_data(DataConfig.model_validate(section), rejected_path=rejected_path)


def test_rows_become_examples_and_what_was_detected_is_told(tmp_path: Path) -> None:
    data = load(train=write(tmp_path / "a.json", pairs(3)))
    assert [example.row_id for example in data.train] == ["a.json:1", "a.json:2", "a.json:3"]
    assert [example.answer for example in data.train] == ["answer 0", "answer 1", "answer 2"]
    (summary,) = data.summaries
    assert str(summary) == f"train: {tmp_path / 'a.json'}: JSON Lines, prompt_completion (detected), 3 rows"
    assert (data.validation, data.test, data.overlaps) == ((), (), ())


def test_bad_rows_stop_with_the_first_ones_and_their_number(tmp_path: Path) -> None:
    rows = [*pairs(3), "text", {"prompt": "q", "completion": ""}, [1], *pairs(3), {"prompt": "q"}, {"prompt": 1}]
    file = write(tmp_path / "a.jsonl", rows)
    with pytest.raises(DataError) as caught:
        load(train=file)
    assert caught.value.what == (
        f"{file}, row 4 (line 4): the row is text, not an object with columns. In all 5 bad rows, also "
        "row 5 (line 5), field `completion`: the answer is empty; "
        "row 6 (line 6): the row is a list, not an object with columns; and 2 more."
    )
    assert "on_bad_rows: skip" in caught.value.remedy


def test_a_row_of_another_type_within_a_json_array_is_named_with_its_line(tmp_path: Path) -> None:
    file = tmp_path / "a.json"
    file.write_text(json.dumps([*pairs(3), "text", *pairs(3)], indent=1))
    line = 1 + file.read_text().splitlines().index(' "text",')
    with pytest.raises(DataError, match=rf"a\.json, row 4 \(line {line}\): the row is text, not an object") as caught:
        load(train=file)
    assert "In all" not in caught.value.what
    skipped = load(train=file, on_bad_rows="skip")
    assert [example.row_id for example in skipped.train] == [f"a.json:{n}" for n in (1, 2, 3, 5, 6, 7)]


def test_skipped_rows_are_counted_and_written_down_and_nothing_else_is_lost(tmp_path: Path) -> None:
    file = write(tmp_path / "a.jsonl", [*pairs(2), {"prompt": "q", "completion": ""}, *pairs(2, 2)])
    with file.open("ab") as stream:
        stream.write(b'{"prompt": "caf\xe9"}\n{"prompt": "half \\ud83d", "completion": "b"}\n')
    rejected = tmp_path / "run" / "rejected.jsonl"
    data = load(rejected, train=file, on_bad_rows="skip")
    assert [example.row_id for example in data.train] == [f"a.jsonl:{n}" for n in (1, 2, 4, 5)]
    assert (data.summaries[0].rows, data.summaries[0].rejected) == (4, 3)
    entries = [json.loads(line) for line in rejected.read_text(encoding="utf-8").splitlines()]
    assert entries[0] == {
        "file": str(file),
        "row": 3,
        "line": 3,
        "field": "completion",
        "reason": "the answer is empty",
        "data": {"prompt": "q", "completion": ""},
    }
    assert entries[1]["data"] == r'{"prompt": "caf\xe9"}' and "is not UTF-8" in entries[1]["reason"]
    assert entries[2]["data"]["prompt"] == "half \ud83d"

    # A later run without bad rows does not leave the old list behind.
    load(rejected, train=write(tmp_path / "b.jsonl", pairs(1)), on_bad_rows="skip")
    assert not rejected.exists()


def test_rows_that_are_left_out_later_are_listed_once_behind_the_others(tmp_path: Path) -> None:
    file = write(tmp_path / "a.jsonl", [*pairs(2), {"prompt": "q", "completion": ""}])
    data = load(train={"path": file, "weight": 2.0}, on_bad_rows="skip", rejected_path=tmp_path / "rejected.jsonl")
    assert [one.row_id for one in data.train] == ["a.jsonl:1", "a.jsonl:2", "a.jsonl:1#2", "a.jsonl:2#2"]
    refused = [(one.row_id, "is refused") for one in data.train if one.row_id.startswith("a.jsonl:2")]
    add_rejected(tmp_path / "rejected.jsonl", data.train, refused)
    listed = [json.loads(line) for line in (tmp_path / "rejected.jsonl").read_text().splitlines()]
    assert [(one["row"], one["reason"]) for one in listed] == [(3, "the answer is empty"), (2, "is refused")]


def test_empty_data_is_an_error(tmp_path: Path) -> None:
    for name, text in (("a.jsonl", ""), ("a.json", "[]"), ("a.csv", "prompt,completion\n"), ("a.txt", "\n\n")):
        (tmp_path / name).write_text(text)
        with pytest.raises(DataError, match=f"{name}: there are no rows in it"):
            load(train=tmp_path / name)
    file = write(tmp_path / "b.jsonl", [{"prompt": "q", "completion": ""}])
    with pytest.raises(DataError, match=r"none of its 1 rows can be used; .*row 1 \(line 1\), field `completion`"):
        load(train=file, on_bad_rows="skip")
    with pytest.raises(DataError, match=r"none of the first 2 rows can be read as an object.*row 1 \(line 1\) is text"):
        load(train=write(tmp_path / "c.jsonl", ["a", "b"]))


def test_fractions_are_held_out_before_weights_and_sources_stay_in_order(tmp_path: Path) -> None:
    one, two = write(tmp_path / "one.jsonl", pairs(100)), write(tmp_path / "two.jsonl", pairs(100, 100))
    plain = load(train=[one, two], test=0.1, validation=0.05, seed=7)
    mixed = load(train=[{"path": one, "weight": 2.0}, {"path": two, "weight": 0.5}], test=0.1, validation=0.05, seed=7)
    assert (len(plain.train), len(plain.validation), len(plain.test)) == (170, 10, 20)
    assert plain.test == mixed.test and plain.validation == mixed.validation
    kept = [example.row_id for example in plain.train if example.row_id.startswith("one")]
    first, second = kept, [row_id + "#2" for row_id in kept]
    row_ids = [example.row_id for example in mixed.train]
    assert row_ids[: 2 * len(kept)] == first + second
    assert all(row_id.startswith("two") for row_id in row_ids[2 * len(kept) :])
    assert len(set(row_ids)) == len(row_ids)
    inputs = [{example.messages[0]["content"] for example in part} for part in (mixed.train, mixed.test)]
    assert not inputs[0] & inputs[1]


def test_a_fraction_that_cannot_be_held_out_is_an_error(tmp_path: Path) -> None:
    same = write(tmp_path / "same.jsonl", [{"prompt": "q", "completion": str(i)} for i in range(10)])
    with pytest.raises(DataError, match=r"data\.test: no row is left for it: .*10 rows with 1 different inputs"):
        load(train=same, test=0.2)
    with pytest.raises(DataError, match=r"data\.train: no row is left"):
        load(train=write(tmp_path / "two.jsonl", pairs(2)), test=0.4, validation=0.4)


def test_rows_of_a_given_test_file_that_stand_in_training_are_reported_and_stay(tmp_path: Path) -> None:
    data = load(train=write(tmp_path / "a.jsonl", pairs(10)), test=write(tmp_path / "b.jsonl", pairs(10, 7)))
    assert (len(data.train), len(data.test)) == (10, 10)
    assert [str(overlap) for overlap in data.overlaps] == [
        "3 rows of train have the same input as 3 rows of test (apart from case, punctuation and white space)"
    ]


def test_row_ids_tell_files_of_the_same_name_apart_without_machine_paths(tmp_path: Path) -> None:
    one, two = write(tmp_path / "x" / "a.jsonl", pairs(1)), write(tmp_path / "y" / "a.jsonl", pairs(1, 1))
    data = load(
        train=[one, two, {"path": one, "prompt": "Again: {{ prompt }}"}],
        test=write(tmp_path / "t.csv.jsonl", pairs(1, 5)),
    )
    assert [example.row_id for example in (*data.train, *data.test)] == [
        "x/a.jsonl:1",
        "y/a.jsonl:1",
        "x/a.jsonl(2):1",
        "t.csv.jsonl:1",
    ]


def test_limit_reads_the_first_rows_only_and_sample_spreads(tmp_path: Path) -> None:
    file = write(tmp_path / "a.jsonl", [*pairs(50), "bad"])
    assert [e.row_id for e in load(train={"path": file, "limit": 3}).train] == ["a.jsonl:1", "a.jsonl:2", "a.jsonl:3"]
    sampled = load(train={"path": file, "limit": 50, "sample": 5})
    numbers = [int(example.row_id.split(":")[1]) for example in sampled.train]
    assert len(numbers) == 5 and numbers == sorted(numbers) and max(numbers) > 10
    assert sampled.summaries[0].rows == 5


def test_the_fingerprint_follows_content_order_and_part_and_nothing_else(tmp_path: Path) -> None:
    rows = pairs(6)
    file = write(tmp_path / "a.jsonl", rows)
    renamed = write(tmp_path / "elsewhere" / "b.jsonl", [{**row, "id": 1} for row in rows])
    prints = {
        "same": load(train=file).fingerprint,
        "renamed": load(train=renamed).fingerprint,
        "order": load(train=write(tmp_path / "c.jsonl", rows[::-1])).fingerprint,
        "content": load(train=write(tmp_path / "d.jsonl", [*rows[:5], *pairs(1, 9)])).fingerprint,
        "split": load(train=file, test=0.3).fingerprint,
        "seed": load(train=file, test=0.3, seed=1).fingerprint,
    }
    assert prints.pop("renamed") == prints["same"]
    assert len(set(prints.values())) == len(prints)
    assert all(len(value) == 64 for value in prints.values())


def test_a_csv_of_text_and_category_is_a_task_with_templates(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(b'text,category\r\n"Hello, I lost it",lost\r\nWhere is it?,arrival\r\n')
    (tmp_path / "b.csv").write_bytes(b"text,category\r\nGone!,lost\r\n")
    data = load(
        train={"path": tmp_path / "a.csv", "prompt": "Classify: {{ text }}", "completion": "{{ category }}"},
        test=tmp_path / "b.csv",
    )
    assert [(e.messages[0]["content"], e.answer) for e in (*data.train, *data.test)] == [
        ("Classify: Hello, I lost it", "lost"),
        ("Classify: Where is it?", "arrival"),
        ("Classify: Gone!", "lost"),
    ]
    assert [summary.part for summary in data.summaries] == ["train", "test"]
