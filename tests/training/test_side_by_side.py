"""Forests side by side in threads: the same step, and the same bytes for the same seed."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest
from workbench import final_weights, signal_after, steps_of, weitiao, write_recipe

from weitiao.recipe import load_recipe
from weitiao.study.train import train

SETTINGS = {"max_steps": 40, "token_budget": 256, "share_prefixes": False, "threads": 2, "save_every": 5}


def recipe(directory: Path, model: Path) -> Path:
    return write_recipe(directory, model, train=SETTINGS)


def forests(run: Path) -> list[int]:
    return [line["num_forests"] for line in steps_of(run)]


@pytest.fixture(scope="module")
def one(tiny_llama_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train(load_recipe(recipe(tmp_path_factory.mktemp("one"), tiny_llama_dir), ["train.workers=1"])).path


@pytest.fixture(scope="module")
def two(tiny_llama_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train(load_recipe(recipe(tmp_path_factory.mktemp("two"), tiny_llama_dir), ["train.workers=2"])).path


def test_a_step_means_the_same(one: Path, two: Path) -> None:
    assert all(b % 2 == 0 and b > a for a, b in zip(forests(one), forests(two), strict=True))
    for name in ("loss", "grad_norm"):
        assert [line[name] for line in steps_of(two)] == pytest.approx([line[name] for line in steps_of(one)], rel=1e-4)


def test_killed_and_resumed_it_leaves_the_same_bytes(two: Path, tiny_llama_dir: Path, tmp_path: Path) -> None:
    path = recipe(tmp_path, tiny_llama_dir)  # two is what `auto` is with two threads
    run = tmp_path / "run"
    assert weitiao("train", path, meanwhile=signal_after(run, 8, signal.SIGKILL)).returncode == -signal.SIGKILL
    done = weitiao("train", run)
    assert done.returncode == 0, done.stderr
    assert "Going on after step" in done.stderr
    assert [line["loss"] for line in steps_of(run)] == [line["loss"] for line in steps_of(two)]
    assert final_weights(run) == final_weights(two)


def test_with_dropout_there_is_one_at_a_time(one: Path, tiny_llama_dir: Path, tmp_path: Path) -> None:
    settings = ["train.workers=2", "train.max_steps=5", "method.dropout=0.1"]
    drawn = train(load_recipe(recipe(tmp_path, tiny_llama_dir), settings)).path
    assert forests(drawn) == forests(one)[:5]
