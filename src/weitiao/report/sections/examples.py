"""Answers before and after, to the same questions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from weitiao.report.files import RunFiles
from weitiao.report.sections.common import Section, missing, shortened
from weitiao.text.wording import Wording

_MOST = 6
_LONGEST_PROMPT = 1_500
_LONGEST_ANSWER = 1_000


def examples_section(files: RunFiles, words: Wording) -> Section:
    """Rows that became right, rows that became wrong, and rows that stayed wrong.

    Args:
        files: Of the run.
        words: Of the report.
    """
    comparison = files.get("comparison.json")
    if comparison is None:
        return {"missing": missing(files, words, "compare", "comparison.json"), "groups": []}
    groups = [
        _group("better", comparison["better"], len(comparison["better"]), words),
        _group("worse", comparison["worse"], len(comparison["worse"]), words),
    ]
    still = _still_wrong(files, comparison)
    groups.append(_group("still", still, comparison["both_wrong"], words))
    return {"missing": None, "groups": [group for group in groups if group["examples"]]}


def _group(kind: str, changes: Sequence[Mapping[str, Any]], total: int, words: Wording) -> Section:
    shown = changes[:_MOST]
    return {
        "title": words(f"examples.{kind}"),
        "count": words("examples.count", shown=words.count(len(shown)), total=words.count(total)),
        "is_open": kind == "better",
        "examples": [
            {
                "row": change["row_id"],
                "prompt": shortened(change["prompt"], _LONGEST_PROMPT),
                "expected": shortened(change["expected"], _LONGEST_ANSWER),
                "before": shortened(change["before"], _LONGEST_ANSWER),
                "after": shortened(change["after"], _LONGEST_ANSWER),
                "before_tone": "good" if change["grade_before"] == 1 else "bad",
                "after_tone": "good" if change["grade_after"] == 1 else "bad",
            }
            for change in shown
        ],
    }


def _still_wrong(files: RunFiles, comparison: Mapping[str, Any]) -> list[Section]:
    """Rows that neither has right, with the same grade: they are not among the changes."""
    best = files.best_cell
    if best is None:
        return []
    primary = comparison["primary"]
    before = {one["row_id"]: one for one in files.predictions.get(best["predictions"], [])}
    found = []
    for after in files.predictions.get("predictions.jsonl", []):
        old = before.get(after["row_id"])
        if (
            old is None
            or after["grades"].get(primary) == 1
            or old["grades"].get(primary) != after["grades"].get(primary)
        ):
            continue
        prompt = "\n".join(str(turn["content"] or "") for turn in after["messages"] if turn["role"] == "user")
        found.append(
            {"row_id": after["row_id"], "prompt": prompt, "expected": after["expected"], "before": old["answer"],
             "after": after["answer"], "grade_before": 0.0, "grade_after": 0.0}
        )  # fmt: skip
        if len(found) == _MOST:
            break
    return found
