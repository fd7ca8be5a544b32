"""On a contextual bandit (answers of one token, half of the letters right in each context) the optimum is known: 1."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from workbench import steps_of

from weitiao.recipe import load_recipe
from weitiao.study.train import train

ROWS = [{"prompt": f"context {i}", "completion": "abcdefghijklm" if i % 2 else "nopqrstuvwxyz"} for i in range(4)]
REWARD = "def right(answer, expected, row):\n    return float(answer[:1] != '' and answer[0] in expected)\n"
WAYS: dict[str, dict[str, Any]] = {
    "grpo": {"type": "grpo", "kl": 0.0},
    "rloo": {"type": "rloo", "kl": 0.002, "entropy": 0.01},
    "reinforce": {"type": "reinforce", "kl": 0.001},
    "ppo": {"type": "ppo", "kl": 0.001, "entropy": 0.003},
}


@pytest.mark.parametrize("name", WAYS)
def test_the_optimum_is_reached(name: str, tiny_llama_dir: Path, tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ROWS), encoding="utf-8")
    (tmp_path / "reward.py").write_text(REWARD, encoding="utf-8")
    recipe = {
        "model": {"name": str(tiny_llama_dir), "dtype": "float32"},
        "data": {"train": "rows.jsonl"},
        "method": {"type": "full"},
        "objective": WAYS[name],
        "rollouts": {
            "rewards": ["reward.py:right"],
            "samples": 16,
            "repeats": 2,
            "generation": {"max_new_tokens": 1, "batch_size": 64},
        },
        "train": {"batch_size": 4, "learning_rate": 0.005, "max_steps": 60, "threads": 1},
        "run_dir": str(tmp_path / "run"),
    }
    (tmp_path / "recipe.yaml").write_text(json.dumps(recipe), encoding="utf-8")
    steps = steps_of(train(load_recipe(tmp_path / "recipe.yaml")).path)
    rewards = [one["reward"] for one in steps[::2]]
    assert rewards[0] < 0.35
    assert sum(rewards[-5:]) / 5 > 0.9, rewards
