"""The model card of an export: where it comes from, what was measured, and how to load it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from weitiao.evaluation.statistics import Estimate
from weitiao.retention.comparison import RetentionComparison
from weitiao.verdict.exported import Exported

Loading = Sequence[tuple[str, str]]
"""Programs, and what to type for each: `{directory}` is the export, `{file}` its file, `{base}` the base model."""


@dataclass(frozen=True, slots=True)
class CardFacts:
    """What is told of a run.

    Attributes:
        name: Of the run.
        base: Name of the base model.
        revision: Of a base model from the hub.
        licence: Of the base model, as its files say; None where they say nothing.
        method: Type of the method.
        data: Of each source its part, file name, usable rows and SHA-256 (None for a data set of the hub).
        scores: Of the tuned model on the held-out rows, by metric.
        gain: What it gained over the best prompt, and which metric that is; None where it was not compared.
        retention: What it knew before and after; None where it was not asked.
        recipe: The recipe as YAML.
        versions: Of the packages that it was trained with.
    """

    name: str
    base: str
    revision: str | None
    licence: str | None
    method: str
    data: Sequence[tuple[str, str, int, str | None]]
    scores: dict[str, Estimate]
    gain: tuple[str, Estimate] | None
    retention: RetentionComparison | None
    recipe: str
    versions: dict[str, str]


def card(facts: CardFacts, exported: Exported, loading: Loading, *, directory: str, file: str) -> str:
    """The card as Markdown, with the head that the Hugging Face hub reads.

    Args:
        facts: About the run.
        exported: About this export.
        loading: How it is loaded.
        directory: Name of the export's directory.
        file: Name of its file, where there is one.
    """
    revision = f" (revision {facts.revision})" if facts.revision else ""
    head = [f"license: {facts.licence}"] if facts.licence else []
    parts = [
        "\n".join(["---", *head, f"base_model: {facts.base}", "---"]),
        f"# {facts.name}, {exported.format}",
        f"`{facts.base}`{revision}, tuned with weitiao (method: {facts.method}) and exported as `{exported.format}`.",
        "## This export",
        _export(exported),
        "## How to load it",
        *(
            f"{tool}:\n\n{_code(text.format(directory=directory, file=file, base=facts.base))}"
            for tool, text in loading
        ),
        "## Data",
        _table(("part", "file", "rows", "SHA-256"), (_source(*one) for one in facts.data)),
        "## Scores of the tuned model",
        _scores(facts),
        "## What was forgotten",
        _forgotten(facts.retention),
        "## Licence",
        f"The base model's files say: {facts.licence}."
        if facts.licence
        else "The base model's files name no licence: look it up before you hand this on.",
        "## Recipe",
        _code(facts.recipe, "yaml"),
        f"Trained with {', '.join(f'{name} {version}' for name, version in facts.versions.items())}.",
    ]
    return "\n\n".join(parts) + "\n"


def _export(one: Exported) -> str:
    assert one.agreement is not None, "what was kept was asked"
    agreement = one.agreement
    rows = [
        ("run by", one.engine),
        ("size", f"{one.size_bytes / 1e6:,.0f} MB"),
        ("memory while answering", f"{one.memory_bytes / 1e6:,.0f} MB"),
        ("token ids", f"those of the training, on {agreement.num_prompts} texts and prompts"),
        (
            "log-probabilities",
            f"differ by {agreement.mean_difference:.4f} nats on average from the tuned model, over "
            f"{agreement.num_tokens:,} tokens (allowed: {agreement.allowed:g})",
        ),
        ("greedy answers", f"{agreement.same_answers:.1%} the same, token by token"),
    ]
    if one.quality is not None:
        gain = one.quality.difference
        rows.append((one.metric, f"{one.quality.after:.1%}, tuned model {one.quality.before:.1%}"))
        points = f"{100 * gain.value:+.1f} points (95 % interval {100 * gain.low:+.1f} to {100 * gain.high:+.1f}"
        rows.append((f"change of {one.metric}", f"{points}, n = {gain.n})"))
    if one.perplexity is not None:
        rows.append(("perplexity of the answers", f"{one.perplexity[1]:.4f}, tuned model {one.perplexity[0]:.4f}"))
    rows.append(("verdict", f"{one.outcome}: {one.reason}"))
    return _table(("", ""), rows)


def _source(part: str, name: str, rows: int, digest: str | None) -> tuple[str, ...]:
    return part, name, f"{rows:,}", f"`{digest}`" if digest else "(a data set of the hub)"


def _scores(facts: CardFacts) -> str:
    lines = [f"- {name}: {score}" for name, score in facts.scores.items()]
    if facts.gain is not None:
        name, gain = facts.gain
        points = [100 * end for end in (gain.value, gain.low, gain.high)]
        interval = f"95 % interval {points[1]:+.1f} to {points[2]:+.1f}, n = {gain.n:,}"
        lines.append(f"- over the best prompt of the untuned model: {points[0]:+.1f} points of {name} ({interval})")
    return "\n".join(lines) or "Not measured: `weitiao eval` was not run."


def _forgotten(found: RetentionComparison | None) -> str:
    if found is None:
        return "Not measured: `weitiao retention` was not run."
    parts = [part for part in found.parts if part.informative]
    rows = (
        (part.name, *(_number(one, part.kind) for one in (part.before, part.after)), part.outcome) for part in parts
    )
    return _table(("part", "before", "after", "outcome"), rows) if parts else "No part of the suite could show it."


def _number(score: Estimate, kind: str) -> str:
    return f"{score:.3f}" if kind == "loss" else f"{score:.1%}"


def _table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [headings, ["---"] * len(headings), *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |" for line in lines)


def _code(text: str, language: str = "") -> str:
    fence = "````" if "```" in text else "```"
    return f"{fence}{language}\n{text.rstrip()}\n{fence}"
