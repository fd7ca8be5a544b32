"""Every score with its interval, and what changed from the best prompt to the tuned model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from weitiao.evaluation.statistics import Estimate
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
    section: Section = {"missing": [note for note in notes if note is not None], "rows": [], "change": None}
    section |= {"table": None, "benchmarks": _benchmarks(scores, words)}
    found = _named_scores(files, words)
    primary = (scores or {}).get("primary") or (baseline or {}).get("primary")
    if not found or primary is None:
        return section
    target = baseline["target"] if baseline else None
    scale = _share_scale([one for _, _, metrics, _ in found if (one := metrics.get(primary))], target)
    section |= {
        "primary": metric_name(primary, words),
        "target": None if target is None else words("scores.target", value=words.share(target)),
        "axis": axis_of(scale, "share"),
        "rows": [
            _row(name, detail, metrics[primary], tuned, scale, target, words)
            for name, detail, metrics, tuned in found
            if primary in metrics
        ],
        "table": _table(found, words),
    }
    if comparison is not None:
        section["change"] = {**_change(comparison, words), **_sides(comparison, baseline, words)}
    return section


def metric_name(name: str, words: Wording) -> str:
    """What a metric is called; one of the user's keeps its own name."""
    return words(f"metric.{name}") if words.knows(f"metric.{name}") else name


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


def _row(
    name: str, detail: str, score: Estimate, tuned: bool, scale: Scale, target: float | None, words: Wording
) -> Row:
    figure, around_it = words.share(score.value), interval_in_words(score, words, "share")
    drawing = interval(
        score.value, score.low, score.high, scale, title=f"{name}: {figure}, {around_it}",
        tone="mark-tuned" if tuned else "mark-base", border=target,
    )  # fmt: skip
    return Row(name, detail, figure, around_it, drawing, strong=tuned)


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


def _table(found: list[tuple[str, str, dict[str, Estimate], bool]], words: Wording) -> Section | None:
    """All metrics of all models, when there are more than one."""
    names = list(dict.fromkeys(name for _, _, metrics, _ in found for name in metrics))
    if len(names) < 2:
        return None
    rows = []
    for name, _, metrics, _ in found:
        cells = []
        for metric in names:
            one = metrics.get(metric)
            cells.append({"figure": "–", "interval": ""} if one is None else _cell(one, words))
        rows.append({"name": name, "cells": cells})
    return {"columns": [metric_name(name, words) for name in names], "rows": rows}


def _cell(one: Estimate, words: Wording) -> Section:
    """A share in percent; what is above one (a perplexity) as it is."""
    if one.high > 1:
        return {"figure": f"{one.value:.3f}", "interval": f"{one.low:.3f}–{one.high:.3f}"}
    return {"figure": words.share(one.value), "interval": f"{words.share(one.low)}–{words.share(one.high)}"}


def _benchmarks(scores: Mapping[str, Any] | None, words: Wording) -> list[Section]:
    """The scores of standard benchmarks, which only the tuned model has."""
    return [
        {"name": f"{benchmark}, {metric}", **_cell(estimate_of(values), words), "n": words.count(values["n"])}
        for benchmark, metrics in (scores["benchmarks"] if scores else {}).items()
        for metric, values in metrics.items()
    ]


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
        figure, in_words = number(one.value, words, "points"), interval_in_words(one, words, "points")
        tone = "good" if one.low > 0 else "bad" if one.high < 0 else "open"
        detail = words(
            "scores.paired",
            better=words.count(paired["num_better"]),
            worse=words.count(paired["num_worse"]),
            p=words.p_value(paired["p_value"]),
            test=words(f"test.{paired['test']}"),
        )
        title = f"{metric_name(name, words)}: {figure}, {in_words}"
        drawing = interval(one.value, one.low, one.high, scale, title=title, tone=f"mark-{tone}")
        rows.append(
            Row(metric_name(name, words), detail, figure, in_words, drawing, strong=name == comparison["primary"])
        )
    counts = {name: words.count(comparison[name]) for name in ("both_right", "only_a", "only_b", "both_wrong")}
    return {"rows": rows, "axis": axis_of(scale, "points"), "counts": counts}
