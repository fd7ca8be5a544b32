"""Every score with its interval and what changed; where answers fall short; answers before and after."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from weitiao.evaluation.statistics import Estimate
from weitiao.report.charts.drawings import share_bar
from weitiao.report.charts.svg import Scale, around
from weitiao.report.files import RunFiles, Values
from weitiao.report.markup import prompt_name
from weitiao.report.sections.common import Section, axis_of, estimate_of, missing, row, unit_of
from weitiao.report.sections.rewards import rewards_of
from weitiao.text.wording import Wording


def scores_section(files: RunFiles, words: Wording) -> Section:
    """The primary metric of all models and prompts as dots with whiskers; the other metrics as a table.

    Args:
        files: Of the run.
        words: Of the report.
    """
    baseline, scores, comparison = (files.get(f"{name}.json") for name in ("baseline", "scores", "comparison"))
    notes = missing(files, words, "baseline", "baseline.json"), missing(files, words, "eval", "scores.json")
    found = _named_scores(files, words)
    section: Section = {
        "missing": [note for note in notes if note is not None],
        "rows": [],
        "table": {metric: words.named("metric", metric) for _, _, metrics, _ in found for metric in metrics},
        "models": [(name, metrics) for name, _, metrics, _ in found],
        "change": None,
        "rewards": rewards_of(files, words),
        "benchmarks": scores["benchmarks"] if scores else {},  # which only the tuned model has
    }
    primary = (scores or {}).get("primary") or (baseline or {}).get("primary")
    if not found or primary is None:
        return section
    target = baseline["target"] if baseline else None
    shown = [(name, detail, metrics[primary], tuned) for name, detail, metrics, tuned in found if metrics.get(primary)]
    if not shown:
        return section
    estimates = [one for _, _, one, _ in shown]
    unit = unit_of(scores, primary) if scores and primary in scores["metrics"] else "share"
    ends = [end for one in estimates for end in (one.low, one.high)]
    scale = _share_scale(estimates, target) if unit == "share" else around(ends, include=(0.0,))
    section |= {
        "primary": words.named("metric", primary),
        "target": None if target is None else words("scores.target", value=words.share(target)),
        "axis": axis_of(scale, unit),
        "rows": [
            row(name, detail, one, unit, scale, words, tone="tuned" if tuned else "base", strong=tuned, border=target)
            for name, detail, one, tuned in shown
        ],
    }
    if comparison is not None:
        section["change"] = {**_change(comparison, words), **_sides(comparison, baseline, words)}
    return section


def _named_scores(files: RunFiles, words: Wording) -> list[tuple[str, str, dict[str, Estimate], bool]]:
    """Name, detail, scores by metric, and whether it is the tuned model."""
    found = []
    baseline, scores = files.get("baseline.json"), files.get("scores.json")
    for cell in baseline["cells"] if baseline else []:
        detail = words(
            "scores.cost",
            tokens=words.count(cell["cost"]["prompt_tokens"]),
            seconds=words.duration(cell["seconds_per_answer"]),
        )
        metrics = {name: estimate_of(values) for name, values in cell["metrics"].items()}
        name = words("scores.prompted", model=cell["model"], prompt=prompt_name(cell["prompt"], words))
        found.append((name, detail, metrics, False))
    if scores is not None:
        metrics = {name: estimate_of(values) for name, values in scores["metrics"].items()}
        found.append((words("scores.tuned"), words("scores.tuned.detail"), metrics, True))
    return found


def _share_scale(scores: list[Estimate], target: float | None) -> Scale:
    """Zero to one, or the part of it that the intervals need, when they all lie close together."""
    ends = [end for one in scores for end in (one.low, one.high)]
    wide = around(ends, include=() if target is None else (target,), margin=0.15)
    if wide.high - wide.low > 0.4:
        return Scale(0.0, 1.0)
    return Scale(max(0.0, wide.low), min(1.0, wide.high))


def _sides(comparison: Mapping[str, Any], baseline: Mapping[str, Any] | None, words: Wording) -> Section:
    """What is compared; a comparison by hand has its own names."""
    if baseline is None or comparison["b"] != "tuned":
        return {"a": comparison["a"], "b": comparison["b"]}
    prompt = prompt_name(baseline["best_prompt"], words)
    best = words("scores.prompted", model=baseline["best_model"], prompt=prompt)
    return {"a": best, "b": words("scores.tuned").lower()}


def _change(comparison: Mapping[str, Any], words: Wording) -> Section:
    """The paired difference of every metric, equal ones once."""
    differences: dict[str, Mapping[str, Any]] = {}
    for name, change in comparison["metrics"].items():
        if change["paired"] not in differences.values():
            differences[name] = change["paired"]
    estimates = {name: estimate_of(paired["difference"]) for name, paired in differences.items()}
    scale = around([end for one in estimates.values() for end in (one.low, one.high)], include=(0.0,), margin=0.08)
    rows = []
    for name, paired in differences.items():
        one = estimates[name]
        tone = "good" if one.low > 0 else "bad" if one.high < 0 else "open"
        detail = words(
            "scores.paired",
            better=words.count(paired["num_better"]),
            worse=words.count(paired["num_worse"]),
            p=words.p_value(paired["p_value"]),
            test=words(f"test.{paired['test']}"),
        )
        strong = name == comparison["primary"]
        rows.append(row(words.named("metric", name), detail, one, "points", scale, words, tone=tone, strong=strong))
    counts = {name: words.count(comparison[name]) for name in ("both_right", "only_a", "only_b", "both_wrong")}
    return {"rows": rows, "axis": axis_of(scale, "points"), "counts": counts}


_MOST_GROUPS = 12


def gap_section(files: RunFiles, words: Wording) -> Section:
    """Kinds of errors, fields of JSON answers and weak groups, before and after.

    Args:
        files: Of the run.
        words: Of the report.
    """
    before, after = files.get("gap.json"), files.get("gap-tuned.json")
    if before is None:
        return {"missing": missing(files, words, "baseline", "gap.json")}
    gaps = [before] if after is None else [before, after]
    errors = _beside(gaps, "errors", "kind")
    groups = [pair for pair in _beside(gaps, "groups", "dimension", "name", "value").values() if pair[0]]
    weak = [pair for pair in groups if any(one and one["weak"] for one in pair)]
    return {
        "missing": None,
        "missing_after": missing(files, words, "compare", "gap-tuned.json") if after is None else None,
        "before": before,
        "after": after,
        "errors": [_error(kind, pair, gaps, words) for (kind,), pair in errors.items()],
        "fields": [(name, pair) for (name,), pair in _beside(gaps, "fields", "field").items()],
        "groups": sorted(weak, key=lambda pair: pair[0]["difference"])[:_MOST_GROUPS],
        "num_tested": words.count(sum(group["p_value"] is not None for group in before["groups"])),
    }


def _beside(gaps: list[Values], what: str, *names: str) -> dict[tuple[str, ...], list[Any]]:
    """The entries of a list in each gap, under what names them, None where one has no such entry; the first's first."""
    found = [{tuple(one[name] for name in names): one for one in gap[what]} for gap in gaps]
    return {key: [entries.get(key) for entries in found] for key in dict.fromkeys(key for one in found for key in one)}


def _error(kind: str, pair: list[Any], gaps: list[Values], words: Wording) -> Section:
    counts = [one["count"] if one else 0 for one in pair]
    shares = [count / gap["score"]["n"] for count, gap in zip(counts, gaps, strict=True)]
    return {
        "kind": kind,
        "counts": counts,
        "bars": [
            share_bar([(share, tone)], title=f"{words(f'error.{kind}')}: {words.share(share)}")
            for share, tone in zip(shares, ("base", "tuned"), strict=False)
        ],
        "remedies": next(one for one in pair if one)["remedies"],
    }


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
