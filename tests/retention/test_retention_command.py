"""`weitiao retention` on a run, a recipe and a model, through the real command."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from workbench import weitiao, write_recipe

LIMIT = "retention.limit=2"


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory, tiny_llama_dir: Path) -> Path:
    folder = tmp_path_factory.mktemp("retention")
    path = write_recipe(folder, tiny_llama_dir, num_rows=16, retention={"suite": "small", "limit": 2})
    assert weitiao("train", path).returncode == 0
    return path


def test_a_run_is_compared_with_its_base_and_the_scores_are_kept(recipe: Path) -> None:
    run = recipe.parent / "run"
    first = weitiao("retention", run, "--json")
    assert first.returncode == 0, first.stderr
    result = json.loads(first.stdout)
    assert [Path(path).name for path in result["paths"]] == ["retention-before.json", "retention-after.json"]
    parts = {part["name"]: part for part in result["comparison"]["parts"]}
    assert parts["text-en"]["difference"]["value"] != 0
    assert parts["text-en"]["kind"] == "loss"
    before = (run / "retention-before.json").read_text(encoding="utf-8")
    again = weitiao("retention", run)
    assert again.returncode == 0, again.stderr
    assert "scores of" in again.stderr
    assert (run / "retention-before.json").read_text(encoding="utf-8") == before
    assert "knowledge-en" in again.stdout
    assert "not informative" in again.stdout


def test_a_recipe_scores_its_base_model_and_other_items_are_scored_anew(recipe: Path) -> None:
    found = weitiao("retention", recipe, "retention.limit=1", f"run_dir={recipe.parent / 'other'}", "--json")
    assert found.returncode == 0, found.stderr
    result = json.loads(found.stdout)
    assert (result["after"], result["comparison"]) == (None, None)
    assert {part["estimate"]["n"] for part in result["before"]["parts"]} == {1}
    more = weitiao("retention", recipe, LIMIT, f"run_dir={recipe.parent / 'other'}", "--json")
    assert {part["estimate"]["n"] for part in json.loads(more.stdout)["before"]["parts"]} == {2}


def test_a_model_alone_is_shown(tiny_llama_dir: Path, tmp_path: Path) -> None:
    found = weitiao("retention", tiny_llama_dir, "--suite", "small", cwd=tmp_path)
    assert found.returncode == 0, found.stderr
    assert "Can it show forgetting?" in found.stdout
    assert list(tmp_path.iterdir()) == []


def test_a_run_that_was_not_trained_is_refused(recipe: Path, tmp_path: Path) -> None:
    resolved = (recipe.parent / "run" / "recipe.yaml").read_text(encoding="utf-8")
    (tmp_path / "recipe.yaml").write_text(resolved, encoding="utf-8")
    found = weitiao("retention", tmp_path)
    assert found.returncode == 2
    assert "no final weights" in found.stderr
