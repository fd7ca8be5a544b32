"""Paths as people write them, in every command: relative from elsewhere, with `~`, spaces, brackets, Chinese."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from workbench import write_recipe, write_rows

from weitiao.cli.main import main
from weitiao.paths import expanded_word, find_path, user_path
from weitiao.recipe import load_recipe

FOLDERS = ["plain", "two words", "[red]brackets[0]", "微调 数据", "a=b:2x"]


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Calls the real command line in this process; returns stdout and stderr."""

    def run(*words: str | Path, code: int = 0) -> str:
        monkeypatch.setattr(sys, "argv", ["weitiao", *map(str, words)])
        with pytest.raises(SystemExit) as ended:
            main()
        shown = capsys.readouterr()
        assert (ended.value.code or 0) == code, shown.err
        return shown.out + shown.err

    return run


def every_way(folder: Path, home: Path) -> list[str]:
    """The same path relative to the current directory, and below `~`."""
    return [os.path.relpath(folder), "~/" + str(folder.relative_to(home))]


@pytest.mark.parametrize("name", FOLDERS)
def test_data_commands_take_every_path(
    call: Callable[..., str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    folder, elsewhere = tmp_path / name, tmp_path / "else where"
    folder.mkdir()
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    write_rows(folder / "rows.jsonl", 30)
    for number, way in enumerate(every_way(folder, tmp_path)):
        out = f"{way}/out{number}"
        done = folder / f"out{number}"
        rows = f"{way}/rows.jsonl"
        if number == 0:
            assert json.loads(call("data", "inspect", rows, "--json").splitlines()[0])["parts"][0]["rows"] == 30
        call("data", "check", rows, "--against", rows, "--kind", "leak", code=3)
        call("data", "clean", rows, "--fix", "near_duplicate", "--fix", "duplicate", "--output", f"{out}-clean")
        assert {file.name for file in Path(f"{done}-clean").iterdir()} == {
            "cleaned.jsonl", "rejected.jsonl", "summary.json"
        }  # fmt: skip
        call("data", "split", rows, "--test", "0.2", f"--output={out}-parts")
        call("data", "mix", rows, f"{rows}:5", "--output", f"{out}-mixed.jsonl")
        call("data", "convert", rows, f"{out}-converted.parquet", "--to", "messages")
        assert len(Path(f"{done}-mixed.jsonl").read_text().splitlines()) == 35
        assert Path(f"{done}-parts/test.jsonl").exists() and Path(f"{done}-converted.parquet").exists()
    assert list(elsewhere.iterdir()) == []


def test_a_cleaning_that_fails_leaves_nothing_and_can_be_repeated(
    call: Callable[..., str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_rows(tmp_path / "a.jsonl", 5)
    (tmp_path / "b.jsonl").write_text('{"prompt": "q", "completion": "a"}\n')
    shown = call("data", "clean", "a.jsonl", "b.jsonl", "--fix", "near_duplicate", "--output", "out", code=2)
    assert "different columns" in shown and sorted(path.name for path in tmp_path.iterdir()) == ["a.jsonl", "b.jsonl"]
    call("data", "clean", "a.jsonl", "--fix", "near_duplicate", "--output", "out")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.jsonl", "b.jsonl", "out"]


@pytest.mark.parametrize("name", FOLDERS)
def test_a_recipe_finds_all_that_it_names_beside_it(
    call: Callable[..., str], tiny_llama_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    folder = tmp_path / name
    recipe = write_recipe(
        folder,
        Path("model"),
        data={"test": "test.jsonl", "replay": {"path": "rows.jsonl", "share": 0.1}},
        rendering={"template": "chat.jinja"},
        baseline={"models": [{"name": "model"}]},
        evaluate={"metrics": ["my.py:score"]},
        run_dir="~/runs/one",
    )
    (folder / "model").symlink_to(tiny_llama_dir)
    write_rows(folder / "test.jsonl", 5, start=100)
    (folder / "chat.jinja").write_text("{% for m in messages %}{{ m['content'] }}{% endfor %}")
    (folder / "my.py").write_text("def score(answer, expected): return 1.0\n")
    for way in every_way(recipe, tmp_path):
        found = load_recipe(Path(way))
        assert found.model.name == found.baseline.models[0].name == str(folder / "model")
        assert [one.path for one in found.data.train] == [str(folder / "rows.jsonl")]
        assert found.data.replay is not None and found.data.replay.path == str(folder / "rows.jsonl")
        assert found.rendering.template == str(folder / "chat.jinja")
        assert found.evaluate.graders[0].path == f"{folder / 'my.py'}:score"  # type: ignore[union-attr]
        assert found.run_dir == tmp_path / "runs" / "one"


def test_commands_of_a_run_take_every_path(
    call: Callable[..., str], tiny_llama_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    folder = tmp_path / "[red] 微调 a=b"
    recipe = write_recipe(
        folder, tiny_llama_dir, num_rows=8, data={"test": "test.jsonl"}, train={"epochs": 1},
        evaluate={"generation": {"max_new_tokens": 2}},
    )  # fmt: skip
    write_rows(folder / "test.jsonl", 2, start=100)
    elsewhere = tmp_path / "else where"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    recipe, run = Path(os.path.relpath(recipe)), "~/[red] 微调 a=b/my run"
    call("show", recipe)
    call("train", recipe, f"run_dir={run}")
    whole = folder / "whole run"
    settings = ["retention.suite=small", "retention.parts=[text-en]", "retention.limit=2", "baseline.shots=[0]"]
    call("run", recipe, f"run_dir=~/{whole.relative_to(tmp_path)}", "run.on_advice=continue", *settings, code=4)
    for way in (run, os.path.relpath(folder / "my run")):
        call("eval", way)
        call("why", way, "--step", "1")
        call("retention", way, *settings)
        call("baseline", way, *settings)
        call("report", way)
        call("compare", f"base:{os.path.relpath(whole)}", way)
    call("verdict", os.path.relpath(whole), code=4)
    call("merge", os.path.relpath(folder / "my run"), "merged [1]")
    assert (elsewhere / "merged [1]" / "config.json").exists()
    assert [entry.name for entry in elsewhere.iterdir()] == ["merged [1]"]


def test_words_and_homes() -> None:
    home = str(Path.home())
    assert user_path("~/a") == Path(home, "a")
    assert user_path("~nobody-of-this-name/a") == Path("~nobody-of-this-name/a")
    assert [expanded_word(word) for word in ("~/a", "--output=~/a", "run_dir=~/a", "a~", "x=a~", "say: =~/a")] == [
        f"{home}/a", f"--output={home}/a", f"run_dir={home}/a", "a~", "x=a~", "say: =~/a"
    ]  # fmt: skip
    assert find_path("x" * 5000, [Path("/")]) is None
