"""Conversion: there and back is the same row, for every pair of formats and every kind of file."""

from __future__ import annotations

import itertools
import json
import random
from pathlib import Path
from typing import Any

import pytest
from conversion_rows import FEATURES, KINDS, WORDS, bare, conversation, convert, extra, native, records, write

from weitiao.data.config import DataConfig
from weitiao.data.load import load_data
from weitiao.errors import DataError


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("one", "other"), itertools.product(FEATURES, FEATURES))
def test_there_and_back_is_the_same_row(tmp_path: Path, one: str, other: str, kind: str) -> None:
    draw = random.Random(f"{one} {other} {kind}")
    features = sorted(FEATURES[one] & FEATURES[other])
    if kind == "csv" and other == "prompt_completion":
        features = ["plain"]  # a CSV holds text, not lists of turns
    rows = [native(one, *conversation(draw, draw.choice(features))) | extra(i) for i in range(60)]
    source = write(tmp_path / "source.jsonl", rows)
    there, back = tmp_path / f"there.{kind}", tmp_path / "back.jsonl"
    done = convert(source, there, other)
    assert (done.source_format, done.format, done.rows_read, done.rows_written) == (one, other, 60, 60)
    assert (done.rejected, done.left_out_columns, done.left_out_bad) == (0, {}, 0)
    again = convert(there, back, one)
    assert again.source_format == other
    wanted, found = records(source), records(back)
    as_text = kind == "csv"
    assert [bare(row, as_text=as_text) for row in found] == [bare(row, as_text=as_text) for row in wanted]
    # And a recipe reads the file as it was written.
    read = load_data(DataConfig.model_validate({"train": there})).train
    assert [bare(row, as_text=as_text) for row in read] == [bare(row, as_text=as_text) for row in wanted]


@pytest.mark.parametrize("format", FEATURES)
def test_what_was_written_is_what_people_write(tmp_path: Path, format: str) -> None:
    draw = random.Random(format)
    made = [conversation(draw, feature) for feature in sorted(FEATURES[format]) * 3]
    source = write(tmp_path / "source.jsonl", [native("messages", *one) for one in made])
    convert(source, tmp_path / "out.jsonl", format)
    written = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text(encoding="utf-8").splitlines()]
    expected = [native(format, *one) for one in made]
    for row in (*written, *expected):
        row.get("history") or row.pop("history", None)
        for turn in row.get("conversations", ()):
            turn["value"] = json.loads(turn["value"]) if turn["from"] == "function_call" else turn["value"]
        row["tools"] = json.loads(row["tools"]) if isinstance(row.get("tools"), str) else row.get("tools")
    assert written == expected


def test_question_and_answer_are_text_unless_a_row_of_the_file_needs_turns(tmp_path: Path) -> None:
    plain = {"instruction": "Translate.", "input": "chat", "output": "cat"}
    one = write(tmp_path / "one.jsonl", [plain] * 3)
    two = write(tmp_path / "two.jsonl", [*[plain] * 30, {**plain, "system": "Be brief."}])
    done = convert(one, tmp_path / "a.jsonl", "prompt_completion")
    assert json.loads((tmp_path / "a.jsonl").read_text().splitlines()[0]) == {
        "prompt": "Translate.\nchat",
        "completion": "cat",
    }
    assert done.joined_inputs == 3
    turns = {
        "prompt": [{"role": "user", "content": "Translate.\nchat"}],
        "completion": [{"role": "assistant", "content": "cat"}],
    }
    convert(two, tmp_path / "b.jsonl", "prompt_completion")
    assert json.loads((tmp_path / "b.jsonl").read_text().splitlines()[0]) == turns
    convert(one, tmp_path / "c.jsonl", "prompt_completion", turns=True)
    assert json.loads((tmp_path / "c.jsonl").read_text().splitlines()[0]) == turns
    assert convert(one, tmp_path / "d.parquet", "alpaca").joined_inputs == 0
    assert [row.messages[0]["input"] for row in records(tmp_path / "d.parquet")] == ["chat"] * 3  # type: ignore[union-attr]


def test_a_table_becomes_conversations_by_column_names_or_templates(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("text,category\nWhere is it?,arrival\n")
    expected = [{"role": "user", "content": "Where is it?"}, {"role": "assistant", "content": "arrival"}]
    convert(tmp_path / "a.csv", tmp_path / "b.json", "messages", columns={"prompt": "text", "completion": "category"})
    assert json.loads((tmp_path / "b.json").read_text()) == [{"messages": expected}]
    made = {"prompt": "Classify: {{ text }}", "completion": "{{ category }}"}
    convert(tmp_path / "a.csv", tmp_path / "c.json", "messages", templates=made)
    (row,) = json.loads((tmp_path / "c.json").read_text())
    assert row["messages"][0]["content"] == "Classify: Where is it?" and row["category"] == "arrival"


def test_raw_text_changes_its_kind_of_file_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("one\n\ntwo\n")
    done = convert(tmp_path / "a.txt", tmp_path / "b.parquet")
    assert (done.kind, done.source_format, done.format, done.rows_written) == ("text lines", "text", "text", 2)
    assert [getattr(row, "text", None) for row in records(tmp_path / "b.parquet")] == ["one", "two"]
    with pytest.raises(DataError, match=r"a\.txt: is text, and its rows do not have questions and answers"):
        convert(tmp_path / "a.txt", tmp_path / "c.jsonl", "messages")


def pairs_of(draw: random.Random, count: int) -> list[dict[str, Any]]:
    """Preferences in TRL's shape; some prompts come twice."""
    rows = []
    for number in range(count):
        messages, tools = conversation(draw, draw.choice(["plain", "system", "turns", "tools"]))
        worse = {"role": "assistant", "content": f"worse {number}"}
        row = {"prompt": messages[:-1], "chosen": messages[-1:], "rejected": [worse], **extra(number)}
        rows.append({**row, "tools": tools} if tools else row)
        if number % 5 == 0:
            rows.append({**rows[-1], "chosen": [{"role": "assistant", "content": f"other {number}"}], "id": -number})
    return rows


@pytest.mark.parametrize("kind", ["jsonl", "json", "parquet"])
def test_preferences_become_judged_answers_and_come_back(tmp_path: Path, kind: str) -> None:
    source = write(tmp_path / "source.jsonl", pairs_of(random.Random(kind), 40))
    wanted = [bare(row) for row in records(source)]
    same = tmp_path / f"same.{kind}"
    convert(source, same)
    assert [bare(row) for row in records(same)] == wanted
    judged = tmp_path / f"judged.{kind}"
    done = convert(same, judged, "kto")
    assert (done.source_format, done.rows_read, done.rows_written) == ("preference", 48, 96)
    assert [row.label for row in records(judged)] == [True, False] * 48  # type: ignore[union-attr]
    # The rows of a pair may stand anywhere.
    lines = [json.loads(line) for line in _lines_of(judged, tmp_path)]
    shuffled = write(tmp_path / "shuffled.jsonl", [lines[i] for i in _interleaved(len(lines))])
    for file in (judged, shuffled):
        back = tmp_path / f"back.{kind}"
        assert convert(file, back, "preference").rows_written == 48
        assert [bare(row) for row in records(back)] == wanted


def _lines_of(path: Path, folder: Path) -> list[str]:
    convert(path, folder / "lines.jsonl")
    return (folder / "lines.jsonl").read_text(encoding="utf-8").splitlines()


def _interleaved(count: int) -> list[int]:
    """All good answers in their order, then all bad ones."""
    return [*range(0, count, 2), *range(1, count, 2)]


def test_preferences_and_judged_answers_of_one_question_pass_through_csv(tmp_path: Path) -> None:
    rows = [{"prompt": f"q {i} {WORDS[i % 9]}", "chosen": f"a {WORDS[i % 7]}", "rejected": f"b {i}"} for i in range(30)]
    source = write(tmp_path / "source.jsonl", rows)
    convert(source, tmp_path / "a.csv")
    convert(tmp_path / "a.csv", tmp_path / "b.csv", "kto")
    assert (tmp_path / "b.csv").read_text(encoding="utf-8").startswith("prompt,completion,label\n")
    convert(tmp_path / "b.csv", tmp_path / "c.jsonl", "preference")
    assert [json.loads(line) for line in (tmp_path / "c.jsonl").read_text(encoding="utf-8").splitlines()] == rows


def test_examples_get_the_better_answer(tmp_path: Path) -> None:
    source = write(tmp_path / "a.jsonl", [{"prompt": "q", "chosen": "good", "rejected": "bad", "id": 1}])
    for format in FEATURES:
        convert(source, tmp_path / "b.jsonl", format)
        (example,) = load_data(DataConfig.model_validate({"train": tmp_path / "b.jsonl"})).train
        assert ([m["content"] for m in example.messages], example.columns) == (["q", "good"], {"id": 1})
    marked = [{"prompt": "q", "completion": text, "label": text == "good"} for text in ("good", "bad", "bad")]
    done = convert(write(tmp_path / "c.jsonl", marked), tmp_path / "d.jsonl", "alpaca")
    assert (done.rows_read, done.rows_written, done.left_out_bad) == (3, 1, 2)


def test_judged_answers_without_partner_are_refused_or_listed(tmp_path: Path) -> None:
    rows = [("q1", "a", True), ("q2", "b", False), ("q1", "c", False), ("q1", "d", True), ("Q1", "e", True)]
    source = write(tmp_path / "a.jsonl", [{"prompt": p, "completion": c, "label": label} for p, c, label in rows])
    with pytest.raises(DataError) as caught:
        convert(source, tmp_path / "b.jsonl", "preference")
    assert caught.value.what.startswith(f"{source}: 3 of its 5 rows have no partner")
    assert "--on-bad-rows skip" in caught.value.remedy
    assert not (tmp_path / "b.jsonl").exists()
    done = convert(source, tmp_path / "b.jsonl", "preference", skip_bad_rows=True)
    assert (done.rows_read, done.rows_written, done.rejected) == (5, 1, 3)
    assert json.loads((tmp_path / "b.jsonl").read_text()) == {"prompt": "q1", "chosen": "a", "rejected": "c"}
    listed = [json.loads(line) for line in (tmp_path / "rejected.jsonl").read_text().splitlines()]
    assert [one["row"] for one in listed] == [2, 4, 5] and listed[0]["data"]["completion"] == "b"
    assert ["good answer" in one["reason"] for one in listed] == [True, False, False]
