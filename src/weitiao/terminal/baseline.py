"""A baseline, and the gap that it leaves, as tables for people."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

from weitiao.baseline.advice import Advice
from weitiao.baseline.result import Baseline, Cell
from weitiao.evaluation.gap.analyse import ErrorKind, Gap
from weitiao.evaluation.gap.groups import LEAST_ROWS, Group
from weitiao.evaluation.paired import PairedDifference
from weitiao.terminal.tables import one_line, p_value, print_rest, share, table

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


_MOST_WEAK = 10
_MOST_FIELDS = 10
_LONGEST_SHOWN = 160


def print_gap(gap: Gap, console: Console) -> None:
    """Print what kinds of errors there are with an example and a remedy of each, and the groups that are weak.

    Args:
        gap: The gap.
        console: Where to.
    """
    short = "" if gap.shortfall is None else f", {gap.shortfall:.1%} short of the target"
    console.print(Text(f"Where {gap.model}, {gap.prompt}, falls short", "bold underline"))
    console.print(Text(f"{gap.num_short:,} of {gap.score.n:,} rows by {gap.metric}{short}"))
    if gap.errors:
        console.print()
        _print_errors(gap.errors, console)
    if gap.fields:
        console.print()
        _print_fields(gap, console)
    console.print()
    _print_groups(gap.groups, console)


def _print_errors(errors: tuple[ErrorKind, ...], console: Console) -> None:
    headings = ("Kind of error", "Rows", "Share", "Helped by")
    rows = [(one.title, one.count, share(one.share), ", ".join(one.remedies)) for one in errors]
    console.print(table(headings, rows, words=(0, 3)))
    for one in errors:
        example = one.examples[0]
        console.print()
        console.print(Text(one.title, "bold"))
        console.print(Text(one.advice))
        console.print(
            Text.assemble(
                ("for example ", "dim"), example.row_id, (": ", "dim"), one_line(example.question, _LONGEST_SHOWN)
            )
        )
        for name, text in (("expected", example.expected), ("answered", example.answer)):
            console.print(Text.assemble((f"  {name} ", "dim"), one_line(text, _LONGEST_SHOWN)))


def _print_fields(gap: Gap, console: Console) -> None:
    rows = [(one.field, one.right.n, share(one.right)) for one in gap.fields[:_MOST_FIELDS]]
    console.print(table(("Field of the JSON answer", "Rows", "Right"), rows))
    print_rest(console, len(gap.fields) - _MOST_FIELDS, "{:,} more fields in gap.json")


def _print_groups(groups: tuple[Group, ...], console: Console) -> None:
    tested = [group for group in groups if group.p_value is not None]
    weak = sorted((group for group in tested if group.weak), key=lambda group: group.difference)
    if not weak:
        num_small = len(groups) - len(tested)
        small = f"; {num_small:,} have fewer than {LEAST_ROWS} rows" if num_small else ""
        console.print(Text(f"No group of rows is surely weaker than the rest ({len(tested):,} tested{small}).", "dim"))
        return
    rows = [
        (f"{one.name}: {one.value}", one.score.n, share(one.score), f"{one.rest:.0%}", p_value(one.p_adjusted))
        for one in weak[:_MOST_WEAK]
    ]
    console.print(table(("Weak group", "Rows", "Score", "Rest", "p"), rows))
    more = f" {len(weak) - _MOST_WEAK:,} more in gap.json." if len(weak) > _MOST_WEAK else ""
    note = f"p after Holm's correction for {len(tested):,} tested groups; below 0.05 a group is called weak.{more}"
    console.print(Text(note, "dim"))
