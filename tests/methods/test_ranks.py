"""Methods of every kind on two ranks: the steps and the result of one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file
from torch.testing import assert_close
from workbench import steps_of, weitiao, write_recipe

from weitiao.recipe import load_recipe
from weitiao.study.train import train

METHODS: dict[str, dict[str, Any]] = {
    "full": {"type": "full"},
    "adapter": {"type": "adapter", "size": 6},
    "stack": {"r": 2, "init": "eva", "start": "../../first/run"},
}


def test_two_ranks_equal_one(tiny_llama_dir: Path, tmp_path: Path) -> None:
    train(load_recipe(write_recipe(tmp_path / "first", tiny_llama_dir, train={"max_steps": 2})))
    for name, method in METHODS.items():
        for number, ranks in enumerate(("one", "two"), 1):
            settings = {"max_steps": 3, "batch_size": 9, "token_budget": 150, "warmup": 0, "seed": 7}
            path = write_recipe(tmp_path / ranks / name, tiny_llama_dir, train=settings)
            path.write_text(json.dumps({**json.loads(path.read_text()), "method": method}))
            done = weitiao("train", path, ranks=number)
            assert done.returncode == 0, done.stderr
    for name in METHODS:
        one, two = (tmp_path / ranks / name / "run" for ranks in ("one", "two"))
        losses, other = ([line["loss"] for line in steps_of(run)] for run in (one, two))
        assert other == pytest.approx(losses, rel=1e-5), name
        (weights,) = (one / "final").glob("*model.safetensors")
        expected, found = load_file(weights), load_file(two / "final" / weights.name)
        assert expected.keys() == found.keys()
        for key, tensor in expected.items():
            assert_close(found[key], tensor, atol=1e-4, rtol=1e-3)
