"""Reward models and learning from marks: killed in the middle, and on two ranks."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from comparing import pairs, pairs_recipe, write_pairs
from rich.console import Console
from safetensors.torch import load_file
from workbench import final_weights, signal_after, steps_of, weitiao

from weitiao.recipe import load_recipe
from weitiao.study.train import train

TRAIN = {"max_steps": 9, "batch_size": 3, "save_every": 3, "token_budget": 600}


@pytest.mark.parametrize("objective", [{"type": "reward", "center": 0.01}, {"type": "kto", "group": 3}], ids=str)
def test_a_killed_run_ends_with_the_same_bytes_and_two_ranks_learn_the_same(
    objective: dict[str, Any], tiny_llama_dir: Path, tmp_path: Path
) -> None:
    marked = [{"prompt": r["prompt"], "completion": r["chosen"], "label": i % 3 > 0} for i, r in enumerate(pairs(24))]

    def written(name: str) -> Path:
        recipe = pairs_recipe(tmp_path / name, tiny_llama_dir, objective=objective, train=TRAIN)
        if objective["type"] == "kto":
            write_pairs(tmp_path / name / "pairs.jsonl", marked)
        return recipe

    whole = train(load_recipe(written("whole")), console=Console(quiet=True)).path
    killed, run = written("killed"), tmp_path / "killed/run"
    assert weitiao("train", killed, meanwhile=signal_after(run, 4, signal.SIGKILL)).returncode == -signal.SIGKILL
    assert len(steps_of(run)) < 9
    assert weitiao("train", run).returncode == 0
    assert final_weights(run) == final_weights(whole)
    done = weitiao("train", written("two"), ranks=2)
    assert done.returncode == 0, done.stderr
    for mine, other in zip(steps_of(whole), steps_of(tmp_path / "two/run"), strict=True):
        for key in {"loss", "margin", "reward_chosen", "kl", "marked_reward"} & mine.keys():
            assert other[key] == pytest.approx(mine[key], rel=1e-4, abs=2e-6), key
    one, two = (load_file(tmp_path / name / "run/final/adapter_model.safetensors") for name in ("whole", "two"))
    for name, value in one.items():
        torch.testing.assert_close(two[name], value, rtol=1e-3, atol=1e-5)
