"""Where a run ends before its last step, what a call of `weitiao run` did, and what came out."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from weitiao.quality.settings import LEFT_OUT
from weitiao.recipe import Recipe
from weitiao.runs.record import Stop
from weitiao.runs.run_dir import RunDir
from weitiao.verdict.exported import Exports
from weitiao.verdict.verdict import Verdict, verdict_values

StepState = Literal["done", "unchanged", "skipped", "left out", "not reached"]

EXIT_FINDINGS = 3
EXIT_UNDECIDED = 4


@dataclass(frozen=True, slots=True)
class StepOutcome:
    """What became of a step in this call.

    Attributes:
        name: The step.
        state: `done` in this call; `unchanged` since an earlier one; `skipped` by `--skip`; `left out` because
            something that it needs is not there; `not reached` because the run ended before.
        seconds: Time that it took in this call.
        summary: What came out, or why it was left out.
    """

    name: str
    state: StepState
    seconds: float = 0.0
    summary: str = ""

    @property
    def is_available(self) -> bool:
        """Whether its result is there and up to date."""
        return self.state in ("done", "unchanged")


@dataclass(frozen=True, slots=True)
class PipelineResult:
    """What a call did and what came out.

    Attributes:
        path: The run directory.
        steps: One entry per step, in order.
        verdict: None when it was not reached, or could not be given.
        stop: Why the run ended early; None if it did not.
        report: `report.html`; None when it was not written.
        reached_end: Whether all steps were gone through (no `--until`, no stop).
        exports: What was exported; None when nothing was.
        is_judged: Whether there is a verdict on such work: not on what was learned of raw text, nor on reward models.
    """

    path: Path
    steps: tuple[StepOutcome, ...]
    verdict: Verdict | None
    stop: Stop | None
    report: Path | None
    reached_end: bool
    is_judged: bool = True
    exports: Exports | None = None

    @property
    def exit_code(self) -> int:
        """That of the verdict: 0 ship, 3 do not ship, 4 undecided; of a model to be shipped, that of its exports. 3
        when the data has errors, 0 when prompting suffices or `--until` ended the run, and 4 when the run came to its
        end without what a verdict needs."""
        if self.stop is not None:
            return EXIT_FINDINGS if self.stop.reason == "findings" else 0
        if self.verdict is not None:
            return self.verdict.exit_code or (self.exports.exit_code if self.exports else 0)
        return EXIT_UNDECIDED if self.reached_end and self.is_judged else 0

    def to_dict(self) -> dict[str, Any]:
        """The result as plain JSON values."""
        return {
            "path": str(self.path),
            "exit_code": self.exit_code,
            "verdict": verdict_values(self.verdict) if self.verdict else None,
            "exports": self.exports,
            "stop": asdict(self.stop) if self.stop else None,
            "report": str(self.report) if self.report else None,
            "steps": [asdict(step) for step in self.steps],
        }


def stop_after(step: str, recipe: Recipe, run: RunDir) -> Stop | None:
    """Whether a run ends after a step whose result is there.

    Args:
        step: The step.
        recipe: Its section `run` says what follows from findings and from the advice.
        run: The run directory.
    """
    if {"check": recipe.run.on_findings, "baseline": recipe.run.on_advice}.get(step) != "stop":
        return None
    found = json.loads((run.path / ("data-check.json" if step == "check" else "baseline.json")).read_text("utf-8"))
    if step == "check":
        left_out = LEFT_OUT if recipe.data.on_bad_rows == "skip" else ()
        errors = [one for one in found["findings"] if one["severity"] == "error" and one["kind"] not in left_out]
        if not errors:
            return None
        rows, first = sum(one["count"] for one in errors), errors[0]
        place = f"{first['file']}:{first['row']}" if first["row"] else first["file"]
        return Stop(
            "check",
            "findings",
            f"The data check found errors in {rows:,} rows, the first: "
            f"{place}: {first['reason']}. Correct the data (`weitiao data clean` helps), or go on all the same with "
            "run.on_findings=continue.",
        )
    advice = found["advice"]
    if advice["decision"] != "prompting suffices":
        return None
    reasons = " ".join(reason["en"] for reason in advice["reasons"])
    return Stop(
        "baseline",
        "advice",
        f"Prompting suffices: {reasons} There is nothing to tune; train all the same with run.on_advice=continue.",
    )
