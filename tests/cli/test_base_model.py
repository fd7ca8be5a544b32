"""A run whose base model was moved: every command that opens it can be told where the base is now."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from forked import Forks, server
from workbench import write_recipe


@pytest.fixture(scope="module")
def forks() -> Forks:
    return server()


@pytest.fixture(scope="module")
def here(tiny_llama_dir: Path, forks: Forks, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the model, the data and a run, none of which is anywhere else."""
    folder = tmp_path_factory.mktemp("work") / "here"
    model = shutil.copytree(tiny_llama_dir, folder / "models" / "base")
    recipe = write_recipe(
        folder, model, train={"max_steps": 2}, data={"test": 0.2}, evaluate={"generation": {"max_new_tokens": 3}},
        retention={"suite": "small", "limit": 1}, baseline={"shots": [0]},
    )  # fmt: skip
    done = forks.call("train", recipe)
    assert done.returncode == 0, done.stderr
    return folder


def test_every_command_takes_the_base_by_its_new_name(here: Path, forks: Forks, tmp_path: Path) -> None:
    base = shutil.copytree(here / "models" / "base", tmp_path / "elsewhere [1]")
    run = shutil.copytree(here / "run", tmp_path / "run")
    recipe = (run / "recipe.yaml").read_text()
    (run / "recipe.yaml").write_text(recipe.replace(str(here / "models" / "base"), "/gone/base-model"))
    note = json.loads((run / "final" / "weitiao_base.json").read_text())
    (run / "final" / "weitiao_base.json").write_text(json.dumps(note | {"base": "/gone/base-model"}))
    calls = (
        ["show", run, "-n", "1"],
        ["why", run, "--step", "1"],
        ["eval", run],
        ["chat", run],
        ["chat", run / "final"],
        ["merge", run, tmp_path / "merged"],
        ["compare", f"base:{run}", run, "--output", tmp_path / "compared"],
        ["retention", run],
        ["baseline", run],
    )
    for words in calls:
        lost = forks.call(*words)
        assert lost.returncode == 2, (words, lost.stderr)
        assert "no file or directory '/gone/base-model'" in lost.stderr, words
        assert "--base-model" in lost.stderr, words
        found = forks.call(*words, "--base-model", base)
        assert found.returncode == 0, (words, found.stderr)
    done = forks.call("chat", base, "--base-model", base)
    assert done.returncode == 2
    assert "has no adapter" in done.stderr


def test_a_folder_that_was_moved_whole_opens_without_a_word(here: Path, forks: Forks, tmp_path: Path) -> None:
    there = tmp_path / "there"
    here.rename(there)
    run = there / "run"
    try:
        for words in (
            ["chat", run],
            ["merge", run / "final", tmp_path / "merged"],
            ["eval", run, f"data.train={json.dumps(str(there / 'rows.jsonl'))}"],
        ):
            done = forks.call(*words)
            assert done.returncode == 0, (words, done.stderr)
    finally:
        there.rename(here)
