"""Interrupted runs end with the very weights of a run that was never interrupted."""

from __future__ import annotations

import random
import shutil
import signal
from pathlib import Path

import pytest
from workbench import final_weights, signal_after, steps_of, weitiao, write_long_rows, write_recipe

STEPS = 120


@pytest.fixture(scope="module")
def uninterrupted(tiny_llama_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("whole")
    done = weitiao("train", recipe(directory, tiny_llama_dir))
    assert done.returncode == 0, done.stderr
    return directory / "run"


def recipe(directory: Path, model: Path) -> Path:
    """With dropout, and with long general rows, so that rows are counted and weighed."""
    write_long_rows(directory / "general.jsonl", 9, words=15)
    settings = {"max_steps": STEPS, "save_every": 7, "validate_every": 10}
    data = {"validation": 0.2, "replay": {"share": 0.2, "path": "general.jsonl"}}
    return write_recipe(directory, model, train=settings, method={"dropout": 0.1}, data=data)


def interrupted(recipe_path: Path, after: int, number: signal.Signals) -> int:
    """Start a run, send a signal once that many steps are done, and return the exit code."""
    return weitiao("train", recipe_path, meanwhile=signal_after(recipe_path.parent / "run", after, number)).returncode


def test_kill_and_resume_in_another_place_gives_the_same_bytes(
    uninterrupted: Path, tiny_llama_dir: Path, tmp_path: Path
) -> None:
    path = recipe(tmp_path, tiny_llama_dir)
    assert interrupted(path, random.Random().randint(8, STEPS - 30), signal.SIGKILL) == -signal.SIGKILL
    moved = tmp_path / "moved" / "elsewhere"
    shutil.copytree(tmp_path / "run", moved)
    shutil.rmtree(tmp_path / "run")
    done = weitiao("train", moved)
    assert done.returncode == 0, done.stderr
    assert "Going on after step" in done.stderr
    assert final_weights(moved) == final_weights(uninterrupted)
    whole, parts = steps_of(uninterrupted), steps_of(moved)
    assert [line["step"] for line in parts] == list(range(1, STEPS + 1))
    assert [line["loss"] for line in parts] == [line["loss"] for line in whole]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_saves_and_exits_130_and_the_run_goes_on(
    number: signal.Signals, uninterrupted: Path, tiny_llama_dir: Path, tmp_path: Path
) -> None:
    path = recipe(tmp_path, tiny_llama_dir)
    assert interrupted(path, 20, number) == 130
    steps_done = len(steps_of(tmp_path / "run"))
    assert 20 <= steps_done < STEPS
    assert (tmp_path / "run" / "checkpoints" / f"step-{steps_done:08d}" / "COMPLETE").exists()
    assert not (tmp_path / "run" / "final").exists()
    assert weitiao("train", path).returncode == 0  # the recipe itself, not the run: it is the same work
    assert final_weights(tmp_path / "run") == final_weights(uninterrupted)
