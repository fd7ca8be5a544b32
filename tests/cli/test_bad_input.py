"""Bad input through the real command line: exit code 2, one clear error, no traceback, nothing lost."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from workbench import weitiao, write_recipe

from weitiao.errors import WeitiaoError
from weitiao.recipe import load_recipe
from weitiao.study.train import train


@pytest.fixture
def recipe(tiny_llama_dir: Path, tmp_path: Path) -> Path:
    return write_recipe(tmp_path, tiny_llama_dir, train={"max_steps": 2})


def rows(recipe: Path, *lines: str | bytes) -> None:
    data = b"".join((line.encode() if isinstance(line, str) else line) + b"\n" for line in lines)
    (recipe.parent / "rows.jsonl").write_bytes(data)


def row(text: str, answer: str = "yes") -> str:
    return json.dumps({"instruction": text, "input": "", "output": answer})


def test_the_command_line_prints_error_and_remedy_and_exits_2(recipe: Path) -> None:
    (recipe.parent / "rows.jsonl").unlink()
    done = weitiao("train", recipe)
    assert done.returncode == 2
    first, second = done.stderr.strip().splitlines()
    assert first.startswith("Error: ")
    assert "rows.jsonl" in first
    assert second.startswith("Remedy: ")
    assert done.stdout == ""


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ([], r"rows.jsonl.*(empty|no rows)"),
        ([row("a"), row("b", ""), row("c")], r"rows.jsonl.*2.*output"),
        ([row("a"), '"a string"', row("c")], r"rows.jsonl.*2"),
        ([row("a"), '{"instruction": "b", "output": 5}', row("c")], r"rows.jsonl.*2.*output"),
        ([row("a"), b'{"instruction": "\xff", "output": "x"}'], r"rows.jsonl.*line 2.*UTF-8"),
        ([row("a"), '{"instruction": "b", '], r"rows.jsonl.*line 2"),
    ],
    ids=["empty", "empty answer", "another type", "number for text", "invalid utf-8", "cut off"],
)
def test_bad_data_names_file_row_and_reason(recipe: Path, lines: list[str | bytes], message: str) -> None:
    rows(recipe, *lines)
    with pytest.raises(WeitiaoError, match=message):
        train(load_recipe(recipe))
    assert not (recipe.parent / "run" / "checkpoints").exists()


def test_skipping_bad_rows_trains_on_the_rest_and_keeps_the_bad_ones(recipe: Path) -> None:
    rows(recipe, *[row(f"question {i}") for i in range(20)], row("no answer", ""), '"a string"')
    done = weitiao("train", recipe, "data.on_bad_rows=skip")
    assert done.returncode == 0, done.stderr
    rejected = (recipe.parent / "run" / "rejected.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line)["row"] for line in rejected] == [21, 22]
    assert "2" in done.stderr


def test_data_in_which_nothing_is_learned_is_an_error(recipe: Path) -> None:
    rows(recipe, *[row("a very long question " * 40) for _ in range(3)])
    with pytest.raises(WeitiaoError, match=r"supervised|learned"):
        train(load_recipe(recipe, ["rendering.max_length=20", "rendering.on_long=truncate"]))


def test_a_missing_model_is_an_error_with_the_nearest_name(recipe: Path) -> None:
    with pytest.raises(WeitiaoError, match="smollm2-135n") as caught:
        train(load_recipe(recipe, ["model.name=smollm2-135n"]))
    assert "smollm2-135m" in str(caught.value)


def test_an_unknown_target_module_and_tracker_are_errors(recipe: Path) -> None:
    with pytest.raises(WeitiaoError, match="no linear layer for text named query"):
        train(load_recipe(recipe, ["method.target_modules=[query]"]))
    with pytest.raises(WeitiaoError, match="nosuchtracker"):
        train(load_recipe(recipe, ["train.trackers=[nosuchtracker]"]))


def test_a_row_longer_than_the_token_budget_is_an_error(recipe: Path) -> None:
    with pytest.raises(
        WeitiaoError, match=r"longer than train.token_budget=30; the longest is rows.jsonl:\d+, of \d+ tokens"
    ):
        train(load_recipe(recipe, ["train.token_budget=30"]))
