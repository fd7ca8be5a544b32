"""What it took: time and memory of every step."""

from __future__ import annotations

from weitiao.console import quoted
from weitiao.report.charts.marks import share_bar
from weitiao.report.files import RunFiles
from weitiao.report.sections.common import Section
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
    done = files.records.steps
    if not done:
        return {"rows": [], "missing_command": f"weitiao run {quoted(files.path)}"}
    total = sum(done[name].seconds for name in STEP_ORDER if name in done)
    rows: list[Section] = []
    for name in STEP_ORDER:
        rows.append({"step": name, "state": files.state(name), "record": None})
        if name in done and name not in files.records.skipped:
            share = done[name].seconds / total if total else 0.0
            title = f"{words(f'step.{name}')}: {words.duration(done[name].seconds)}, {share:.0%}"
            rows[-1] |= {"record": done[name], "bar": share_bar([(share, "tuned")], title=title)}
    return {"rows": rows, "seconds": total, "memory": max(record.peak_memory_bytes for record in done.values())}
