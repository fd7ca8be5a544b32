"""`weitiao run` and `weitiao report` as a person types them, on a tiny model."""

from __future__ import annotations

import json
import os
import re
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from forked import Forks, server
from workbench import final_weights, weitiao, write_recipe, write_rows

STEPS = [
    "check", "baseline", "retention-before", "train", "eval", "retention-after", "compare", "verdict", "report",
]  # fmt: skip


def recipe(directory: Path, model: Path, *, steps: int = 30, save_every: int = 5) -> Path:
    path = write_recipe(
        directory, model, train={"max_steps": steps, "save_every": save_every, "validate_every": 2 * save_every},
        data={"validation": "validation.jsonl", "test": "test.jsonl"},
        evaluate={"generation": {"max_new_tokens": 6}},
        baseline={"shots": [0, 1]},
        retention={"parts": ["text-en", "knowledge-en"], "limit": 4},
        verdict={"target": 0.5, "least_rows": 5},
        run={"on_findings": "continue"},
    )  # fmt: skip
    write_rows(directory / "validation.jsonl", 6, start=100)
    write_rows(directory / "test.jsonl", 12, start=200)
    return path


@pytest.fixture(scope="module")
def whole(tiny_llama_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str, int]:
    """A run from beginning to end: its directory, what it printed, and its exit code."""
    directory = tmp_path_factory.mktemp("whole")
    done = weitiao("run", recipe(directory, tiny_llama_dir), "--json")
    assert done.returncode in (0, 3, 4), done.stderr
    result = json.loads(done.stdout)
    assert result["exit_code"] == done.returncode
    assert [step["state"] for step in result["steps"]] == ["done"] * len(STEPS), done.stderr
    return directory / "run", done.stderr, done.returncode


@pytest.fixture
def forks() -> Forks:
    return server()


def test_every_step_has_a_rule_with_its_number_and_says_what_came_out(whole: tuple[Path, str, int]) -> None:
    lines = whole[1].splitlines()
    for number, step in enumerate(STEPS, start=1):
        assert any(line.startswith(f"{number}/9 {step} ") for line in lines), step
        assert any(re.match(rf"{step}: .+ \([\d.]+ .*s, [\d.]+ GiB\)", line) for line in lines), step
    for noise in ("Warning", "Traceback", "huggingface"):
        assert noise not in whole[1]


def test_every_step_says_what_came_out_in_chinese_as_well(whole: tuple[Path, str, int]) -> None:
    steps = json.loads((whole[0] / "steps.json").read_text(encoding="utf-8"))["steps"]
    assert list(steps) == list(STEPS)
    for name in STEPS[:-1]:  # the last is a path
        assert re.search("[一-鿿]", steps[name]["summary_zh"]), name
        assert not re.search("[一-鿿]|\N{NO-BREAK SPACE}", steps[name]["summary"]), name


def test_how_the_data_was_read_is_said_once(whole: tuple[Path, str, int]) -> None:
    said = [line for line in whole[1].splitlines() if "(detected)" in line or "sequences from" in line]
    assert len(said) == len(set(said)) == 5  # three parts are read, two are rendered


def test_a_second_call_does_nothing_and_exits_as_the_first(whole: tuple[Path, str, int], forks: Forks) -> None:
    run, _, code = whole
    done = forks.call("run", run.parent / "recipe.yaml")
    assert done.returncode == code
    assert done.stderr.count("nothing to do") == len(STEPS)
    again = forks.call("run", run)  # the run directory itself, whose recipe is resolved
    assert again.returncode == code
    assert again.stderr.count("nothing to do") == len(STEPS), again.stderr


def test_a_changed_target_reaches_the_verdict_without_training_or_answering_again(
    whole: tuple[Path, str, int], forks: Forks
) -> None:
    run = whole[0]
    before = (run / "predictions.jsonl").stat().st_mtime_ns, final_weights(run)
    done = forks.call("run", run, "verdict.target=0.4", "--json")
    states = {step["name"]: step["state"] for step in json.loads(done.stdout)["steps"]}
    assert [name for name in STEPS if states[name] == "done"] == ["baseline", "compare", "verdict", "report"]
    assert ((run / "predictions.jsonl").stat().st_mtime_ns, final_weights(run)) == before
    assert forks.call("run", run, "verdict.target=0.5").returncode == whole[2]


def test_report_writes_the_page_again_from_the_files_alone(
    whole: tuple[Path, str, int], forks: Forks, tmp_path: Path
) -> None:
    run = whole[0]
    assert "weitiao report" in (run / "report.html").read_text(encoding="utf-8")
    done = forks.call("report", run, "--language", "zh", "--output", tmp_path / "page.html", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["path"] == str(tmp_path / "page.html")
    assert 'lang="zh-CN"' in (tmp_path / "page.html").read_text(encoding="utf-8")
    assert forks.call("report", tmp_path).returncode == 2


def test_until_skip_and_unknown_steps(tiny_llama_dir: Path, forks: Forks, tmp_path: Path) -> None:
    path = recipe(tmp_path, tiny_llama_dir)
    done = forks.call("run", path, "--until", "check")
    assert done.returncode == 0, done.stderr
    assert "baseline" not in (tmp_path / "run" / "steps.json").read_text()
    done = forks.call("run", path, "--until", "tune")
    assert done.returncode == 2
    assert "no step `tune`" in done.stderr


def test_errors_in_the_data_stop_the_run_with_a_report_and_exit_code_3(
    tiny_llama_dir: Path, forks: Forks, tmp_path: Path
) -> None:
    path = recipe(tmp_path, tiny_llama_dir)
    with (tmp_path / "rows.jsonl").open("a") as file:
        file.write((tmp_path / "test.jsonl").read_text())  # the test rows leak into the training rows
    done = forks.call("run", path, "run.on_findings=stop", "--json")
    assert done.returncode == 3, done.stderr
    result = json.loads(done.stdout)
    assert result["stop"]["reason"] == "findings"
    assert "run.on_findings=continue" in done.stderr
    assert not (tmp_path / "run" / "final").exists()
    page = (tmp_path / "run" / "report.html").read_text(encoding="utf-8")
    assert "Stopped: errors in the data" in page
    assert forks.call("run", path, "run.on_findings=stop").returncode == 3  # also when nothing is left to do


def test_when_prompting_suffices_nothing_is_trained(tiny_llama_dir: Path, forks: Forks, tmp_path: Path) -> None:
    done = forks.call("run", recipe(tmp_path, tiny_llama_dir), "verdict.target=0", "--json")
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert (result["stop"]["reason"], result["verdict"]) == ("advice", None)
    assert not (tmp_path / "run" / "final").exists()
    assert "Prompting suffices" in (tmp_path / "run" / "report.html").read_text(encoding="utf-8")


def kill_when(path: Path, is_due: Callable[[dict[str, str]], bool]) -> Callable[[int], None]:
    """Kills a process as soon as the states of the steps are such."""
    record = path.parent / "run" / "steps.json"

    def watch(pid: int) -> None:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            steps = json.loads(record.read_text())["steps"] if record.exists() else {}
            if is_due({name: step["state"] for name, step in steps.items()}):
                os.kill(pid, signal.SIGKILL)
                return
            time.sleep(0.001)
        raise AssertionError("it did not get that far")

    return watch


def test_killed_inside_and_after_every_step_it_comes_to_the_same_end(
    whole: tuple[Path, str, int], tiny_llama_dir: Path, forks: Forks, tmp_path: Path
) -> None:
    path = recipe(tmp_path, tiny_llama_dir)
    for step in STEPS[:-1]:
        for wanted in (("started", "done"), ("done",)):
            killed = forks.call(
                "run",
                path,
                meanwhile=kill_when(path, lambda states, step=step, wanted=wanted: states.get(step) in wanted),
            )
            assert killed.returncode == -signal.SIGKILL, killed.stderr
    done = forks.call("run", path, "--json")
    assert done.returncode == whole[2], done.stderr
    states = {step["name"]: step["state"] for step in json.loads(done.stdout)["steps"]}
    assert {name for name in STEPS if states[name] == "done"} == {"report"}
    assert final_weights(tmp_path / "run") == final_weights(whole[0])
    for name in ("verdict.json", "predictions.jsonl"):
        assert (tmp_path / "run" / name).read_bytes() == (whole[0] / name).read_bytes()
    assert not list((tmp_path / "run").glob("*.part"))


def test_interrupted_while_training_it_exits_130_and_goes_on(
    whole: tuple[Path, str, int], tiny_llama_dir: Path, forks: Forks, tmp_path: Path
) -> None:
    path = recipe(tmp_path, tiny_llama_dir, steps=200, save_every=100)
    metrics = tmp_path / "run" / "metrics.jsonl"

    def interrupt(pid: int) -> None:
        deadline = time.monotonic() + 60
        while not (metrics.exists() and metrics.read_text().count('"loss"') > 3) and time.monotonic() < deadline:
            time.sleep(0.001)
        os.kill(pid, signal.SIGINT)

    done = forks.call("run", path, meanwhile=interrupt)
    assert done.returncode == 130, done.stderr
    assert "what is done is kept" in done.stderr
    steps = len(metrics.read_text().splitlines())
    assert 3 < steps < 200
    done = forks.call("run", path, "--until", "train")
    assert done.returncode == 0, done.stderr
    assert "Going on after step" in done.stderr
