"""The top of the page: the verdict and what it rests on; and what the model still knows outside its task."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from weitiao.evaluation.borders import VerdictConfig
from weitiao.records import record_of
from weitiao.report.charts.svg import around
from weitiao.report.files import RunFiles
from weitiao.report.markup import prompt_name
from weitiao.report.sections.common import (
    Section,
    axis_of,
    estimate_of,
    in_unit,
    interval_in_words,
    missing,
    row,
    unit_of,
)
from weitiao.retention.comparison import OVERALL, RetentionComparison, compare_retention
from weitiao.retention.parts import ANSWERS
from weitiao.retention.run import NO_TEMPLATE
from weitiao.retention.scores import RetentionScores
from weitiao.text.wording import Wording, signed
from weitiao.verdict.verdict import Verdict, sentence

_TONES = {"ship": "good", "do not ship": "bad", "undecided": "open"}
_STATUS = {"met": ("✓", "good"), "violated": ("✗", "bad"), "open": ("?", "open")}


def verdict_section(files: RunFiles, words: Wording) -> Section:
    """Word, sentence, reasons and the most important numbers.

    Args:
        files: Of the run.
        words: Of the report.
    """
    verdict, stop = files.get("verdict.json"), files.records.stop
    skipped = words("list.comma").join(words(f"step.{name}") for name in files.records.skipped)
    section: Section = {"tiles": _tiles(files, words), "reasons": [], "noted": [], "skipped": skipped}
    if stop is not None:
        tone, key = ("bad", "verdict.findings") if stop.reason == "findings" else ("info", "verdict.advice")
        return section | {"tone": tone, "word": words(key), "sentence": _stopped(files, words)}
    if verdict is None:
        return section | {"tone": "info", "word": words("verdict.none"), "sentence": words("verdict.none.sentence")}
    decided = record_of(Verdict, verdict)
    noted = [words("verdict.noted", text=sentence(one, words.language)) for one in decided.noted]
    for one in verdict["set_aside"]:
        name, reason = part_name(one["name"], words), why_not(files, one, words)
        noted.append(words("verdict.set_aside", name=name, reason=reason))
    return section | {
        "tone": _TONES[decided.decision],
        "word": words(f"verdict.{decided.decision}"),
        "sentence": _sentence(files, words, verdict),
        "reasons": [(one.status, *_STATUS[one.status], sentence(one, words.language)) for one in decided.reasons],
        "noted": noted,
    }


def _sentence(files: RunFiles, words: Wording, verdict: Mapping[str, Any]) -> str:
    """What was gained, then what stands in the way, if anything does."""
    gain = next(one for one in verdict["reasons"] if one["kind"] == "gain")["measured"]
    comparison = files.get("comparison.json")
    values = {
        "difference": words.points(gain["value"]),
        "low": signed(100 * gain["low"], 1),
        "high": signed(100 * gain["high"], 1),
        "n": words.count(gain["n"]),
    }
    if comparison is not None:
        change = comparison["metrics"][comparison["primary"]]
        values |= {side: words.share(change[side]["value"]) for side in ("after", "before")}
    parts = [words("verdict.gain_only" if comparison is None else "verdict.gain", **values)]
    kept = [one for one in verdict["reasons"] if one["kind"] == "retention"]
    lost = [part_name(one["name"], words) for one in kept if one["status"] == "violated"]
    if lost:
        parts.append(words("verdict.lost", names=words("list.comma").join(lost)))
    elif kept and all(one["status"] == "met" for one in kept):
        parts.append(words("verdict.kept"))
    if verdict["decision"] == "undecided":
        parts.append(words("verdict.open", n=sum(one["status"] == "open" for one in verdict["reasons"])))
    return words("list.sentence").join(parts)


def _stopped(files: RunFiles, words: Wording) -> str:
    stop = files.records.stop
    assert stop is not None
    if stop.reason == "findings":
        check = files.get("data-check.json") or {"findings": []}
        errors = sum(one["count"] for one in check["findings"] if one["severity"] == "error")
        return words("verdict.findings.sentence", n=words.count(errors))
    baseline = files.get("baseline.json")
    if baseline is None:
        return stop.text
    reasons = baseline["advice"]["reasons"]
    return words("list.sentence").join([*(one[words.language] for one in reasons), words("verdict.advice.sentence")])


def _tiles(files: RunFiles, words: Wording) -> list[tuple[str, str, str]]:
    """Before, after, gain, time, as far as they are known: name, value and a note."""
    tiles: list[tuple[str, str, str]] = []
    baseline, scores, comparison = (files.get(f"{name}.json") for name in ("baseline", "scores", "comparison"))
    if baseline is not None and (best := files.best_cell) is not None:
        note = words("tile.before.note", prompt=prompt_name(best["prompt"], words))
        tiles.append(("before", words.share(best["metrics"][baseline["primary"]]["value"]), note))
    if scores is not None and (primary := scores["metrics"].get(scores["primary"])):
        after, unit = estimate_of(primary), unit_of(scores, scores["primary"])
        tiles.append(("after", in_unit(after.value, unit, words), interval_in_words(after, words, unit)))
    if comparison is not None:
        paired = comparison["metrics"][comparison["primary"]]["paired"]
        note = words("tile.gain.note", better=words.count(paired["num_better"]), worse=words.count(paired["num_worse"]))
        tiles.append(("gain", words.points(paired["difference"]["value"]), note))
    done = [record for record in files.records.steps.values() if record.state == "done"]
    if done:
        note = words("tile.time.note", memory=words.size(max(record.peak_memory_bytes for record in done)))
        tiles.append(("time", words.duration(sum(record.seconds for record in done)), note))
    return tiles


_OUTCOME_TONES = {"kept": "good", "lost": "bad", "worse": "bad", "unclear": "open"}
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
    """The comparison with the outcomes that the recipe's `verdict` gives it: the page has one rule, the verdict's.

    Of raw text there is no comparison of answers that it lies in, and both sides are compared here.
    """
    asked = VerdictConfig.model_validate(files.settings.get("verdict") or {})
    if (values := (files.get("comparison.json") or {}).get("retention")) is not None:
        return record_of(RetentionComparison, values).judged(asked).to_dict()
    before, after = files.get("retention-before.json"), files.get("retention-after.json")
    if before is None or after is None or files.get("baseline.json") is not None:
        return None
    scores = record_of(RetentionScores, before), record_of(RetentionScores, after)
    return compare_retention(*scores, asked).to_dict()


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
                tone=_OUTCOME_TONES[part["outcome"]], strong=strong, tag=outcome, floor=part["noise"])
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
