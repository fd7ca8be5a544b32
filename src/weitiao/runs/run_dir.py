"""The run directory: everything that a run leaves, and the only thing that is needed to go on with it.

recipe.yaml       the resolved recipe, re-runnable
environment.json  versions and hardware
metrics.jsonl     one JSON object per step and per validation
losses/           row ids and loss of every sequence of every step (Parquet)
rollouts/         the answers that were learned from, with their rewards, and the weights at the beginning
checkpoints/      step-00000100/ ..., and best/
start/            what `method.start` named, when that is an adapter
reference/        what the model said of the rows before its first step, for objectives that hold it against that
teacher.safetensors   what a teacher gave the rows (`objective.top_k`)
final/            the result in PEFT format
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path

from filelock import FileLock, Timeout

from weitiao.errors import Phrase, RunError
from weitiao.files import COMPLETE, LOCK_SECONDS, is_locked


class RunDir:
    """Paths inside a run directory."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.recipe_path = path / "recipe.yaml"
        self.environment_path = path / "environment.json"
        self.metrics_path = path / "metrics.jsonl"
        self.forecast_path = path / "forecast.json"
        self.rejected_path = path / "rejected.jsonl"
        self.losses = path / "losses"
        self.rollouts = path / "rollouts"
        self.beginning = self.rollouts / "beginning.safetensors"
        self.checkpoints = path / "checkpoints"
        self.best = self.checkpoints / "best"
        self.final = path / "final"
        self.start = path / "start"
        self.reference = path / "reference"
        self.teacher = path / "teacher.safetensors"

    @property
    def is_finished(self) -> bool:
        return (self.final / COMPLETE).exists()

    @property
    def is_in_use(self) -> bool:
        """Whether another process writes into it now."""
        return is_locked(self._lock)

    @property
    def _lock(self) -> Path:
        return self.path.resolve() / ".lock"

    def checkpoint(self, step: int) -> Path:
        """Directory of the checkpoint after `step` optimiser steps."""
        return self.checkpoints / f"step-{step:08d}"

    def complete_checkpoints(self) -> list[Path]:
        """Checkpoints whose writing came to its end, oldest first."""
        return sorted(p for p in self.checkpoints.glob("step-????????") if (p / COMPLETE).exists())

    @contextmanager
    def locked(self, remedy: str = "Wait for it, or choose another run_dir.") -> Iterator[None]:
        """Keep other processes out while this one writes; every command that writes into a run directory does so.

        Inside one process (and thread) the lock may be taken again.

        Args:
            remedy: What to do when another process has it.

        Raises:
            RunError: Another process has the run directory, or it cannot be written to.
        """
        lock = FileLock(self._lock, is_singleton=True)
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            lock.acquire(timeout=LOCK_SECONDS)
        except Timeout as error:
            raise RunError(Phrase("{path} is in use by another process.", path=self.path), remedy) from error
        except OSError as error:
            raise RunError(
                Phrase("{path} cannot be written to: {reason}.", path=self.path, reason=error.strerror or error),
                "Fix the permissions there, or choose another run_dir.",
            ) from error
        try:
            yield
        finally:
            lock.release()


def locked_around(path: Path, remedy: str, *, run: RunDir | None = None) -> AbstractContextManager[None]:
    """The lock of the run directory that a path is, or lies in; elsewhere there is nothing to lock.

    Args:
        path: What is going to be written.
        remedy: What to do when another process has the run directory.
        run: A run directory that may have nothing in it yet; others are known by what is in them.
    """
    whole = path.resolve()
    folders = (whole, *whole.parents)
    if run is not None and run.path.resolve() in folders:
        return run.locked(remedy)
    runs = map(RunDir, folders)
    found = next((one for one in runs if one.recipe_path.is_file() and one.environment_path.is_file()), None)
    return nullcontext() if found is None else found.locked(remedy)
