"""Rows, answers, labels and paths that a terminal could misread: every command prints them as text."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from forked import Forks, server

from weitiao.cli.console import closing_panel, results
from weitiao.terminal.console import TextConsole
from weitiao.terminal.progress import retention_progress

QUESTIONS = ["[/INST] colour {}?", "[red]colour[/] {} :smile:", "[link=x]colour {}", "\x1b[2Jcolour {} 颜色"]
ANSWERS = ["[/b]", "[red]", ":heart: \x9b1m", "[bold 好"]
FOLDER = "folder [/x] [red] :smile:"


@pytest.fixture(scope="module")
def folder(tiny_llama_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Rows and a recipe, both with brackets and codes in their names, a tiny model beside."""
    place = tmp_path_factory.mktemp("odd") / FOLDER
    (place / "rows [").mkdir(parents=True)
    (place / "recipe [").mkdir()
    rows = [
        {"prompt": QUESTIONS[i % 4].format(i), "completion": ANSWERS[i % 4], "[group]": ANSWERS[i % 3]}
        for i in range(24)
    ]
    lines = [json.dumps(row, ensure_ascii=i % 2 == 0) + "\n" for i, row in enumerate(rows)]
    (place / "rows [/x].jsonl").write_text("".join(lines), encoding="utf-8")
    recipe = {
        "model": {"name": str(tiny_llama_dir), "dtype": "float32"},
        "data": {"train": str(place / "rows [/x].jsonl"), "test": 0.4},
        "train": {"max_steps": 2, "batch_size": 4, "threads": 1, "validate_every": 1},
        "evaluate": {"generation": {"max_new_tokens": 4}, "metrics": ["exact_match", "accuracy"]},
        "baseline": {"shots": [0, 1], "selection": ["random"]},
        "retention": {"limit": 2},
        "run_dir": str(place / "run [/x]"),
    }
    (place / "recipe [/x].yaml").write_text(json.dumps(recipe), encoding="utf-8")
    return place


@pytest.fixture
def forks() -> Forks:
    return server()


def test_every_command_prints_rows_and_paths_as_they_are(
    folder: Path, forks: Forks, tiny_llama_dir: Path, tmp_path: Path
) -> None:
    for name in ("merged [", "clean [", "split [", "converted [", "mixed ["):
        (tmp_path / name).mkdir()
    recipe, rows, run = folder / "recipe [/x].yaml", folder / "rows [/x].jsonl", tmp_path / "run [/x]"
    here = f"run_dir={run}"
    printed = {}
    for words in (
        ["data", "inspect", rows], ["data", "check", rows], ["show", recipe, "-n", "14"], ["train", recipe, here],
        ["eval", run], ["why", run, "--step", "1"], ["baseline", recipe, here],
        ["compare", f"base:{run}", run], ["report", run], ["chat", run, "--max-new-tokens", "2"],
        ["merge", run, tmp_path / "merged [/x]"],
        ["data", "clean", rows, "--fix", "duplicate", "--output", tmp_path / "clean [/x]"],
        ["data", "split", rows, "--test", "0.2", "--output", tmp_path / "split [/x]"],
        ["data", "convert", rows, tmp_path / "converted [/x].jsonl", "--to", "messages"],
        ["data", "mix", rows, rows, "--output", tmp_path / "mixed [/x].jsonl"],
        ["init", rows, "--output", tmp_path / "first [/x].yaml"],
        ["show", tmp_path / "first [/x].yaml", f"model={tiny_llama_dir}", "-n", "14"],
    ):  # fmt: skip
        done = forks.call(*words)
        text = done.stdout + done.stderr
        assert done.returncode in (0, 3, 4), (words, text)
        assert "Traceback" not in text, words
        assert "\x1b" not in text, words
        printed[" ".join(map(str, words[:2])).split("/")[0].strip()] = text
    assert "[/INST]" in printed["show"]
    assert "[red]colour[/]" in printed["show"]
    assert ":smile:" in printed["show"]
    assert r"\x1b[2J" in printed["show"]
    assert "[/b]" in printed["eval"]
    assert f"weitiao eval '{run}'" in printed["train"]
    assert "Answer with exactly one of: " in printed["show"]  # the labels are in the first recipe
    assert f"weitiao show '{tmp_path / 'first [/x].yaml'}'" in printed["init"]


@pytest.mark.parametrize("encoding", ["ascii", "cp1252"])
def test_a_terminal_that_lacks_characters_gets_escapes(folder: Path, forks: Forks, encoding: str) -> None:
    recipe = folder / "recipe [/x].yaml"
    done = forks.call("show", recipe, "-n", "14", encoding=encoding)
    assert done.returncode == 0, done.stderr
    assert r"\u989c\u8272" in done.stdout
    done = forks.call("train", recipe, "data.train='none [/y] :smile: 颜.jsonl'", encoding=encoding)
    assert done.returncode == 2
    assert done.stderr.startswith("Error: ")
    assert r"none [/y] :smile: \u989c" in done.stderr
    assert "Traceback" not in done.stderr
    done = forks.call("data", "inspect", folder / "rows [/x].jsonl", "--json", encoding=encoding)
    assert "好" in json.dumps(json.loads(done.stdout), ensure_ascii=False)
    assert forks.call("--help", encoding=encoding).returncode == 0


def test_titles_statuses_and_bars_are_text(capsys: pytest.CaptureFixture[str]) -> None:
    """What Rich reads as markup whatever its console says."""
    closing_panel(results(), "[/INST]", [("run", "[red]")], ["weitiao eval ':smile:'"])
    shown = capsys.readouterr().out
    assert all(text in shown for text in ("[/INST]", "[red]", ":smile:"))
    console = TextConsole()
    with console.capture() as captured, retention_progress(console, "[/model]") as show:
        show("part", 0.5)
    assert "Error" not in captured.get()
