"""Where a run ends before its last step: data with errors, and a task that prompting solves."""

from __future__ import annotations

import json
from typing import Any

from weitiao.recipe import Recipe
from weitiao.runs.record import Stop
from weitiao.runs.run_dir import RunDir


def stop_after(step: str, recipe: Recipe, run: RunDir) -> Stop | None:
    """Whether a run ends after a step whose result is there.

    Args:
        step: The step.
        recipe: Its section `run` says what follows from findings and from the advice.
        run: The run directory.
    """
    if step == "check" and recipe.run.on_findings == "stop":
        return _findings(run)
    if step == "baseline" and recipe.run.on_advice == "stop":
        return _advice(run)
    return None


def _findings(run: RunDir) -> Stop | None:
    errors = [one for one in _read(run, "data-check.json")["findings"] if one["severity"] == "error"]
    if not errors:
        return None
    rows = sum(one["count"] for one in errors)
    first = errors[0]
    place = f"{first['file']}:{first['row']}" if first["row"] else first["file"]
    return Stop(
        "check",
        "findings",
        f"The data check found errors in {rows:,} rows, the first: "
        f"{place}: {first['reason']}. Correct the data (`weitiao data clean` helps), or go on all the same with "
        "run.on_findings=continue.",
    )


def _advice(run: RunDir) -> Stop | None:
    advice = _read(run, "baseline.json")["advice"]
    if advice["decision"] != "prompting suffices":
        return None
    reasons = " ".join(reason["en"] for reason in advice["reasons"])
    return Stop(
        "baseline",
        "advice",
        f"Prompting suffices: {reasons} There is nothing to tune; train all the same with run.on_advice=continue.",
    )


def _read(run: RunDir, name: str) -> dict[str, Any]:
    values: dict[str, Any] = json.loads((run.path / name).read_text(encoding="utf-8"))
    return values
