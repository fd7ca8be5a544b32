"""What the model still knows outside its task: the retention suite before and after, with the noise floor."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from weitiao.evaluation.statistics import Estimate
from weitiao.evaluation.verdict_config import VerdictConfig
from weitiao.records import record_of
from weitiao.report.charts.marks import interval
from weitiao.report.charts.scale import Scale, around
from weitiao.report.files import RunFiles
from weitiao.report.sections.common import (
    Row,
    Section,
    axis_of,
    estimate_of,
    interval_in_words,
    missing,
    number,
)
from weitiao.retention.comparison import OVERALL, RetentionComparison
from weitiao.retention.parts import ANSWERS
from weitiao.retention.run import NO_TEMPLATE
from weitiao.text.wording import Wording

_TONES = {"kept": "good", "lost": "bad", "worse": "bad", "unclear": "open"}
_UNITS = {"accuracy": "points", "loss": "nats"}


def retention_section(files: RunFiles, words: Wording) -> Section:
    """Differences of accuracies and of losses on two axes, and the parts that cannot show forgetting.

    Args:
        files: Of the run.
        words: Of the report.
    """
    before = files.get("retention-before.json")
    comparison = _compared(files)
    section: Section = {
        "missing": missing(files, words, "retention-before", "retention-before.json")
        or missing(files, words, "retention-after", "retention-after.json"),
        "before": [],
        "groups": [],
        "set_aside": [],
        "skipped": [],
    }
    if comparison is None:
        if before is not None:
            section["before"] = [_before(files, part, words) for part in before["parts"]]
        return section
    parts = [part for part in (*comparison["parts"], *comparison["overall"]) if part["informative"]]
    totals = {part["name"] for part in comparison["overall"]}
    for kind in ("accuracy", "loss"):
        chosen = [part for part in parts if part["kind"] == kind]
        if chosen:
            section["groups"].append(_group(kind, chosen, totals, words))
    section["set_aside"] = [
        {
            "name": part_name(part["name"], words),
            "before": _score(part, "before", words),
            "after": _score(part, "after", words),
            "reason": why_not(files, part, words),
        }
        for part in comparison["parts"]
        if not part["informative"]
    ]
    section["skipped"] = [
        {"name": part_name(name, words), "reason": words("retention.no_template") if reason == NO_TEMPLATE else reason}
        for name, reason in comparison["skipped"].items()
    ]
    return section


def _compared(files: RunFiles) -> Section | None:
    """The comparison with the outcomes that the recipe's `verdict` gives it: the page has one rule, the verdict's."""
    values = (files.get("comparison.json") or {}).get("retention")
    if values is None:
        return None
    asked = VerdictConfig.model_validate(files.settings.get("verdict") or {})
    return record_of(RetentionComparison, values).judged(asked).to_dict()


def _group(kind: str, parts: list[Mapping[str, Any]], totals: set[str], words: Wording) -> Section:
    differences = [estimate_of(part["difference"]) for part in parts]
    noise = [part["noise"] for part in parts]
    ends = [end for one in differences for end in (one.low, one.high)]
    scale = around(ends, include=(0.0, *noise, *(-one for one in noise)), margin=0.08)
    rows = [_row(part, one, scale, part["name"] in totals, words) for part, one in zip(parts, differences, strict=True)]
    return {
        "title": words(f"retention.{kind}"),
        "note": words(f"retention.{kind}.note"),
        "rows": rows,
        "axis": axis_of(scale, _UNITS[kind]),
    }


def _row(part: Mapping[str, Any], difference: Estimate, scale: Scale, total: bool, words: Wording) -> Row:
    unit = _UNITS[part["kind"]]
    figure, in_words = number(difference.value, words, unit), interval_in_words(difference, words, unit)
    name = part_name(part["name"], words)
    detail = f"{_score(part, 'before', words)} → {_score(part, 'after', words)}"
    outcome = words(f"outcome.{part['outcome']}")
    tone = _TONES[part["outcome"]]
    drawing = interval(
        difference.value, difference.low, difference.high, scale, title=f"{name}: {figure}, {in_words}. {outcome}",
        tone=f"mark-{tone}", floor=part["noise"],
    )  # fmt: skip
    return Row(name, detail, figure, in_words, drawing, strong=total, tag=outcome, tone=tone)


def _score(part: Mapping[str, Any], which: str, words: Wording) -> str:
    value = part[which]["value"]
    return words.share(value) if part["kind"] == "accuracy" else words.nats(value)


def part_name(name: str, words: Wording) -> str:
    """What a part of the suite is called; one of the user's keeps its own name."""
    if name in OVERALL.values():
        return words(f"retention.{name}")
    base = name.removesuffix(f"-{ANSWERS}")
    known = words(f"retention.part.{base}") if words.knows(f"retention.part.{base}") else base
    return known if base == name else words("retention.answers", name=known)


def why_not(files: RunFiles, part: Mapping[str, Any], words: Wording) -> str:
    """Why a part cannot show forgetting; empty when it can.

    Args:
        files: Of the run.
        part: With `name` and `reason`.
        words: Of the report.
    """
    if not part["reason"]:
        return ""
    scores = {one["name"]: one for one in (files.get("retention-before.json") or {"parts": []})["parts"]}
    before = scores.get(part["name"])
    if before is None:
        return str(part["reason"])
    if before["guessing"] is None:
        return words("retention.one_item")
    if before["estimate"]["low"] <= before["guessing"]:
        return words("retention.floor", share=words.share(before["guessing"]))
    return words("retention.ceiling")


def _before(files: RunFiles, part: Mapping[str, Any], words: Wording) -> Section:
    unit = "share" if part["kind"] == "accuracy" else "nats"
    score = estimate_of(part["estimate"])
    return {
        "name": part_name(part["name"], words),
        "figure": number(score.value, words, unit, with_sign=False),
        "n": words.count(score.n),
        "reason": why_not(files, part, words),
    }
