"""`weitiao init`: a recipe from rows of every kind, which reads back and asks what the rows ask."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest

from weitiao.data.load import DataSet, load_data
from weitiao.errors import DataError, RecipeError
from weitiao.recipe import Recipe, load_recipe
from weitiao.study.init.content import scalar
from weitiao.study.init.run import FirstRecipe, init_recipe
from weitiao.yaml_text import parse_yaml

LONG = "It was a bright cold day in April, and the clocks were striking thirteen. Nobody looked up. " * 3


def rows_file(path: Path, rows: list[dict[str, Any]]) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return str(path)


def made(*files: str, output: Path | None = None) -> tuple[FirstRecipe, Recipe, DataSet]:
    first = init_recipe(files, output, tell=lambda line: None)
    recipe = load_recipe(first.path)
    return first, recipe, load_data(recipe.data)


def test_labels_are_listed_and_scored_by_accuracy(tmp_path: Path) -> None:
    labels = ["card: lost", 'pay "now"', "other #1", "中文"]
    with (tmp_path / "tickets.csv").open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(["id", "the text", "team"])
        table.writerows([i, f"please look at my case number {i}", labels[i % 4]] for i in range(400))
    first, recipe, data = made(str(tmp_path / "tickets.csv"))
    assert first.path == tmp_path / "recipe.yaml"
    assert (first.task, first.metrics, first.rows, first.bad) == ("labels", ("accuracy", "macro_f1"), 400, 0)
    assert [one.title for one in recipe.evaluate.metrics] == ["accuracy", "macro_f1"]
    assert (len(data.test), len(data.validation)) == (100, 20)
    system, user, _ = data.test[0].messages
    assert all(label in system["content"] for label in labels)
    assert user["content"].startswith("please look at my case number ")
    assert data.test[0].answer in labels
    assert recipe.data.train[0].path == str(tmp_path / "tickets.csv")
    assert "path: tickets.csv" in first.path.read_text(encoding="utf-8")  # it can be moved with its folder


def test_answers_decide_the_metric(tmp_path: Path) -> None:
    cases: dict[str, tuple[list[dict[str, Any]], str, str]] = {
        "sums": (
            [{"question": f"what is {i} and {i}, added?", "answer": f"{i} + {i}\n#### {2 * i}"} for i in range(60)],
            "numbers",
            "number",
        ),
        "orders": (
            [{"prompt": f"order {i} of tea", "completion": json.dumps({"item": "tea", "n": i})} for i in range(60)],
            "json",
            "json_fields",
        ),
        "names": (
            [{"instruction": "name it", "input": f"thing {i}", "output": f"Thing-X{i}y"} for i in range(60)],
            "short",
            "exact_match",
        ),
        "stories": (
            [{"instances": [{"input": "", "output": f"{i}. {LONG}"}], "instruction": f"tell {i}"} for i in range(60)],
            "long",
            "rouge_l",
        ),
        "spans": (
            [{"data": [{"text": "play "}, {"text": f"song {i}", "entity": "track"}, {"text": "!"}]} for i in range(60)],
            "json",
            "json_fields",
        ),
        "raw": ([{"text": f"{LONG}{i}", "url": f"http://x/{i}"} for i in range(60)], "text", "perplexity"),
    }
    for name, (rows, task, metric) in cases.items():
        first, recipe, data = made(rows_file(tmp_path / f"{name}.jsonl", rows), output=tmp_path / f"{name}.yaml")
        assert (name, first.task, first.metrics[0]) == (name, task, metric)
        assert recipe.evaluate.metrics[0].title == metric
        assert len(data.train) + len(data.validation) + len(data.test) == 60
        if name == "spans":
            example = data.train[0]
            assert example.messages[0]["content"] == f"play {json.loads(example.answer)['track']}!"


def test_files_named_as_held_out_are_held_out(tmp_path: Path) -> None:
    rows = [{"query": f"how do I do the thing {i}", "label": "ab"[i % 2]} for i in range(80)]
    files = [rows_file(tmp_path / f"x_{part}.jsonl", rows[at : at + 20]) for at, part in ((40, "test"), (60, "valid"))]
    _, recipe, data = made(rows_file(tmp_path / "x_train.jsonl", rows[:40]), *files)
    assert (len(data.train), len(data.validation), len(data.test)) == (40, 20, 20)
    assert "test" in recipe.data.sources
    assert {example.answer for example in data.test} == {"a", "b"}
    with pytest.raises(DataError, match="named as held-out"):
        init_recipe(files, tmp_path / "other.yaml", tell=lambda line: None)


def test_judged_answers_become_examples_of_the_good_ones(tmp_path: Path) -> None:
    pairs = [{"prompt": f"say {i}", "chosen": f"{LONG}{i}", "rejected": "no"} for i in range(40)]
    marks = [{"prompt": f"say {i}", "completion": f"{LONG}{i}", "label": i % 2 == 0} for i in range(40)]
    for name, rows, num in (("pairs", pairs, 40), ("marks", marks, 20)):
        first, _, data = made(rows_file(tmp_path / f"{name}.jsonl", rows), output=tmp_path / f"{name}.yaml")
        assert first.converted == (str(tmp_path / f"{name}.good.jsonl"),)
        assert first.rows == len(data.train) + len(data.validation) + len(data.test) == num
        assert data.train[0].answer.startswith("It was")


def test_bad_rows_are_counted_and_skipped(tmp_path: Path) -> None:
    rows = [{"question": f"what of {i} is there", "answer": "" if i % 4 == 0 else f"{LONG}{i}"} for i in range(80)]
    first, recipe, data = made(rows_file(tmp_path / "x.jsonl", rows))
    assert (first.rows, first.bad, recipe.data.on_bad_rows) == (60, 20, "skip")
    assert len(data.train) + len(data.validation) + len(data.test) == 60


def test_what_cannot_be_learned_is_refused_and_nothing_is_overwritten(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no column looks like an answer, of key, prompt"):
        made(rows_file(tmp_path / "x.jsonl", [{"key": i, "prompt": f"write a poem on {i}"} for i in range(30)]))
    with pytest.raises(DataError, match="no such file"):
        made(str(tmp_path / "none.csv"))
    assert not (tmp_path / "recipe.yaml").exists()
    (tmp_path / "recipe.yaml").write_text("mine")
    with pytest.raises(RecipeError, match="is there already"):
        made(rows_file(tmp_path / "x.jsonl", [{"prompt": "a", "completion": "b"}] * 30))
    assert (tmp_path / "recipe.yaml").read_text() == "mine"


@pytest.mark.parametrize(
    "text",
    [
        "plain",
        "no",
        "2024-05-01",
        "1e3",
        "a: b",
        "# x",
        "[/INST] {x}",
        "tab\t\nnl \x00\x1b\x85\u2028",
        '"\\"',
        "😀 中",
        "🏴\U000e0067\U000e0062\U000e007f",
        "",
    ],
)
def test_every_text_reads_back_as_itself(text: str) -> None:
    assert parse_yaml(f"{scalar('key')}: {scalar(text)}", "x") == {"key": text}
