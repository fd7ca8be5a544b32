"""The training that a run directory holds: adopted, gone on with, or kept aside; never overwritten, never lost."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from safetensors.torch import load_file, save_file
from toy_steps import toy_steps
from workbench import final_weights, write_rows

from weitiao.recipe import load_recipe
from weitiao.runs.run_dir import RunDir
from weitiao.study.pipeline.run import run_pipeline
from weitiao.study.pipeline.steps import STEPS
from weitiao.study.train import train


def steps_with_real_training(done: list[str]) -> list[Any]:
    real = next(step for step in STEPS if step.name == "train")
    return [real if step.name == "train" else step for step in toy_steps(done)]


def go(recipe_path: Path, *overrides: str, **options: Any) -> Path:
    console = Console(quiet=True)
    return run_pipeline(
        load_recipe(recipe_path, overrides), console=console, steps=steps_with_real_training([]), **options
    ).path


@pytest.mark.parametrize("weigh", ["auto", "tokens", "rows"])
def test_the_resolved_recipe_of_a_run_asks_for_the_same_work(recipe_path: Path, weigh: str) -> None:
    """Whether the weighing was chosen by the training or asked for: both recipes find everything done."""
    given, done = [f"train.weigh={weigh}"], []
    run = go(recipe_path, *given)
    before = final_weights(run)
    for path, overrides in [(run, []), (recipe_path, given), (run, [])]:
        recipe = load_recipe(path, overrides)
        assert recipe.train.weigh != "auto" or path == recipe_path
        result = run_pipeline(recipe, console=Console(quiet=True), steps=steps_with_real_training(done))
        assert {step.state for step in result.steps} == {"unchanged"}
    other = "tokens" if load_recipe(run).train.weigh == "rows" else "rows"
    go(run, f"train.weigh={other}")
    assert final_weights(run / "earlier" / "001") == before
    assert load_recipe(run).train.weigh == other


def test_a_training_by_hand_is_taken_over(recipe_path: Path) -> None:
    run = train(load_recipe(recipe_path), console=Console(quiet=True)).path
    before = final_weights(run), (run / "final" / "COMPLETE").stat().st_mtime_ns
    assert go(recipe_path, "verdict.target=0.9", "data.test=validation.jsonl") == run
    assert (final_weights(run), (run / "final" / "COMPLETE").stat().st_mtime_ns) == before
    assert not (run / "earlier").exists()


def test_a_training_whose_key_an_earlier_version_made_otherwise_is_taken_over(recipe_path: Path) -> None:
    run = go(recipe_path)
    before = final_weights(run), (run / "final" / "COMPLETE").stat().st_mtime_ns
    records = json.loads((run / "steps.json").read_text())
    records["steps"]["train"]["key"] = "0" * 64
    (run / "steps.json").write_text(json.dumps(records))
    go(recipe_path)
    assert (final_weights(run), (run / "final" / "COMPLETE").stat().st_mtime_ns) == before
    assert not (run / "earlier").exists()


@pytest.mark.parametrize("change", ["recipe", "data", "validation"])
def test_a_training_of_something_else_is_kept_aside_whole(recipe_path: Path, change: str) -> None:
    run = train(load_recipe(recipe_path), console=Console(quiet=True)).path
    before = final_weights(run)
    if change == "data":
        write_rows(recipe_path.parent / "rows.jsonl", 40, start=7)
        go(recipe_path)
    elif change == "validation":  # it decided which weights were kept
        write_rows(recipe_path.parent / "validation.jsonl", 6, start=300)
        go(recipe_path)
    else:
        go(recipe_path, "method.r=2")
    kept = run / "earlier" / "001"
    assert final_weights(kept) == before
    assert change == "validation" or final_weights(run) != before
    assert load_recipe(kept).method.r == 4  # a run directory of its own
    assert {path.name for path in kept.iterdir()} >= {"final", "checkpoints", "metrics.jsonl", "recipe.yaml"}


def test_every_earlier_training_is_kept_with_its_results(recipe_path: Path) -> None:
    weights = []
    for rate in (0.01, 0.02, 0.03):
        run = go(recipe_path, f"train.learning_rate={rate}")
        weights.append(final_weights(run))
    assert [final_weights(run / "earlier" / name) for name in ("001", "002")] == weights[:2]
    for name in ("001", "002"):
        kept = {path.name for path in (run / "earlier" / name).iterdir()}
        assert {"scores.json", "comparison.json", "verdict.json", "report.html"} <= kept
    go(recipe_path, "train.learning_rate=0.03", redo=["train"])
    assert final_weights(run) == final_weights(run / "earlier" / "003") == weights[2]


def test_a_move_that_was_killed_in_the_middle_is_completed(recipe_path: Path) -> None:
    run = go(recipe_path)
    before = final_weights(run)
    half = run / "earlier" / "001.part"
    half.mkdir(parents=True)
    (run / "checkpoints").rename(half / "checkpoints")
    (run / "losses").rename(half / "losses")
    go(recipe_path, "method.r=2")
    assert final_weights(run / "earlier" / "001") == before
    assert not half.exists()
    assert RunDir(run / "earlier" / "001").complete_checkpoints()
    assert load_recipe(run).method.r == 2
    assert len(list((run / "earlier").iterdir())) == 1


def test_a_training_that_was_stopped_goes_on_though_the_verdict_changed(recipe_path: Path) -> None:
    whole = go(recipe_path)
    weights = final_weights(whole)
    shutil.rmtree(whole / "final")
    shutil.rmtree(whole / "checkpoints" / "step-00000004")
    records = json.loads((whole / "steps.json").read_text())
    records["steps"]["train"] |= {"state": "started", "outputs": {}}
    (whole / "steps.json").write_text(json.dumps(records))
    go(recipe_path, "verdict.target=0.7", "evaluate.limit=3")
    assert final_weights(whole) == weights
    assert not (whole / "earlier").exists()


def test_a_stopped_training_on_another_base_model_is_kept_aside(recipe_path: Path, tiny_llama_dir: Path) -> None:
    base = recipe_path.parent / "base"
    shutil.copytree(tiny_llama_dir, base)
    run = go(recipe_path, f"model.name={base}")
    shutil.rmtree(run / "final")
    weights = load_file(base / "model.safetensors")
    save_file({name: 1.5 * tensor for name, tensor in weights.items()}, base / "model.safetensors", {"format": "pt"})
    go(recipe_path, f"model.name={base}")
    assert RunDir(run / "earlier" / "001").complete_checkpoints()
    assert RunDir(run).is_finished


def test_damaged_final_weights_are_made_again_from_the_last_checkpoint(recipe_path: Path) -> None:
    run = go(recipe_path)
    weights = final_weights(run)
    (run / "final" / "adapter_model.safetensors").write_bytes(weights[:-10])
    go(recipe_path)
    assert final_weights(run) == weights
    assert not (run / "earlier").exists()
