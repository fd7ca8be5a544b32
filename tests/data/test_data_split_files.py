"""Splits of files: exact counts, no shared inputs, labels in proportion, rows as they were, whatever the order."""

from __future__ import annotations

import csv
import datetime
import json
import random
import string
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest

from weitiao.data.config import DataConfig, SourceConfig
from weitiao.data.conversion.records import Input
from weitiao.data.load import load_data
from weitiao.data.parts.split_files import Split, split_file
from weitiao.data.parts.splits import stratified_quotas
from weitiao.data.reading.files import open_source
from weitiao.errors import DataError

PARTS = ("train", "validation", "test")


def write(path: Path, rows: list[Any]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path


def pairs(count: int) -> list[dict[str, Any]]:
    return [{"prompt": f"question {i}", "completion": f"answer {i}", "id": i} for i in range(count)]


def split(path: Path, folder: Path, **settings: Any) -> Split:
    columns = settings.pop("columns", {})
    return split_file(Input(str(path), columns=columns), folder, **settings)


def parts_of(done: Split) -> dict[str, list[Any]]:
    return {
        part: [row.data for table in open_source(SourceConfig(path=path)) for row in table.rows]
        for part, path in done.files.items()
    }


def letters(text: str) -> str:
    """Folding by brute force: what is left of a question of letters, digits and spaces."""
    return "".join(c for c in text.lower() if c.isalnum())


def twin(draw: random.Random, text: str) -> str:
    """The same question in other case, with other marks and other white space."""
    text = draw.choice([text, text.upper(), text.title()])
    text = text.replace(" ", draw.choice([" ", "  ", "\n", " \t"]))
    return draw.choice(["", " ", '"']) + text + draw.choice(["", "?", "!", " ...", "。", "？", '"'])


def test_parts_have_the_asked_size_and_the_rows_stay_as_they_are(tmp_path: Path) -> None:
    rows = [{**row, "nested": {"a": [1, None]}, "x": 0.1} for row in pairs(1000)]
    done = split(write(tmp_path / "a.jsonl", rows), tmp_path / "out", test=0.1, validation=50)
    parts = parts_of(done)
    assert {part: len(found) for part, found in parts.items()} == {"test": 100, "validation": 50, "train": 850}
    assert done.rows == {"test": 100, "validation": 50, "train": 850} == done.inputs
    assert done.asked == {"test": 100, "validation": 50}
    assert sorted((row for part in parts.values() for row in part), key=lambda row: row["id"]) == rows
    for found in parts.values():
        assert [row["id"] for row in found] == sorted(row["id"] for row in found)


def test_twins_never_stand_in_two_parts(tmp_path: Path) -> None:
    draw = random.Random(0)
    base = [" ".join("".join(draw.choices(string.ascii_lowercase, k=4)) for _ in range(5)) for _ in range(300)]
    rows = [{"prompt": twin(draw, draw.choice(base)), "completion": str(i)} for i in range(1000)]
    parts = parts_of(split(write(tmp_path / "a.jsonl", rows), tmp_path / "out", test=0.2, validation=0.1))
    found = {part: {letters(row["prompt"]) for row in rows} for part, rows in parts.items()}
    assert not found["train"] & found["test"] and not found["train"] & found["validation"]
    assert not found["test"] & found["validation"]
    assert {part: len(rows) for part, rows in parts.items()} == {"test": 200, "validation": 100, "train": 700}
    # The recipe's own fractions keep them together, too, and take the same rows.
    data = load_data(DataConfig.model_validate({"train": tmp_path / "a.jsonl", "test": 0.2, "validation": 0.1}))
    for part in PARTS:
        assert [example.answer for example in getattr(data, part)] == [row["completion"] for row in parts[part]]


def test_the_order_of_the_file_does_not_matter_and_the_seed_does(tmp_path: Path) -> None:
    rows = pairs(300)
    chosen = []
    for number, (order, seed) in enumerate([(rows, 0), (rows[::-1], 0), (rows, 1)]):
        source = write(tmp_path / f"{number}.jsonl", order)
        parts = parts_of(split(source, tmp_path / str(number), test=0.1, seed=seed))
        chosen.append({row["id"] for row in parts["test"]})
    assert chosen[0] == chosen[1] != chosen[2]


def test_labels_divide_as_among_all_rows(tmp_path: Path) -> None:
    sizes = {"a": 500, "b": 201, "c": 96, "d": 3, "e": 1}
    rows = [{"text": f"{label} {i}", "label": label} for label, size in sizes.items() for i in range(size)]
    done = split(write(tmp_path / "a.jsonl", rows), tmp_path / "out", test=0.1, validation=0.2, stratify="label")
    assert done.rows == {"test": 80, "validation": 160, "train": 561}
    parts = parts_of(done)
    for part, share in (("test", 80 / 801), ("validation", 160 / 801)):
        counts = Counter(row["label"] for row in parts[part])
        assert done.labels[part] == dict(counts)
        assert all(abs(counts[label] - share * size) < 1 for label, size in sizes.items()), counts
    assert set(done.labels["train"]) == set(sizes)


def test_quotas_are_exact_and_leave_every_label_a_row() -> None:
    draw = random.Random(0)
    for _ in range(300):
        sizes = {str(label): draw.randint(1, 30) for label in range(draw.randint(1, 12))}
        free = sum(size - 1 for size in sizes.values())
        counts = [draw.randint(0, free // 2), draw.randint(0, free // 2)]
        quotas = stratified_quotas(counts, sizes)
        assert [quota.total() for quota in quotas] == counts
        for label, size in sizes.items():
            assert sum(quota[label] for quota in quotas) < size


def test_equal_groups_come_to_one_part_together_with_their_inputs(tmp_path: Path) -> None:
    draw = random.Random(1)
    rows = [
        {"prompt": f"question {draw.randint(0, 800)}", "completion": str(i), "customer": f"c{draw.randint(0, 400)}"}
        for i in range(600)
    ]
    done = split(write(tmp_path / "a.jsonl", rows), tmp_path / "out", test=0.2, group="customer")
    parts = parts_of(done)
    for column in ("customer", "prompt"):
        assert not {row[column] for row in parts["train"]} & {row[column] for row in parts["test"]}
    # By brute force: rows that are linked through any chain of customers and questions.
    linked: dict[str, set[str]] = defaultdict(set)
    for row in rows:
        linked[row["customer"]].add("q" + row["prompt"])
        linked["q" + row["prompt"]].add(row["customer"])
    seen: set[str] = set()
    sizes = []
    for row in rows:
        reached, todo = set(), [row["customer"]]
        while todo:
            node = todo.pop()
            if node not in reached:
                reached.add(node)
                todo += linked[node]
        if not reached & seen:
            sizes.append(sum(one["customer"] in reached for one in rows))
        seen |= reached
    largest = max(sizes)
    assert len(parts["test"]) == 120 or largest > 600 - len(parts["test"]) or 120 - len(parts["test"]) < largest


def test_a_table_without_a_format_is_split_by_its_other_columns(tmp_path: Path) -> None:
    file = tmp_path / "a.csv"
    with file.open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["text", "label"])
        writer.writerows([f"Message, number {i // 2}" + "?" * (i % 2), f"label {i % 3}"] for i in range(300))
    done = split(file, tmp_path / "out", test=0.1, stratify="label")
    assert done.input == "the columns text (no format fits)"
    assert {Path(path).name for path in done.files.values()} == {"test.csv", "train.csv"}
    parts = parts_of(done)
    assert not {letters(row["text"]) for row in parts["train"]} & {letters(row["text"]) for row in parts["test"]}
    assert sum(map(len, parts.values())) == 300
    named = split(file, tmp_path / "named", test=100, input_columns=["label"])
    assert (named.input, named.inputs, named.rows["test"]) == ("the columns label", {"test": 1, "train": 2}, 100)


def test_preferences_are_split_by_their_prompt(tmp_path: Path) -> None:
    rows = [{"prompt": f"q {i // 3}", "chosen": f"a {i}", "rejected": "b"} for i in range(90)]
    done = split(write(tmp_path / "a.jsonl", rows), tmp_path / "out", test=0.2)
    assert (done.input, done.rows["test"]) == ("the question of preference rows", 18)
    parts = parts_of(done)
    assert not {row["prompt"] for row in parts["train"]} & {row["prompt"] for row in parts["test"]}


def test_parquet_keeps_its_types_and_json_its_kind(tmp_path: Path) -> None:
    schema = pyarrow.schema({"prompt": pyarrow.string(), "completion": pyarrow.string(), "at": pyarrow.timestamp("us")})
    rows = [{"prompt": f"q {i}", "completion": "a", "at": datetime.datetime(2026, 1, 1 + i % 20)} for i in range(60)]
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows, schema=schema), tmp_path / "a.parquet")
    done = split(tmp_path / "a.parquet", tmp_path / "p", test=0.25)
    assert pyarrow.parquet.read_schema(done.files["test"]).equals(schema)
    assert sorted((r["prompt"], r["at"]) for part in parts_of(done).values() for r in part) == sorted(
        (r["prompt"], r["at"]) for r in rows
    )
    (tmp_path / "a.json").write_text(json.dumps(pairs(20)))
    assert Path(split(tmp_path / "a.json", tmp_path / "j", test=5).files["train"]).name == "train.json"
    lines = split(write(tmp_path / "b.json", pairs(20)), tmp_path / "l", test=5, kind="parquet")
    assert Path(lines.files["train"]).name == "train.parquet" and len(parts_of(lines)["test"]) == 5


def test_bad_rows_stop_or_are_listed(tmp_path: Path) -> None:
    source = write(tmp_path / "a.jsonl", [*pairs(20), {"prompt": "", "completion": "x"}, "text", *pairs(30)[20:]])
    with pytest.raises(DataError, match=r"row 21 \(line 21\), field `prompt`: is empty.*all 2 bad rows"):
        split(source, tmp_path / "out", test=0.1)
    assert not (tmp_path / "out").exists() or not list((tmp_path / "out").iterdir())
    done = split(source, tmp_path / "out", test=0.1, skip_bad_rows=True)
    assert (done.rows, done.rejected) == ({"test": 3, "train": 27}, 2)
    assert len((tmp_path / "out" / "rejected.jsonl").read_text().splitlines()) == 2
    with pytest.raises(DataError, match="field `label`: the column `label` is missing"):
        split(write(tmp_path / "b.jsonl", pairs(5)), tmp_path / "b", test=1, stratify="label")


def test_what_cannot_be_split_is_refused(tmp_path: Path) -> None:
    source = write(tmp_path / "a.jsonl", pairs(10))
    for settings, message in [
        ({}, "Nothing is to be held out"),
        ({"test": 0.0}, "neither a share"),
        ({"test": 2.5}, "neither a share"),
        ({"test": -1}, "neither a share"),
        ({"test": 10}, "10 usable rows, and 10 are to be held out"),
        ({"test": 0.5, "validation": 0.5}, "10 are to be held out"),
    ]:
        with pytest.raises(DataError, match=message):
            split(source, tmp_path / "out", **settings)
    same = write(tmp_path / "same.jsonl", [{"prompt": "Q" + "?" * i, "completion": str(i)} for i in range(10)])
    with pytest.raises(DataError, match="no row is left for test: its 10 usable rows make 1 groups"):
        split(same, tmp_path / "out", test=2)
    stale = tmp_path / "out" / "validation.csv"
    stale.parent.mkdir(exist_ok=True)
    stale.write_text("prompt,completion\n")
    with pytest.raises(DataError, match=r"validation\.csv: is part of another split"):
        split(source, tmp_path / "out", test=2)
    with pytest.raises(DataError, match="is the input, which is never changed"):
        split(write(tmp_path / "x" / "train.jsonl", pairs(10)), tmp_path / "x", test=2)
