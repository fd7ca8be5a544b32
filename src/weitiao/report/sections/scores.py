"""Every score with its interval, and what changed from the best prompt to the tuned model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from weitiao.evaluation.statistics import Estimate
from weitiao.report.charts.scale import Scale, around
from weitiao.report.files import RunFiles
from weitiao.report.sections.common import Section, axis_of, estimate_of, missing, row
from weitiao.report.sections.verdict import prompt_name
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
        "benchmarks": scores["benchmarks"] if scores else {},  # which only the tuned model has
    }
    primary = (scores or {}).get("primary") or (baseline or {}).get("primary")
    if not found or primary is None:
        return section
    target = baseline["target"] if baseline else None
    shown = [(name, detail, metrics[primary], tuned) for name, detail, metrics, tuned in found if metrics.get(primary)]
    scale = _share_scale([one for _, _, one, _ in shown], target)
    section |= {
        "primary": words.named("metric", primary),
        "target": None if target is None else words("scores.target", value=words.share(target)),
        "axis": axis_of(scale, "share"),
        "rows": [
            row(
                name, detail, one, "share", scale, words, tone="tuned" if tuned else "base", strong=tuned, border=target
            )
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
        found.append((f"{cell['model']}, {prompt_name(cell['prompt'], words)}", detail, metrics, False))
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
    best = f"{baseline['best_model']}, {prompt_name(baseline['best_prompt'], words)}"
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
