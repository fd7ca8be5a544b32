"""Validations that let the model answer: what they log, what they choose, and what they leave alone."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

import pytest
from workbench import (
    evaluate_target,
    final_weights,
    signal_after,
    steps_of,
    weitiao,
    write_recipe,
    write_rows,
)

from weitiao.errors import RecipeError
from weitiao.recipe import load_recipe
from weitiao.study.train import Run, train

ANSWERED = 8


def recipe(directory: Path, model: Path, **settings: Any) -> Path:
    """A recipe whose validations answer 8 rows, graded by overlap, so that small steps show."""
    path = write_recipe(
        directory,
        model,
        data={"validation": "held_out.jsonl"},
        train={
            "max_steps": 24, "validate_every": 3, "validate_answers": ANSWERED, "best_by": "metric",
            "learning_rate": 0.02, "schedule": "constant", "save_every": 5, **settings,
        },
        evaluate={"metrics": ["chrf", "exact_match"], "generation": {"max_new_tokens": 8}},
    )  # fmt: skip
    write_rows(directory / "held_out.jsonl", ANSWERED, start=900)
    return path


def validations(run: Path) -> list[dict[str, Any]]:
    lines = map(json.loads, (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines())
    return [line for line in lines if "validation_loss" in line]


@pytest.fixture(scope="module")
def trained(tiny_llama_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    directory = tmp_path_factory.mktemp("answered")
    return train(load_recipe(recipe(directory, tiny_llama_dir)))


def test_every_validation_logs_its_scores(trained: Run) -> None:
    found = validations(trained.path)
    assert [line["step"] for line in found] == list(range(3, 25, 3))
    assert all(0 <= line["validation_chrf"] <= 1 and 0 <= line["validation_exact_match"] <= 1 for line in found)
    assert len({line["validation_chrf"] for line in found}) > 3


def test_the_best_is_the_highest_score_then_the_lowest_loss(trained: Run) -> None:
    best: tuple[float, float] | None = None
    for line in validations(trained.path):
        reached = (line["validation_chrf"], -line["validation_loss"])
        assert line["best"] == (best is None or reached > best)
        best = reached if best is None else max(best, reached)
    by_loss = min(validations(trained.path), key=lambda line: line["validation_loss"])
    by_score = max(validations(trained.path), key=lambda line: (line["validation_chrf"], -line["validation_loss"]))
    assert by_loss["step"] != by_score["step"]  # otherwise this would show nothing
    assert trained.best_validation_loss == by_score["validation_loss"]


def test_the_final_weights_are_those_of_the_best_score(trained: Run) -> None:
    best = max(line["validation_chrf"] for line in validations(trained.path))
    held_out = trained.path.parent / "held_out.jsonl"
    scored = evaluate_target(trained.path, [f"data.test={held_out}", "data.validation=null"])
    assert scored.scores.metrics["chrf"].value == pytest.approx(best)


def test_answering_leaves_the_training_as_it_is(trained: Run, tiny_llama_dir: Path, tmp_path: Path) -> None:
    without = train(load_recipe(recipe(tmp_path, tiny_llama_dir, validate_answers=0, best_by="loss")))
    assert [line["loss"] for line in steps_of(without.path)] == [line["loss"] for line in steps_of(trained.path)]
    assert [line["validation_loss"] for line in validations(without.path)] == [
        line["validation_loss"] for line in validations(trained.path)
    ]


def test_a_killed_run_goes_on_to_the_same_choice(trained: Run, tiny_llama_dir: Path, tmp_path: Path) -> None:
    path = recipe(tmp_path, tiny_llama_dir)
    killed = weitiao("train", path, meanwhile=signal_after(tmp_path / "run", 14, signal.SIGKILL))
    assert killed.returncode == -signal.SIGKILL
    done = weitiao("train", path)
    assert done.returncode == 0, done.stderr
    assert "Going on after step" in done.stderr
    assert "chrf" in done.stderr  # the line of a validation names the score
    assert validations(tmp_path / "run") == validations(trained.path)
    assert final_weights(tmp_path / "run") == final_weights(trained.path)


def test_two_ranks_choose_as_one(trained: Run, tiny_llama_dir: Path, tmp_path: Path) -> None:
    done = weitiao("train", recipe(tmp_path, tiny_llama_dir), "train.max_steps=6", ranks=2)
    assert done.returncode == 0, done.stderr
    for two, one in zip(validations(tmp_path / "run"), validations(trained.path), strict=False):
        assert two["validation_chrf"] == pytest.approx(one["validation_chrf"], abs=0.05)
        assert two["best"] == one["best"]


def test_what_cannot_be_answered_is_refused(tiny_llama_dir: Path, tmp_path: Path) -> None:
    path = recipe(tmp_path, tiny_llama_dir)
    with pytest.raises(RecipeError, match=r"best_by=metric needs answers"):
        load_recipe(path, ["train.validate_answers=0"])
    (tmp_path / "text.jsonl").write_text('{"text": "a small model"}\n')
    with pytest.raises(RecipeError, match=r"validate_answers"):
        train(load_recipe(path, ["data.validation={path: text.jsonl, format: text}"]))
