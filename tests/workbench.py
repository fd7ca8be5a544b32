"""A small piece of work on disk, and the real command line."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from forked import Done, environment, server
from rich.console import Console
from safetensors.torch import load_file

from weitiao.methods.final import save_final
from weitiao.methods.lora import LoraConfig
from weitiao.methods.note import Note
from weitiao.recipe import load_recipe
from weitiao.study.evaluate import Scored, evaluate_recipe
from weitiao.study.train import train

INSTRUCTION = "answer the question in one word and do not explain anything"
COLOURS = ["red", "green", "blue", "white", "black"]
# The code of a process that measures itself, for Python's `-c`. Not `ru_maxrss`, which begins at what the process
# that started it holds: from a process of tests, no growth would be seen.
PEAK_BYTES = "next(int(line.split()[1]) * 1024 for line in open('/proc/self/status') if line.startswith('VmHWM'))"


def write_rows(path: Path, num: int, *, start: int = 0) -> Path:
    """Alpaca rows with a shared instruction and answers of different lengths."""
    rows = [
        {
            "instruction": INSTRUCTION,
            "input": f"what colour has thing {i} of {i % 7}?",
            "output": " and ".join(COLOURS[(i + k) % 5] for k in range(1 + i % 3)),
        }
        for i in range(start, start + num)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def write_long_rows(path: Path, num: int, *, words: int) -> Path:
    """General rows with long answers, for `data.replay`."""
    answers = [" ".join(COLOURS[(i + k) % 5] for k in range(words)) for i in range(num)]
    rows = [{"instruction": f"tell me about {i}", "input": "", "output": text} for i, text in enumerate(answers)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def write_recipe(directory: Path, model: Path, *, num_rows: int = 40, **sections: Any) -> Path:
    """A recipe over fresh rows; `sections` are merged into it."""
    directory.mkdir(parents=True, exist_ok=True)
    write_rows(directory / "rows.jsonl", num_rows)
    recipe: dict[str, Any] = {
        "model": {"name": str(model), "dtype": "float32"},
        "data": {"train": "rows.jsonl"},
        "method": {"r": 4},
        "train": {"batch_size": 8, "learning_rate": 0.01, "threads": 1},
        "run_dir": str(directory / "run"),
    }
    for name, section in sections.items():
        recipe[name] = {**recipe.get(name, {}), **section} if isinstance(section, dict) else section
    path = directory / "recipe.yaml"
    path.write_text(json.dumps(recipe, indent=1), encoding="utf-8")
    return path


def command(*arguments: str | Path, python: str | Path = sys.executable) -> list[str]:
    return [str(python), "-m", "weitiao", *map(str, arguments)]


def weitiao(
    *arguments: str | Path,
    ranks: int = 1,
    cwd: Path | None = None,
    stdin: str | None = None,
    meanwhile: Callable[[int], None] = lambda pid: None,
) -> Done:
    """Run the command line to its end, in a process of its own that starts at once (see `forked`).

    Args:
        arguments: As typed.
        ranks: Processes that compute together, by gloo, without the launcher that `torchrun` starts.
        cwd: The current directory, that of the tests if none.
        stdin: What it reads.
        meanwhile: Is called with the process id while it runs.
    """
    return server().call(*arguments, ranks=ranks, cwd=cwd, stdin=stdin, meanwhile=meanwhile)


def weitiao_anew(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run the command line as a new interpreter, which imports all it needs: some seconds more than `weitiao`."""
    return subprocess.run(
        command(*arguments), env=environment(), capture_output=True, text=True, timeout=300, check=False
    )


def signal_after(run: Path, steps: int, number: signal.Signals) -> Callable[[int], None]:
    """Sends a signal to a process once its run has done that many steps."""
    metrics = run / "metrics.jsonl"

    def watch(pid: int) -> None:
        deadline = time.monotonic() + 120
        while not (metrics.exists() and metrics.read_text().count('"grad_norm"') >= steps):
            assert time.monotonic() < deadline, "the run did not get that far"
            time.sleep(0.005)
        os.kill(pid, number)

    return watch


def steps_of(run: Path) -> list[dict[str, Any]]:
    """The lines of `metrics.jsonl` about steps."""
    lines = (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    return [line for line in map(json.loads, lines) if "loss" in line]


def require_same_after_resume(run: Path, step: int, *, recipe: Path | None = None) -> None:
    """Take a run's result and its checkpoint of this step away: going on leaves the same numbers in every tensor."""
    (weights,) = (run / "final").glob("*model.safetensors")
    whole = load_file(weights)
    shutil.rmtree(run / "final")
    shutil.rmtree(run / "checkpoints" / f"step-{step:08d}")
    train(load_recipe(recipe or run))
    again = load_file(weights)
    assert whole.keys() == again.keys()
    assert all(torch.equal(whole[key], again[key]) for key in whole)


def final_weights(run: Path) -> bytes:
    return (run / "final" / "adapter_model.safetensors").read_bytes()


def torchrun(num_ranks: int, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run the command line on several gloo ranks of this machine."""
    launcher = [str(server().python), "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(num_ranks)]
    words: Sequence[str] = [*launcher, "-m", "weitiao", *map(str, arguments)]
    return subprocess.run(words, env=environment(), capture_output=True, text=True, timeout=300, check=False)


def evaluate_target(
    target: Path,
    overrides: Sequence[str] = (),
    *,
    base: bool = False,
    output: Path | None = None,
    console: Console | None = None,
) -> Scored:
    """A run, or the untuned model of a recipe, as `weitiao eval` scores it, in this process."""
    recipe = load_recipe(target, overrides)
    return evaluate_recipe(recipe, tuned=target.is_dir() and not base, output=output, console=console)


def save_adapter(
    directory: Path, model: Any, tokenizer: Any, *, base: str, fingerprint: str, revision: str | None = None
) -> None:
    """What a training with LoRA leaves in `final/`."""
    note = Note(base, fingerprint, revision, method="lora")
    save_final(directory, model, tokenizer, method=LoraConfig().build(), note=note)
