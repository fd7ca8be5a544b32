"""What can go wrong with a run: each a clear error, exit code 2, and nothing lost."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from filelock import FileLock
from workbench import command, environment, final_weights, steps_of, weitiao, write_recipe, write_rows

from weitiao.errors import ModelError, RunError, TrainingError
from weitiao.methods.open import open_model
from weitiao.models.config import ModelConfig
from weitiao.recipe import load_recipe
from weitiao.study.train import train


@pytest.fixture
def half_done(tiny_llama_dir: Path, tmp_path: Path) -> Path:
    """A run that was stopped half way: its last checkpoint is there, its final weights are not."""
    recipe = write_recipe(tmp_path, tiny_llama_dir, train={"max_steps": 6, "save_every": 2})
    run = train(load_recipe(recipe)).path
    shutil.rmtree(run / "final")
    return run


def test_a_truncated_checkpoint_is_named_and_the_one_before_it_serves(half_done: Path) -> None:
    weights = half_done / "checkpoints/step-00000006/weights.safetensors"
    content = weights.read_bytes()
    weights.write_bytes(content[:-100])
    done = weitiao("train", half_done)
    assert done.returncode == 2
    assert f"{weights} has {len(content) - 100} bytes, {len(content)} were written" in done.stderr
    shutil.rmtree(weights.parent)
    done = weitiao("train", half_done)
    assert done.returncode == 0, done.stderr
    assert "Going on after step 4" in done.stderr
    assert len(steps_of(half_done)) == 6


def test_a_changed_byte_in_a_checkpoint_is_found(half_done: Path) -> None:
    optimizer = half_done / "checkpoints/step-00000006/optimizer.safetensors"
    content = bytearray(optimizer.read_bytes())
    content[-1] ^= 1
    optimizer.write_bytes(content)
    with pytest.raises(RunError, match="SHA-256 differs"):
        train(load_recipe(half_done))


def test_a_half_written_checkpoint_is_passed_over(half_done: Path) -> None:
    (half_done / "checkpoints/step-00000006/COMPLETE").unlink()
    assert train(load_recipe(half_done)).finished
    assert (half_done / "checkpoints/step-00000006/COMPLETE").exists()


def test_a_run_in_use_is_refused(half_done: Path) -> None:
    with FileLock(half_done / ".lock"):
        done = weitiao("train", half_done)
    assert done.returncode == 2
    assert f"{half_done} is in use by another process" in done.stderr


def test_a_finished_run_is_not_overwritten(tiny_llama_dir: Path, tmp_path: Path) -> None:
    recipe = write_recipe(tmp_path, tiny_llama_dir, train={"max_steps": 1})
    run = train(load_recipe(recipe)).path
    before = final_weights(run)
    with pytest.raises(RunError, match="holds a finished run"):
        train(load_recipe(recipe))
    assert final_weights(run) == before


def test_another_recipe_and_other_data_are_refused(half_done: Path) -> None:
    recipe = half_done.parent / "recipe.yaml"
    with pytest.raises(RunError, match=r"another recipe: method\.r, train\.learning_rate differ"):
        train(load_recipe(recipe, ["method.r=8", "train.learning_rate=0.5"]))
    write_rows(half_done.parent / "rows.jsonl", 40, start=3)
    with pytest.raises(RunError, match="training data is not what"):
        train(load_recipe(recipe))


def test_a_non_finite_loss_stops_before_the_optimiser_and_names_the_rows(tiny_llama_dir: Path, tmp_path: Path) -> None:
    settings = {"max_steps": 6, "learning_rate": 1e30, "warmup": 0, "save_every": 1, "schedule": "constant"}
    recipe = write_recipe(tmp_path, tiny_llama_dir, train=settings)
    with pytest.raises(
        TrainingError, match=r"step 2 is not finite; the optimiser was not stepped. Rows: rows.jsonl:\d"
    ):
        train(load_recipe(recipe))
    run = tmp_path / "run"
    assert [p.name for p in (run / "checkpoints").glob("step-*")] == ["step-00000001"]
    done = weitiao("why", run, "--step", "2", "-n", "1")  # what the message advises works
    assert done.returncode == 0, done.stderr


def test_an_adapter_of_another_base_model_is_refused(half_done: Path, tiny_llama_dir: Path, tmp_path: Path) -> None:
    run = train(load_recipe(half_done)).path
    assert open_model(run).final == run / "final"
    import torch
    from transformers import AutoModelForCausalLM

    other = tmp_path / "other-base"
    shutil.copytree(tiny_llama_dir, other)
    model = AutoModelForCausalLM.from_pretrained(other)
    with torch.no_grad():
        model.model.layers[0].mlp.up_proj.weight.mul_(1.5)
    model.save_pretrained(other)
    with pytest.raises(ModelError, match="was trained on another base model"):
        open_model(run, base=ModelConfig(name=str(other)))


def on_a_small_disk(disk: Path, size: int, script: str) -> subprocess.CompletedProcess[str]:
    """Run a script in a mount namespace of its own, where a directory is a disk of that size."""
    disk.mkdir(exist_ok=True)
    script = f"mount -t tmpfs -o size={size} tmpfs {disk} && {script}"
    return subprocess.run(
        ["unshare", "--map-root-user", "--mount", "sh", "-c", script],
        env=environment(), capture_output=True, text=True, timeout=200, check=False,
    )  # fmt: skip


def test_a_full_disk_is_named_and_earlier_checkpoints_stay(tiny_llama_dir: Path, tmp_path: Path) -> None:
    """There is room at first; then, after the second checkpoint, something else fills the disk."""
    recipe = write_recipe(
        tmp_path, tiny_llama_dir, train={"max_steps": 300, "save_every": 2, "keep_checkpoints": 300, "trackers": []}
    )
    run = tmp_path / "disk" / "run"
    script = (
        f"(until [ -e {run}/checkpoints/step-00000004/COMPLETE ]; do sleep 0.01; done; "
        f"head -c 64M /dev/zero > {tmp_path}/disk/filler) & "
        f"{' '.join(command('train', recipe, f'run_dir={run}'))}; code=$?; ls {run}/checkpoints; exit $code"
    )
    done = on_a_small_disk(tmp_path / "disk", 64 << 20, script)
    assert done.returncode == 2, done.stderr
    assert re.search(r"The disk is full: (the checkpoint of step \d+|a file) in", done.stderr), done.stderr
    kept = done.stdout.split()
    assert kept == [f"step-{step:08d}" for step in range(2, 2 * len(kept) + 1, 2)]
    assert len(kept) >= 2


def test_a_disk_that_will_be_full_is_named_before_the_first_step(tiny_llama_dir: Path, tmp_path: Path) -> None:
    settings = {"max_steps": 12, "save_every": 2, "keep_checkpoints": 9}
    recipe = write_recipe(tmp_path, tiny_llama_dir, train=settings)
    run = tmp_path / "disk" / "run"
    done = on_a_small_disk(tmp_path / "disk", 300_000, " ".join(command("train", recipe, f"run_dir={run}")))
    assert done.returncode == 2, done.stderr
    # 8,192 learned numbers of 4 bytes, three times in each of 6 checkpoints, and once in the result
    assert "needs 0.6 MiB for 6 checkpoints and its result" in done.stderr
    assert "step 1/12" not in done.stderr
