"""Training with what frozen layers gave before: the same bytes as without, killed or not, on one rank or two."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from workbench import signal_after, steps_of, weitiao, write_recipe, write_rows

from weitiao.recipe import load_recipe
from weitiao.study.train import train

SETTINGS = {"epochs": 4, "save_every": 3, "token_budget": 256, "validate_every": 5, "keep_best": False, "threads": 2}


def recipe(directory: Path, model: Path, **method: Any) -> Path:
    path = write_recipe(directory, model, train=SETTINGS, data={"validation": "held.jsonl"})
    write_rows(directory / "held.jsonl", 9, start=200)
    chosen = {"type": "freeze", "layers": 1, **method}
    path.write_text(json.dumps({**json.loads(path.read_text()), "method": chosen}, indent=1))
    return path


def trained(path: Path, *overrides: str) -> tuple[Path, str]:
    console = Console(record=True, width=200, file=(path.parent / "log").open("w"))
    return train(load_recipe(path, overrides), console=console).path, console.export_text()


def left(run: Path) -> tuple[bytes, list[Any]]:
    """The weights and every number about the learning."""
    lines = map(json.loads, (run / "metrics.jsonl").read_text().splitlines())
    names = ("step", "loss", "grad_norm", "validation_loss", "num_computed_tokens")
    return (run / "final/model.safetensors").read_bytes(), [[line.get(name) for name in names] for line in lines]


@pytest.fixture(scope="module")
def without(tiny_llama_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path, told = trained(recipe(tmp_path_factory.mktemp("without"), tiny_llama_dir, keep_states=0))
    assert "kept" not in told
    return path


@pytest.mark.parametrize("gib", [4, 0.0002], ids=["all", "little room"])
def test_the_same_bytes_with_and_without(gib: float, without: Path, tiny_llama_dir: Path, tmp_path: Path) -> None:
    run, told = trained(recipe(tmp_path, tiny_llama_dir, keep_states=gib))
    assert "1 of 2 layers are frozen below: what they give is kept in up to" in told
    assert told.count("are full of what the frozen layers gave") == (gib < 1)
    assert left(run) == left(without)
    shape = {path.name for path in without.iterdir()}
    assert {path.name for path in run.iterdir()} == shape  # nothing is left of what was kept


def test_killed_and_resumed_it_leaves_the_same_bytes(without: Path, tiny_llama_dir: Path, tmp_path: Path) -> None:
    path, run = recipe(tmp_path, tiny_llama_dir), tmp_path / "run"
    assert weitiao("train", path, meanwhile=signal_after(run, 8, signal.SIGKILL)).returncode == -signal.SIGKILL
    done = weitiao("train", run, "method.keep_states=1")  # may change: it changes no result
    assert done.returncode == 0, done.stderr
    assert "Going on after step" in done.stderr
    assert left(run) == left(without)


def test_batches_stay_together_over_the_epochs(without: Path) -> None:
    steps = steps_of(without)
    sizes = [[step["num_computed_tokens"] for step in steps[epoch * 5 : epoch * 5 + 5]] for epoch in range(4)]
    assert len({tuple(sorted(one)) for one in sizes}) == 1
    assert len({tuple(one) for one in sizes}) > 1


def test_two_ranks_that_keep_are_one_that_does_not(tiny_llama_dir: Path, tmp_path: Path) -> None:
    """With one forest for each rank, the sum of the gradients is the same, bit for bit."""
    settings = ["train.epochs=3", "train.threads=1", "train.token_budget=200", "train.validate_every=15"]
    one, _ = trained(recipe(tmp_path / "one", tiny_llama_dir, keep_states=0), *settings)
    done = weitiao("train", recipe(tmp_path / "two", tiny_llama_dir), *settings, ranks=2)
    assert done.returncode == 0, done.stderr
    assert "what they give is kept in up to 2 GiB" in done.stderr
    two = tmp_path / "two/run"
    assert max(step["num_forests"] for step in steps_of(one)) == 2
    assert [step["loss"] for step in steps_of(two)] == [step["loss"] for step in steps_of(one)]
    assert left(two)[0] == left(one)[0]


def test_where_nothing_can_be_kept_a_line_says_why(tiny_llama_dir: Path, tmp_path: Path) -> None:
    _, told = trained(recipe(tmp_path / "first", tiny_llama_dir, layers=-1), "train.epochs=2")
    assert "What is below the learning layers learns too, so nothing of it can be kept" in told
    _, told = trained(recipe(tmp_path / "noise", tiny_llama_dir), "train.epochs=2", "train.neftune=5")
    assert "is not kept: From kept states its decoder gives other bits than from the beginning" in told
