"""A baseline as tables for people."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

from weitiao.baseline.advice import Advice
from weitiao.baseline.result import Baseline, Cell
from weitiao.evaluation.paired import PairedDifference
from weitiao.terminal.tables import share, table

Column = tuple[str, list[str]]
"""A header, which may have several lines, and a cell for each prompt."""

_COLOURS = {"prompting suffices": "green", "tune": "yellow", "undecided": "cyan"}


def print_baseline(baseline: Baseline, console: Console) -> None:
    """Print every model with every prompt, what the best prompt gains, and the advice.

    Args:
        baseline: What was found.
        console: Where to.
    """
    target = "" if baseline.target is None else f", target {baseline.target:.1%}"
    console.print(Text(f"Baseline: {baseline.num_rows:,} test rows, {baseline.primary}{target}", "bold underline"))
    for candidate in baseline.candidates:
        cells = [cell for cell in baseline.cells if cell.model == candidate.model]
        context = cells[0].cost.context
        console.print()
        console.print(
            Text.assemble(
                (Path(candidate.model).name, "bold"),
                f", {candidate.num_parameters / 1e6:,.0f} M parameters, context of {context:,} tokens",
            )
        )
        _print_cells(cells, candidate.best, console)
        if candidate.gain is not None:
            console.print(Text(f"{candidate.best} against zero-shot: {_gain(candidate.gain)}"))
    console.print()
    _print_advice(baseline.advice, console)


def _print_cells(cells: Sequence[Cell], best: str, console: Console) -> None:
    """The cells as rows, in as many tables side by side or below each other as the width asks for."""
    prompts = [f"{cell.prompt} *" if cell.prompt == best and len(cells) > 1 else cell.prompt for cell in cells]
    room = console.width - max(map(cell_len, ("Prompt", *prompts)))
    for columns in _chunks(_columns(cells), room):
        headings, texts = zip(*columns, strict=True)
        console.print(table(("Prompt", *headings), zip(prompts, *texts, strict=True)))
    if len(cells) > 1:
        console.print(Text("* the best prompt", "dim"))


def _columns(cells: Sequence[Cell]) -> list[Column]:
    return [
        *_score_columns(cells),
        ("prompt\ntokens", [f"{cell.cost.prompt_tokens:,.0f}" for cell in cells]),
        ("examples'\ncontext", [f"{cell.cost.context_share:.1%}" for cell in cells]),
        ("answer\ntokens", [f"{cell.answer_tokens:,.1f}" for cell in cells]),
        ("s/answer\nbatched", [f"{cell.seconds_per_answer:,.2f}" for cell in cells]),
        ("s/answer\nalone", [f"{cell.latency_seconds:,.2f}" for cell in cells]),
    ]


def _score_columns(cells: Sequence[Cell]) -> list[Column]:
    """A column per metric; metrics that say the same of every prompt (exact match and accuracy of labels) share one."""
    names: dict[tuple[str, ...], list[str]] = {}
    for name in cells[0].metrics:
        names.setdefault(tuple(share(cell.metrics[name], 1) for cell in cells), []).append(name)
    return [(",\n".join(alike), list(texts)) for texts, alike in names.items()]


def _chunks(columns: Sequence[Column], room: int) -> Iterator[list[Column]]:
    chunk: list[Column] = []
    used = 0
    for header, texts in columns:
        width = 2 + max(map(cell_len, (*header.split("\n"), *texts)))
        if chunk and used + width > room:
            yield chunk
            chunk, used = [], 0
        chunk.append((header, texts))
        used += width
    yield chunk


def _gain(gain: PairedDifference) -> str:
    p = "p < 0.001" if gain.p_value < 0.001 else f"p = {gain.p_value:.3f}"
    low, value, high = (100 * end for end in (gain.difference.low, gain.difference.value, gain.difference.high))
    return (
        f"{value:+.1f} points (95 % interval {low:+.1f} to {high:+.1f}), {p} ({gain.test}); "
        f"{gain.num_better:,} rows better, {gain.num_worse:,} worse"
    )


def _print_advice(advice: Advice, console: Console) -> None:
    what = {
        "prompting suffices": f"prompting suffices: {Path(advice.model).name} with the {advice.prompt} prompt",
        "tune": f"tune {Path(advice.model).name}",
        "undecided": "undecided",
    }[advice.decision]
    console.print(Text(f"Advice: {what}", f"bold {_COLOURS[advice.decision]}"))
    for reason in advice.reasons:
        console.print(Text(f"- {reason.en}"))
