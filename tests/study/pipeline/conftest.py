"""A recipe over small files and the tiny model."""

from __future__ import annotations

from pathlib import Path

import pytest
from workbench import write_recipe, write_rows


@pytest.fixture
def recipe_path(tiny_llama_dir: Path, tmp_path: Path) -> Path:
    path = write_recipe(
        tmp_path, tiny_llama_dir, train={"max_steps": 4, "save_every": 1},
        data={"validation": "validation.jsonl", "test": "test.jsonl"},
        retention={"suite": "none", "tasks": [{"type": "loss", "name": "prose", "data": str(tmp_path / "prose.txt")}]},
    )  # fmt: skip
    write_rows(tmp_path / "validation.jsonl", 6, start=100)
    write_rows(tmp_path / "test.jsonl", 12, start=200)
    (tmp_path / "prose.txt").write_text("the answer is a short one\n" * 3)
    return path
