"""How the training went: the loss over its steps, and what it learned from."""

from __future__ import annotations

from collections import defaultdict

from weitiao.report.charts.drawings import heat_map, loss_curve
from weitiao.report.files import RunFiles, Values
from weitiao.report.sections.common import Section, missing, plot_of
from weitiao.report.sections.rollouts import rollouts_of
from weitiao.text.wording import Wording
from weitiao.training.item_losses import RECENT_STEPS, MeanLoss, mean_loss

_CURVES = ("accuracy", "margin", "marked_reward", "divergence", "reward", "kl", "answer_tokens", "repeated")
"""Numbers of the metrics that are drawn where they are there."""


def training_section(files: RunFiles, words: Wording) -> Section:
    """The curve and the figures around it; also of a training that is still under way.

    Args:
        files: Of the run.
        words: Of the report.
    """
    steps = [line for line in files.metrics if "loss" in line]
    validations = [line for line in files.metrics if "validation_loss" in line]
    if not steps:
        return {"missing": missing(files, words, "train", "metrics.jsonl")}
    best = next((line for line in reversed(validations) if line["best"]), None)
    curve = loss_curve(
        [(line["step"], line["loss"]) for line in steps],
        [(line["step"], line["validation_loss"]) for line in validations],
        (best["step"], best["validation_loss"]) if best else None,
        title=words(
            "training.alt",
            steps=words.count(len(steps)),
            first=words.loss(steps[0]["loss"]),
            last=words.loss(steps[-1]["loss"]),
        ),
    )
    record = files.records.steps.get("train")
    objective = files.settings.get("objective") or "sft"
    of_tokens = (objective if isinstance(objective, str) else objective.get("type", "sft")) in ("sft", "pretrain")
    return {
        "missing": None,
        "unfinished": record is not None and record.state == "started",
        "curve": plot_of(curve, words.count, words.loss),
        "caption": words(f"training.caption{'' if of_tokens else '.other'}{'.log' if curve.logarithmic else ''}"),
        "curves": [_curve(name, steps, validations, words) for name in _CURVES if any(name in line for line in steps)],
        "has_validation": bool(validations),
        "experts": _experts(steps, words),
        "rollouts": rollouts_of(files, words),
        "facts": [
            *_facts(steps, best, words),
            *_rounding(files.metrics, words),
            *_forecast(files.forecast, words),
        ],
    }


def _curve(name: str, steps: list[Values], validations: list[Values], words: Wording) -> Section:
    """A number of the metrics over the steps."""
    points = [(line["step"], line[name]) for line in steps if name in line]
    held_out = [(line["step"], line[key]) for line in validations if (key := f"validation_{name}") in line]
    title = words(f"curve.{name}", first=f"{points[0][1]:.3g}", last=f"{points[-1][1]:.3g}")
    curve = loss_curve(points, held_out, None, title=title)
    return {"title": title, **plot_of(curve, words.count, "{:.4g}".format)}


def _experts(steps: list[Values], words: Wording) -> Values | None:
    """What went to which expert in the first and in the last steps of a mixture of experts; None of a dense model."""
    counted = [line["routed"]["tokens"] for line in steps if "tokens" in line.get("routed", {})]
    if not counted:
        return None
    drawn = {}
    for name, some in (("first", counted[:RECENT_STEPS]), ("last", counted[-RECENT_STEPS:])):
        total = [[sum(cell) for cell in zip(*rows, strict=True)] for rows in zip(*some, strict=True)]
        unused = sum(count == 0 for row in total for count in row)
        said = words(f"training.experts.{name}", steps=words.count(len(some)), unused=words.count(unused))
        drawn[name] = {"drawing": heat_map(total, title=said), "said": said}
    return drawn


def _facts(steps: list[Values], best: Values | None, words: Wording) -> list[tuple[str, str]]:
    last, seconds = steps[-1], sum(line["seconds"] for line in steps)
    tokens, computed = (sum(line[name] for line in steps) for name in ("num_tokens", "num_computed_tokens"))
    reached = words("training.steps.value", steps=words.count(last["step"]), epochs=f"{last['epoch']:.2f}")
    facts = [
        (words("training.steps"), reached),
        (words("training.loss"), f"{words.loss(steps[0]['loss'])} → {words.loss(last['loss'])}"),
        *_sources(steps, words),
    ]
    if best is not None:
        at = words("training.best.value", loss=words.loss(best["validation_loss"]), step=words.count(best["step"]))
        facts.append((words("training.best"), at))
        if (perplexity := best.get("validation_perplexity")) is not None:
            facts.append((words("training.perplexity"), words.loss(perplexity)))
    facts.append((words("training.rows"), words.count(sum(line["num_sequences"] for line in steps))))
    facts.append((words("training.tokens"), _tokens(tokens, computed, words)))
    if seconds:
        speed = words("training.time.value", time=words.duration(seconds), speed=words.count(tokens / seconds))
        facts.append((words("training.time"), speed))
    return facts


def _rounding(metrics: list[Values], words: Wording) -> list[tuple[str, str]]:
    """What the quantisation of the base model cost, when it was measured."""
    return [
        (
            words("training.rounding"),
            words(
                "training.rounding.value",
                exact=words.loss(line["rounding"]["exact"]),
                rounded=words.loss(line["rounding"]["rounded"]),
                rows=words.count(line["rounding"]["rows"]),
            ),
        )
        for line in metrics
        if "rounding" in line
    ]


def _forecast(values: Values | None, words: Wording) -> list[tuple[str, str]]:
    """What the training was forecast to need, beside what it needed."""
    if values is None:
        return []
    memory, seconds = values["memory_bytes"], values["seconds_per_step"]
    said = words(
        "training.forecast.value",
        memory=words.size(memory["forecast"]),
        of_memory=words.size(memory["measured"]),
        time=f"{seconds['forecast']:.3g}",
        of_time=f"{seconds['measured']:.3g}",
    )
    return [(words("training.forecast"), said)]


def _sources(steps: list[Values], words: Wording) -> list[tuple[str, str]]:
    """The loss of each source over its first and its last steps, and its share of the whole; none where there is one.

    A source with few rows is not in every step, and a step has few of its rows: single steps would say little.
    """
    found: defaultdict[str, list[MeanLoss]] = defaultdict(list)
    for line in steps:
        for name, one in line.get("sources", {}).items():
            found[name].append(MeanLoss(**one))
    weights = {name: sum(one.weight for one in losses) for name, losses in found.items()}
    return [
        (
            words("training.source", name=name),
            words(
                "training.source.value",
                first=words.loss(mean_loss(found[name][:RECENT_STEPS]).loss),
                last=words.loss(mean_loss(found[name][-RECENT_STEPS:]).loss),
                share=words.share(weight / sum(weights.values())),
            ),
        )
        for name, weight in sorted(weights.items())
    ]


def _tokens(tokens: int, computed: int, words: Wording) -> str:
    if tokens and computed < 0.99 * tokens:
        saved = words.share(1 - computed / tokens)
        return words("training.tokens.shared", tokens=words.count(tokens), computed=words.count(computed), saved=saved)
    return words.count(tokens)
