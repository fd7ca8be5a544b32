"""A recipe over small files and the tiny model."""

from __future__ import annotations

from pathlib import Path

import pytest
from toy_steps import write_work


@pytest.fixture
def recipe_path(tiny_llama_dir: Path, tmp_path: Path) -> Path:
    return write_work(tmp_path, tiny_llama_dir)
