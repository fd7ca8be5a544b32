"""What would stop a training later stops it before the first step."""

from __future__ import annotations

from pathlib import Path

import pytest
from workbench import write_recipe, write_rows

from weitiao.errors import DataError, RecipeError, RenderingError, RunError
from weitiao.recipe import load_recipe
from weitiao.study.train import train


@pytest.fixture
def recipe(tiny_llama_dir: Path, tmp_path: Path) -> Path:
    write_rows(tmp_path / "held_out.jsonl", 4, start=900)
    return write_recipe(tmp_path, tiny_llama_dir, data={"validation": "held_out.jsonl"}, train={"max_steps": 2})


def refused(recipe: Path, error: type[Exception], match: str, *overrides: str) -> None:
    with pytest.raises(error, match=match):
        train(load_recipe(recipe, overrides))
    assert not (recipe.parent / "run" / "metrics.jsonl").exists()
    assert not (recipe.parent / "run" / "recipe.yaml").exists()


def test_a_budget_that_one_sequence_exceeds(recipe: Path) -> None:
    """Also when the steps that are asked for would never meet that sequence."""
    rows = recipe.parent / "rows.jsonl"
    long = '{"instruction": "a long one", "input": "", "output": "' + "red and blue " * 20 + '"}\n'
    rows.write_text(rows.read_text() + long)
    named = r"^1 sequence is longer than train\.token_budget=100; the longest is rows\.jsonl:41, of \d+ tokens"
    refused(recipe, DataError, named, "train.token_budget=100", "train.max_steps=1")
    rows.write_text("".join(rows.read_text().splitlines(keepends=True)[:40]))
    (recipe.parent / "held_out.jsonl").write_text(long)
    refused(recipe, DataError, r"the longest is held_out\.jsonl:1", "train.token_budget=100", "train.max_steps=1")


def test_validation_settings_without_effect(recipe: Path) -> None:
    refused(recipe, RecipeError, "train.patience needs validation data", "train.patience=2", "data.validation=null")
    refused(recipe, RecipeError, "validate_answers needs", "train.validate_answers=2", "data.validation=null")


def test_answers_that_cannot_be_written_or_graded(recipe: Path) -> None:
    """A prompt as long as the model's context, whose answer is of no use; and a metric that needs a number."""
    asked = "train.validate_answers=4"
    refused(recipe, Exception, r"held_out\.jsonl:1", asked, "evaluate.metrics=[number]")
    long = '{"instruction": "' + "a b c d e f g h " * 80 + '", "input": "", "output": "red"}\n'
    (recipe.parent / "held_out.jsonl").write_text(long)
    cut = ["rendering.on_long=truncate", "rendering.train_on_prompt=true"]
    refused(recipe, RenderingError, r"held_out\.jsonl:1: its prompt of [\d,]+ tokens leaves no room", asked, *cut)


def test_a_place_that_cannot_be_written_to(recipe: Path) -> None:
    (recipe.parent / "file").write_text("")
    refused(recipe, RunError, "cannot be written to: Not a directory", f"run_dir={recipe.parent / 'file' / 'run'}")


def test_a_warmup_as_long_as_the_run_is_said(recipe: Path, capsys: pytest.CaptureFixture[str]) -> None:
    train(load_recipe(recipe, ["train.warmup=30", "train.batch_size=60"]))
    said = capsys.readouterr().err
    assert "The learning rate only rises: train.warmup takes 30 steps, and there are 2" in said
    assert "A step has all 40 training sequences: train.batch_size is 60" in said
