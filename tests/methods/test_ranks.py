"""Methods of every kind on two ranks: the steps and the result of one."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from forked import environment
from safetensors.torch import load_file
from torch.testing import assert_close
from workbench import steps_of, write_recipe

from weitiao.recipe import load_recipe
from weitiao.study.train import train

METHODS: dict[str, dict[str, Any]] = {
    "full": {"type": "full"},
    "adapter": {"type": "adapter", "size": 6},
    "stack": {"r": 2, "init": "eva", "start": "../../first/run"},
}
SCRIPT = """
import os, socket, sys
from pathlib import Path
from weitiao.recipe import load_recipe
from weitiao.study.train import train

def rank_of(number, port, path):
    os.environ |= {"RANK": number, "LOCAL_RANK": number, "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2"}
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    train(load_recipe(Path(path)))

for path in sys.argv[1:]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    children = []
    for number in ("0", "1"):
        if (child := os.fork()) == 0:
            rank_of(number, port, path)
            sys.exit()
        children.append(child)
    if any([os.waitpid(child, 0)[1] for child in children]):
        sys.exit(f"a rank failed with {path}")
"""


def test_two_ranks_equal_one(tiny_llama_dir: Path, tmp_path: Path) -> None:
    """All from one process that has imported what is needed, because that takes longest."""
    train(load_recipe(write_recipe(tmp_path / "first", tiny_llama_dir, train={"max_steps": 2})))
    paths = []
    for ranks in ("one", "two"):
        for name, method in METHODS.items():
            settings = {"max_steps": 3, "batch_size": 9, "token_budget": 150, "warmup": 0, "seed": 7}
            path = write_recipe(tmp_path / ranks / name, tiny_llama_dir, train=settings)
            path.write_text(json.dumps({**json.loads(path.read_text()), "method": method}))
            if ranks == "two":
                paths.append(path)
            else:
                train(load_recipe(path))
    (tmp_path / "trainings.py").write_text(SCRIPT)
    words = [sys.executable, str(tmp_path / "trainings.py"), *map(str, paths)]
    done = subprocess.run(words, env=environment(), capture_output=True, text=True, timeout=300, check=False)
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
