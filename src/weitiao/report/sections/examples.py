"""Answers before and after, to the same questions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from weitiao.report.files import RunFiles
from weitiao.report.sections.common import Section, missing
from weitiao.text.wording import Wording

_MOST = 6


def examples_section(files: RunFiles, words: Wording) -> Section:
    """Rows that became right, rows that became wrong, and rows that stayed wrong.

    Args:
        files: Of the run.
        words: Of the report.
    """
    comparison = files.get("comparison.json")
    if comparison is None:
        return {"missing": missing(files, words, "compare", "comparison.json"), "groups": []}
    groups = [(kind, comparison[kind], len(comparison[kind])) for kind in ("better", "worse")]
    groups.append(("still", _still_wrong(files, comparison), comparison["both_wrong"]))
    return {"missing": None, "groups": [(kind, rows[:_MOST], total) for kind, rows, total in groups if rows]}


def _still_wrong(files: RunFiles, comparison: Mapping[str, Any]) -> list[Section]:
    """Rows that neither has right, with the same grade: they are not among the changes."""
    best = files.best_cell
    if best is None:
        return []
    primary = comparison["primary"]
    before = {one["row_id"]: one for one in files.predictions.get(best["predictions"], [])}
    found = []
    for after in files.predictions.get("predictions.jsonl", []):
        old, grade = before.get(after["row_id"]), after["grades"].get(primary)
        if old is None or grade == 1 or old["grades"].get(primary) != grade:
            continue
        prompt = "\n".join(str(turn["content"] or "") for turn in after["messages"] if turn["role"] == "user")
        found.append(
            {"row_id": after["row_id"], "prompt": prompt, "expected": after["expected"], "before": old["answer"],
             "after": after["answer"], "grade_before": 0.0, "grade_after": 0.0}
        )  # fmt: skip
        if len(found) == _MOST:
            break
    return found
