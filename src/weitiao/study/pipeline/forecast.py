"""How long steps will take: what they took before, or what steps like them took."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from weitiao.runs.record import StepRecord
from weitiao.runs.run_dir import RunDir
from weitiao.study.pipeline.step import Step

_QUICK_SECONDS = 10.0


def seconds_left(steps: Sequence[Step], records: Mapping[str, StepRecord], run: RunDir) -> float | None:
    """How long steps will take.

    Args:
        steps: Those that are still to be done.
        records: Of all steps.
        run: The run directory.

    Returns:
        Seconds; None when nothing tells it for one of them.
    """
    total = 0.0
    for step in steps:
        record = records.get(step.name)
        seconds = record.seconds if record is not None and record.state == "done" else step.forecast(run)
        if seconds is None:
            return None
        total += seconds
    return total


def as_quick(run: RunDir) -> float:
    """For steps that compute next to nothing."""
    return _QUICK_SECONDS


def as_retention_before(run: RunDir) -> float | None:
    """As long as the base model took for the same items."""
    path = run.path / "retention-before.json"
    return float(json.loads(path.read_text(encoding="utf-8"))["seconds"]) if path.exists() else None


def as_baseline(run: RunDir) -> float | None:
    """As long as the answers with the shortest prompt took."""
    path = run.path / "baseline.json"
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"] if path.exists() else []
    if not cells:
        return None
    shortest = min(cells, key=lambda cell: cell["shots"])
    return float(shortest["seconds_per_answer"]) * int(next(iter(shortest["metrics"].values()))["n"])
