"""Runs that are asked to stop: by which signal, from which thread, in the middle of what."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from workbench import final_weights, steps_of, write_recipe, write_rows

from weitiao.recipe import load_recipe
from weitiao.study.train import Run, train
from weitiao.training.interrupt import interruptible


def recipe(directory: Path, model: Path) -> Path:
    """Two validations of many small forests each: long enough to be met by a signal."""
    directory.mkdir(exist_ok=True)
    write_rows(directory / "held_out.jsonl", 100, start=900)
    return write_recipe(
        directory,
        model,
        data={"validation": "held_out.jsonl"},
        train={"max_steps": 6, "validate_every": 3, "token_budget": 110, "save_every": 2, "patience": 1},
    )


def lines(run: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


@contextmanager
def signal_after(run: Path, step: int, number: signal.Signals) -> Iterator[None]:
    """Send a signal to this process once the step is in the metrics."""
    done = threading.Event()

    def watch() -> None:
        path = run / "metrics.jsonl"
        while not done.is_set():
            if path.exists() and path.read_text().count('"loss"') >= step:
                os.kill(os.getpid(), number)
                return
            time.sleep(0.001)

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


@pytest.fixture(scope="module")
def whole(tiny_llama_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train(load_recipe(recipe(tmp_path_factory.mktemp("whole"), tiny_llama_dir))).path


@pytest.mark.parametrize(
    ("number", "step"), [(signal.SIGHUP, 3), (signal.SIGTERM, 6)], ids=["in the first", "in the last"]
)
def test_a_validation_is_left_and_repeated(
    number: signal.Signals, step: int, whole: Path, tiny_llama_dir: Path, tmp_path: Path
) -> None:
    path = recipe(tmp_path, tiny_llama_dir)
    run = tmp_path / "run"
    before = signal.signal(number, signal.SIG_DFL)  # under `nohup` these tests inherit that SIGHUP is ignored
    try:
        with signal_after(run, step, number):
            stopped = train(load_recipe(path))
    finally:
        signal.signal(number, before)
    assert not stopped.finished
    assert stopped.steps == step
    assert not [line for line in lines(run) if line["step"] == step and "validation_loss" in line]
    state = json.loads((run / f"checkpoints/step-{step:08d}/state.json").read_text())
    assert state["validation_due"]
    assert train(load_recipe(path)).finished
    kept = ("step", "loss", "validation_loss", "best")
    assert [[one.get(key) for key in kept] for one in lines(run)] == [
        [one.get(key) for key in kept] for one in lines(whole)
    ]
    assert final_weights(run) == final_weights(whole)


def test_hanging_up_is_ignored_where_it_is_to_be() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # what `nohup` does
    try:
        with interruptible() as interrupt:
            os.kill(os.getpid(), signal.SIGHUP)
            assert not interrupt.requested
            os.kill(os.getpid(), signal.SIGTERM)
            assert interrupt.requested
        assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


def test_training_runs_in_any_thread(tiny_llama_dir: Path, tmp_path: Path) -> None:
    found: list[Run] = []
    loaded = load_recipe(write_recipe(tmp_path, tiny_llama_dir, num_rows=8, train={"max_steps": 1}))
    thread = threading.Thread(target=lambda: found.append(train(loaded)))
    thread.start()
    thread.join()
    assert [run.finished for run in found] == [True]
    assert len(steps_of(found[0].path)) == 1
