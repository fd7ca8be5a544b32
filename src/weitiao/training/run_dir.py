"""The run directory: everything that a run leaves, and the only thing that is needed to go on with it.

recipe.yaml       the resolved recipe, re-runnable
environment.json  versions and hardware
metrics.jsonl     one JSON object per step and per validation
losses/           row ids and loss of every sequence of every step (Parquet)
checkpoints/      step-00000100/ ..., and best/
final/            the result in PEFT format
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from weitiao.errors import RunError
from weitiao.training.files import COMPLETE


@dataclass(frozen=True, slots=True)
class RunDir:
    """Paths inside a run directory."""

    path: Path

    @property
    def recipe_path(self) -> Path:
        return self.path / "recipe.yaml"

    @property
    def environment_path(self) -> Path:
        return self.path / "environment.json"

    @property
    def metrics_path(self) -> Path:
        return self.path / "metrics.jsonl"

    @property
    def rejected_path(self) -> Path:
        return self.path / "rejected.jsonl"

    @property
    def losses(self) -> Path:
        return self.path / "losses"

    @property
    def checkpoints(self) -> Path:
        return self.path / "checkpoints"

    @property
    def best(self) -> Path:
        return self.checkpoints / "best"

    @property
    def final(self) -> Path:
        return self.path / "final"

    @property
    def is_finished(self) -> bool:
        return (self.final / COMPLETE).exists()

    def checkpoint(self, step: int) -> Path:
        """Directory of the checkpoint after `step` optimiser steps."""
        return self.checkpoints / f"step-{step:08d}"

    def complete_checkpoints(self) -> list[Path]:
        """Checkpoints whose writing came to its end, oldest first."""
        return sorted(p for p in self.checkpoints.glob("step-????????") if (p / COMPLETE).exists())

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other processes out while this one writes.

        Raises:
            RunError: Another process has the run directory.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        lock = FileLock(self.path / ".lock", is_singleton=True)
        try:
            lock.acquire(timeout=0)
        except Timeout as error:
            raise RunError(
                f"{self.path} is in use by another process.", "Wait for it, or choose another run_dir."
            ) from error
        try:
            yield
        finally:
            lock.release()
