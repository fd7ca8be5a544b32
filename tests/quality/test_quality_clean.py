"""Cleaning: what each fix does, that columns and order stay, and that it is deterministic and idempotent."""

from __future__ import annotations

import json
import random
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pyarrow.parquet
import pytest
from checking import check_files, pair, read_rows, write_rows

from weitiao.data.clean_config import CleanConfig
from weitiao.data.config import DataConfig
from weitiao.data.reading.paths import resolve_paths
from weitiao.errors import DataError
from weitiao.quality.check import clean, parts_of_files
from weitiao.quality.cleaning_pass import CleanSummary
from weitiao.quality.settings import FIXABLE
from weitiao.quality.sources import Part

ALL = tuple(FIXABLE)
TEXT = "It is a long way from here to the old town by the river, and the bus goes only twice a day in winter."


def cleaned(
    file: Path, output: Path, *fixes: str, against: tuple[Path, ...] = (), **options: Any
) -> tuple[list[Any], list[Any], CleanSummary]:
    config = CleanConfig.model_validate({"fix": fixes, **options})
    summary = clean(parts_of_files([file], against), config, output)
    assert json.loads((output / "summary.json").read_text()) == json.loads(json.dumps(asdict(summary)))
    kept, rejected = read_rows(output / "cleaned.jsonl"), read_rows(output / "rejected.jsonl")
    assert summary.rows_after == len(kept)
    assert summary.rows_before == len(kept) + len(rejected)
    assert {path.name for path in output.iterdir()} == {"cleaned.jsonl", "rejected.jsonl", "summary.json"}
    return kept, rejected, summary


@pytest.mark.parametrize(
    ("fix", "before", "after"),
    [
        ("encoding", "cafÃ© au lait", "café au lait"),
        ("control_characters", "a\u200bb\0c", "abc"),
        ("whitespace", " a\u00a0b \r\nc\n\n\n\n\nd ", "a b\nc\n\n\nd"),
        ("html", "<p>Tom &amp;amp; Jerry</p><br>x", "Tom & Jerry\n\nx"),
        ("html", "Use `<br>`: <b>now</b>", "Use `<br>`: now"),
        ("special_tokens", "hi<|im_end|> you</s>", "hi you"),
        ("personal_data", "Mail ada@mail.org or 13812345678.", "Mail [e-mail removed] or [phone number removed]."),
        ("placeholder", "I am {{name}} of {{ NAME }}", "I am Ada of Ada"),
    ],
)
def test_texts_are_mended(tmp_path: Path, fix: str, before: str, after: str) -> None:
    row = {"id": 7, "prompt": "Tell me.", "completion": before, "note": before}
    file = write_rows(tmp_path / "a.jsonl", [row, pair("other", "fine")])
    kept, rejected, summary = cleaned(file, tmp_path / "out", fix, placeholders={"name": "Ada"})
    assert kept == [{**row, "completion": after}, pair("other", "fine")]
    assert list(kept[0]) == list(row)
    assert rejected == []
    assert (summary.rows_changed, summary.changed) == (1, {fix: 1})
    assert read_rows(file)[0] == row


def test_nothing_but_what_was_asked_for_is_changed(tmp_path: Path) -> None:
    rows = [pair(" cafÃ© <b>x</b>", "<|im_end|> {{name}} "), pair("a", ""), pair("same"), pair("same")]
    kept, rejected, summary = cleaned(write_rows(tmp_path / "a.jsonl", rows), tmp_path / "out", "html")
    assert kept == [pair(" cafÃ© x", "<|im_end|> {{name}} "), *rows[1:]]
    assert (rejected, summary.changed) == ([], {"html": 1})


def test_turns_are_mended_in_place(tmp_path: Path) -> None:
    def row(text: str, parts: str) -> dict[str, Any]:
        turns = [{"role": "user", "content": text}, {"role": "assistant", "content": "Fine."}]
        return {"messages": turns, "extra": {"parts": [parts]}}

    file = write_rows(tmp_path / "a.jsonl", [row(" cafÃ© \u00a0", " keep ")])
    kept, _, _ = cleaned(file, tmp_path / "out", "encoding", "whitespace")
    assert kept == [row("café", " keep ")]


def test_json_within_text_is_not_broken(tmp_path: Path) -> None:
    call = json.dumps({"name": "f", "arguments": {"text": "say &quot;hi&quot; <b>now</b>"}})
    turns = [
        {"from": "human", "value": "Call it &amp; go"}, {"from": "function_call", "value": call},
        {"from": "observation", "value": "done"}, {"from": "gpt", "value": "<b>Done.</b>"},
    ]  # fmt: skip
    kept, _, _ = cleaned(write_rows(tmp_path / "a.jsonl", [{"conversations": turns}]), tmp_path / "out", "html")
    values = [turn["value"] for turn in kept[0]["conversations"]]
    assert values == ["Call it & go", call, "done", "Done."]


@pytest.mark.parametrize("name", ["a.json", "a.jsonl"])
def test_bytes_that_are_not_utf8_are_mended_or_the_row_is_rejected(tmp_path: Path, name: str) -> None:
    rows = [pair("cafXX"), pair("fine")]
    text = json.dumps(rows) if name == "a.json" else "".join(json.dumps(row) + "\n" for row in rows)
    file = tmp_path / name
    file.write_bytes(text.encode().replace(b"XX", b"\xe9"))
    kept, rejected, _ = cleaned(file, tmp_path / "with", "encoding")
    assert (kept, rejected) == ([pair("café"), pair("fine")], [])
    kept, rejected, _ = cleaned(file, tmp_path / "without", "html")
    assert kept == [pair("fine")]
    assert [(one["row"], one["kind"]) for one in rejected] == [(1, "encoding")]


def test_rows_go_with_their_reasons(tmp_path: Path) -> None:
    rows = [
        pair("What is it?", "One."), pair("what is it", "one"), pair("b", ""), pair("c", "I am {{name}}"),
        pair("列出四张披头士专辑。", TEXT), pair("d", "x" * 500),
        {"prompt": "no answer column"}, pair("Dear [NAME]", "Hi"),
    ]  # fmt: skip
    file = write_rows(tmp_path / "a.jsonl", rows)
    kept, rejected, summary = cleaned(file, tmp_path / "out", *ALL, max_characters=400)
    assert kept == [rows[0], rows[7]]
    assert [(one["row"], one["kind"]) for one in rejected] == [
        (2, "duplicate"), (3, "empty_answer"), (4, "placeholder"), (5, "language"), (6, "long"), (7, "format"),
    ]  # fmt: skip
    assert rejected[0]["reason"] == f"repeats {file}:1"
    assert [one["data"] for one in rejected] == rows[1:7]
    assert sum(summary.rejected.values()) == 6


def test_leaks_go_from_the_training_rows_only(tmp_path: Path) -> None:
    train = write_rows(tmp_path / "train.jsonl", [pair("Where is it?"), pair("Who is it?"), pair(TEXT, "a"), pair("x")])
    test = write_rows(tmp_path / "test.jsonl", [pair("who is it"), pair(f"{TEXT} Or so.", "a")])
    kept, rejected, _ = cleaned(train, tmp_path / "out", "leak", "near_leak", against=(test,))
    assert kept == [pair("Where is it?"), pair("x")]
    assert [(one["kind"], one["reason"]) for one in rejected] == [
        ("leak", f"has the input of {test}:1"), ("near_leak", f"its input is almost that of {test}:2"),
    ]  # fmt: skip
    assert check_files(tmp_path / "out" / "cleaned.jsonl", against=(test,)).findings == ()


def test_contradictions(tmp_path: Path) -> None:
    rows = [pair("a", "one"), pair("A", "two"), pair("a!", "one"), pair("b", "one"), pair("c", "x"), pair("C", "y")]
    file = write_rows(tmp_path / "a.jsonl", rows)
    assert cleaned(file, tmp_path / "drop", "contradiction")[0] == [rows[3]]
    kept, rejected, _ = cleaned(file, tmp_path / "vote", "contradiction", "duplicate", contradictions="majority")
    assert kept == [rows[0], rows[3]]
    assert rejected[0]["reason"] == f"answers the input of {file}:1 differently"


def test_without_any_short_answer_nothing_contradicts(tmp_path: Path) -> None:
    rows = [pair("a", TEXT), pair("a", f"{TEXT} In summer it goes every hour.")]
    assert cleaned(write_rows(tmp_path / "a.jsonl", rows), tmp_path / "out", "contradiction")[0] == rows


def labelled(rows: int) -> list[dict[str, str]]:
    labels = ["card_arrival", "card_lost", "top_up"]
    made = [{"text": f"message number {i} of {i * i}", "category": labels[i % 3]} for i in range(rows)]
    made[4]["category"], made[9]["category"], made[12]["category"] = "card_lots", "Card Arrival", "card_arival"
    return made


def test_labels_are_renamed(tmp_path: Path) -> None:
    rows = labelled(150)
    kept, rejected, summary = cleaned(write_rows(tmp_path / "a.jsonl", rows), tmp_path / "out", "label_typo")
    assert [row["category"] for row in kept] == ["card_arrival", "card_lost", "top_up"] * 50
    assert (rejected, summary.changed) == ([], {"label_typo": 3})


def test_labels_behind_a_template_are_renamed_in_their_column(tmp_path: Path) -> None:
    file = write_rows(tmp_path / "a.jsonl", labelled(150))
    source = {"path": str(file), "prompt": "Classify: {{ text }}", "completion": "{{ category }}"}
    data = resolve_paths(DataConfig.model_validate({"train": source}), (tmp_path,))
    clean([Part("train", data.train)], CleanConfig(fix=("label_typo",)), tmp_path / "out")
    kept = read_rows(tmp_path / "out" / "cleaned.jsonl")
    assert [row["category"] for row in kept] == ["card_arrival", "card_lost", "top_up"] * 50


def test_labels_in_a_conversation_under_another_name_are_renamed(tmp_path: Path) -> None:
    rows = [
        {"dialogue": [{"role": "user", "content": row["text"]}, {"role": "assistant", "content": row["category"]}]}
        for row in labelled(150)
    ]
    kept, _, summary = cleaned(write_rows(tmp_path / "a.jsonl", rows), tmp_path / "out", "label_typo")
    assert [row["dialogue"][1]["content"] for row in kept] == ["card_arrival", "card_lost", "top_up"] * 50
    assert summary.changed == {"label_typo": 3}


def test_a_renamed_label_makes_a_duplicate_that_goes(tmp_path: Path) -> None:
    rows = [*labelled(150), {"text": "Message number 12 of 144!", "category": "card_arrival"}]
    kept, rejected, _ = cleaned(write_rows(tmp_path / "a.jsonl", rows), tmp_path / "out", "label_typo", "duplicate")
    assert len(kept) == 150
    assert [(one["row"], one["kind"]) for one in rejected] == [(151, "duplicate")]


def messy(rng: random.Random, count: int) -> list[Any]:
    """Rows with every fault that can be mended, many of them with several."""
    words = [
        "river",
        "town",
        "bus",
        "winter",
        "road",
        "house",
        "bridge",
        "market",
        "garden",
        "school",
        "doctor",
        "letter",
    ]
    faults = [
        lambda t: t, lambda t: t, lambda t: t, str.upper, lambda t: f" {t}\u00a0", lambda t: f"<p>{t}</p>",
        lambda t: f"{t} &amp;lt;b&amp;gt;", lambda t: f"{t}\u200b", lambda t: f"{t}<|im_end|>",
        lambda t: f"caf{chr(195)}© {t}",
        lambda t: f"{t} ada{len(t)}@mail.org", lambda t: f"{t} {{{{name}}}}", lambda t: f"{t} {{{{ other }}}}",
        lambda t: "", lambda t: f"{t} <</s>/s>", lambda t: f"{t} &amp;amp;nbsp;", lambda t: f"<<b>b>{t}",
    ]  # fmt: skip
    bases = [" ".join(rng.choices(words, k=rng.randint(4, 40))) for _ in range(count // 3)]
    rows: list[Any] = []
    for _ in range(count):
        text = rng.choice(bases).split()
        if rng.random() < 0.3:
            text[rng.randrange(len(text))] = rng.choice(words)
        question = rng.choice(faults)(" ".join(text)) or "empty"
        rows.append(pair(question, rng.choice(faults)(" ".join(rng.choices(words, k=rng.randint(1, 30))))))
    return [*rows, "no object", {"prompt": "x"}]


@pytest.mark.parametrize("fixes", [ALL, ("duplicate", "near_duplicate"), ("html", "special_tokens", "whitespace")])
def test_cleaning_twice_gives_the_same_bytes(tmp_path: Path, fixes: tuple[str, ...]) -> None:
    file = write_rows(tmp_path / "a.jsonl", messy(random.Random(0), 1_500))
    against = write_rows(tmp_path / "test.jsonl", messy(random.Random(1), 60)[:-2])
    options: dict[str, Any] = {"against": (against,), "placeholders": {"name": "Ada"}}
    _, rejected, summary = cleaned(file, tmp_path / "once", *fixes, **options)
    assert rejected
    assert summary.changed or fixes == ("duplicate", "near_duplicate")
    cleaned(tmp_path / "once" / "cleaned.jsonl", tmp_path / "twice", *fixes, **options)
    assert (tmp_path / "twice" / "rejected.jsonl").read_bytes() == b""
    once, twice = ((tmp_path / name / "cleaned.jsonl").read_bytes() for name in ("once", "twice"))
    assert once == twice


def test_a_second_run_gives_the_same_files(tmp_path: Path) -> None:
    file = write_rows(tmp_path / "a.jsonl", messy(random.Random(2), 600))
    results = []
    for name in ("one", "two"):
        cleaned(file, tmp_path / name, *ALL, placeholders={"name": "Ada"})
        results.append([(tmp_path / name / part).read_bytes() for part in ("cleaned.jsonl", "rejected.jsonl")])
    assert results[0] == results[1]


def test_order_is_kept_and_checks_find_nothing_more(tmp_path: Path) -> None:
    rows = [
        {"number": i, **row} if isinstance(row, dict) else row for i, row in enumerate(messy(random.Random(3), 600))
    ]
    kept, _, _ = cleaned(write_rows(tmp_path / "a.jsonl", rows), tmp_path / "out", *ALL)
    numbers = [row["number"] for row in kept]
    assert numbers == sorted(numbers)
    report = check_files(tmp_path / "out" / "cleaned.jsonl", kinds=set(ALL) - {"language"})
    # Different long answers to one input are let alone.
    left = {finding.reason for finding in report.findings if finding.severity != "info"}
    assert left <= {"repeats the input of an earlier row, with another answer"}


def test_a_directory_with_files_is_refused_and_the_source_stays(tmp_path: Path) -> None:
    file = write_rows(tmp_path / "a.jsonl", [pair("a")])
    with pytest.raises(DataError, match="not empty"):
        cleaned(file, tmp_path, "html")
    assert read_rows(file) == [pair("a")]


def test_files_with_different_columns_are_not_thrown_together(tmp_path: Path) -> None:
    one = write_rows(tmp_path / "a.jsonl", [pair("a")])
    two = write_rows(tmp_path / "b.jsonl", [{"instruction": "a", "output": "b"}])
    with pytest.raises(DataError, match="different columns"):
        clean(parts_of_files([one, two]), CleanConfig(fix=("html",)), tmp_path / "out")


def test_numbers_that_json_does_not_have_are_told(tmp_path: Path) -> None:
    columns = {"prompt": ["a", "b", "c"], "completion": ["x", "y", "z"], "score": [1.5, float("nan"), float("inf")]}
    pyarrow.parquet.write_table(pyarrow.table(columns), tmp_path / "a.parquet")
    kept, _, summary = cleaned(tmp_path / "a.parquet", tmp_path / "out", "html", "near_duplicate")
    assert [row["score"] for row in kept] == [1.5, None, None]
    (note,) = summary.notes
    assert note.startswith("rows that hold NaN or Infinity") and f"null: 2 (first: {tmp_path}/a.parquet, row 2)" in note


def test_every_fixable_kind_is_a_fix() -> None:
    assert set(CleanConfig(fix=ALL).fix) == set(ALL)
