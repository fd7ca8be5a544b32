"""What it took: time and memory of every step."""

from __future__ import annotations

from weitiao.console import quoted
from weitiao.report.charts.marks import share_bar
from weitiao.report.files import RunFiles
from weitiao.report.sections.common import Section
from weitiao.runs.record import StepRecord
from weitiao.text.wording import Wording

STEP_ORDER = (
    "check", "baseline", "retention-before", "train", "eval", "retention-after", "compare", "verdict",
)  # fmt: skip


def costs_section(files: RunFiles, words: Wording) -> Section:
    """A row per step with what became of it, its time and its memory.

    Args:
        files: Of the run.
        words: Of the report.
    """
    records = files.records
    if not records.steps:
        return {"rows": [], "missing_command": f"weitiao run {quoted(files.path)}"}
    total = sum(records.steps[name].seconds for name in STEP_ORDER if name in records.steps)
    rows = []
    for name in STEP_ORDER:
        record = records.steps.get(name)
        row: Section = {"name": words(f"step.{name}"), "state": words(f"state.{_state(files, name)}"), "summary": ""}
        row |= {"time": "", "memory": "", "bar": ""}
        if record is not None and name not in records.skipped:
            row |= _figures(record, row["name"], total, words)
        rows.append(row)
    most = max((record.peak_memory_bytes for record in records.steps.values()), default=0)
    return {"rows": rows, "total": words.duration(total), "memory": words.size(most)}


def _figures(record: StepRecord, name: str, total: float, words: Wording) -> Section:
    share = record.seconds / total if total else 0.0
    time = words.duration(record.seconds)
    return {
        "summary": record.summary,
        "time": time,
        "memory": words.size(record.peak_memory_bytes),
        "bar": share_bar([(share, "tuned")], title=f"{name}: {time}, {share:.0%}"),
    }


def _state(files: RunFiles, name: str) -> str:
    records = files.records
    if name in records.skipped:
        return "skipped"
    if name not in records.steps:
        return "never"
    if records.is_current(name):
        return "done"
    return "unfinished" if records.steps[name].state == "started" else "outdated"
