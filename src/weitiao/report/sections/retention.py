"""What the model still knows outside its task: the retention suite before and after, with the noise floor."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from weitiao.evaluation.verdict_config import VerdictConfig
from weitiao.records import record_of
from weitiao.report.charts.scale import around
from weitiao.report.files import RunFiles
from weitiao.report.sections.common import Section, axis_of, estimate_of, missing, row
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
    before, comparison = files.get("retention-before.json"), _compared(files)
    section: Section = {
        "missing": missing(files, words, "retention-before", "retention-before.json")
        or missing(files, words, "retention-after", "retention-after.json"),
        "before": before["parts"] if before is not None and comparison is None else [],
        "groups": [],
        "set_aside": [],
        "skipped": {},
        "name": partial(part_name, words=words),
        "score": partial(_score, words=words),
        "why": partial(why_not, files, words=words),
    }
    if comparison is None:
        return section
    every = (*comparison["parts"], *comparison["overall"])
    of_kinds = {kind: [part for part in every if part["informative"] and part["kind"] == kind] for kind in _UNITS}
    return section | {
        "groups": [_group(kind, parts, words) for kind, parts in of_kinds.items() if parts],
        "set_aside": [part for part in comparison["parts"] if not part["informative"]],
        "skipped": {
            name: words("retention.no_template") if reason == NO_TEMPLATE else reason
            for name, reason in comparison["skipped"].items()
        },
    }


def _compared(files: RunFiles) -> Section | None:
    """The comparison with the outcomes that the recipe's `verdict` gives it: the page has one rule, the verdict's."""
    values = (files.get("comparison.json") or {}).get("retention")
    if values is None:
        return None
    asked = VerdictConfig.model_validate(files.settings.get("verdict") or {})
    return record_of(RetentionComparison, values).judged(asked).to_dict()


def _group(kind: str, parts: list[Mapping[str, Any]], words: Wording) -> Section:
    """The parts of a kind on one axis."""
    differences = [estimate_of(part["difference"]) for part in parts]
    noise = [part["noise"] for part in parts]
    ends = [end for one in differences for end in (one.low, one.high)]
    scale = around(ends, include=(0.0, *noise, *(-one for one in noise)), margin=0.08)
    rows = []
    for part, difference in zip(parts, differences, strict=True):
        detail = f"{_score(part, 'before', words)} → {_score(part, 'after', words)}"
        outcome, strong = words(f"outcome.{part['outcome']}"), part["name"] in OVERALL.values()
        rows.append(
            row(part_name(part["name"], words), detail, difference, _UNITS[kind], scale, words,
                tone=_TONES[part["outcome"]], strong=strong, tag=outcome, floor=part["noise"])
        )  # fmt: skip
    return {"kind": kind, "rows": rows, "axis": axis_of(scale, _UNITS[kind])}


def _score(part: Mapping[str, Any], which: str, words: Wording) -> str:
    """The mean of a part, as it is `which` of `before` and `after`, or its only `estimate`."""
    value = part[which]["value"]
    return words.share(value) if part["kind"] == "accuracy" else words.nats(value)


def part_name(name: str, words: Wording) -> str:
    """What a part of the suite is called; one of the user's keeps its own name."""
    if name in OVERALL.values():
        return words(f"retention.{name}")
    base = name.removesuffix(f"-{ANSWERS}")
    known = words.named("retention.part", base)
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
