"""A baseline, and the gap that it leaves, as tables for people."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

from weitiao.baseline.advice import Advice
from weitiao.baseline.result import Baseline, Cell
from weitiao.errors import Phrase
from weitiao.evaluation.gap.analyse import ErrorKind, Gap
from weitiao.evaluation.gap.groups import LEAST_ROWS, Group
from weitiao.evaluation.paired import PairedDifference
from weitiao.terminal.console import wording_of
from weitiao.terminal.tables import one_line, p_value, print_rest, share, table
from weitiao.text.wording import Wording

Column = tuple[str, list[str]]
"""A header, which may have several lines, and a cell for each prompt."""

_COLOURS = {"prompting suffices": "green", "tune": "yellow", "undecided": "cyan"}


def print_baseline(baseline: Baseline, console: Console) -> None:
    """Print every model with every prompt, what the best prompt gains, and the advice.

    Args:
        baseline: What was found.
        console: Where to.
    """
    words, primary = wording_of(console), baseline.primary
    target = "" if baseline.target is None else Phrase(", target {target:.1%}", target=baseline.target)
    title = Phrase(
        "Baseline: {rows:,} test rows, {metric}{target}", rows=baseline.num_rows, metric=primary, target=target
    )
    console.print(Text(words.phrase(title), "bold underline"))
    for candidate in baseline.candidates:
        cells = [cell for cell in baseline.cells if cell.model == candidate.model]
        context = cells[0].cost.context
        console.print()
        size = Phrase(
            ", {millions:,.0f} M parameters, context of {context:,} tokens",
            millions=candidate.num_parameters / 1e6, context=context,
        )  # fmt: skip
        console.print(Text.assemble((Path(candidate.model).name, "bold"), words.phrase(size)))
        _print_cells(cells, candidate.best, console)
        if candidate.gain is not None:
            gain = _gain(candidate.gain, words)
            against = Phrase("{prompt} against zero-shot: {gain}", prompt=candidate.best, gain=gain)
            console.print(Text(words.phrase(against)))
    console.print()
    _print_advice(baseline.advice, console)


def _print_cells(cells: Sequence[Cell], best: str, console: Console) -> None:
    """The cells as rows, in as many tables side by side or below each other as the width asks for."""
    say = wording_of(console).phrase
    prompts = [f"{cell.prompt} *" if cell.prompt == best and len(cells) > 1 else cell.prompt for cell in cells]
    prompt = say("Prompt")
    room = console.width - max(map(cell_len, (prompt, *prompts)))
    costs = [(say(name), texts) for name, texts in _costs(cells)]
    for columns in _chunks([*_score_columns(cells), *costs], room):
        headings, texts = zip(*columns, strict=True)
        console.print(table((prompt, *headings), zip(prompts, *texts, strict=True)))
    if len(cells) > 1:
        console.print(Text(say("* the best prompt"), "dim"))


def _costs(cells: Sequence[Cell]) -> list[Column]:
    return [
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


def _gain(gain: PairedDifference, words: Wording) -> str:
    p = "p < 0.001" if gain.p_value < 0.001 else f"p = {gain.p_value:.3f}"
    low, value, high = (100 * end for end in (gain.difference.low, gain.difference.value, gain.difference.high))
    return words.phrase(
        Phrase(
            "{value:+.1f} points (95 % interval {low:+.1f} to {high:+.1f}), {p} ({test}); {better:,} rows better, "
            "{worse:,} worse",
            value=value, low=low, high=high, p=p, test=words.named("test", gain.test), better=gain.num_better,
            worse=gain.num_worse,
        )
    )  # fmt: skip


def _print_advice(advice: Advice, console: Console) -> None:
    words, model = wording_of(console), Path(advice.model).name
    what = {
        "prompting suffices": Phrase(
            "prompting suffices: {model} with the {prompt} prompt", model=model, prompt=advice.prompt
        ),
        "tune": Phrase("tune {model}", model=model),
        "undecided": Phrase("undecided"),
    }[advice.decision]
    told = words.phrase(Phrase("Advice: {what}", what=what))
    console.print(Text(told, f"bold {_COLOURS[advice.decision]}"))
    for reason in advice.reasons:
        console.print(Text(f"- {getattr(reason, words.language)}"))


_MOST_WEAK = 10
_MOST_FIELDS = 10
_LONGEST_SHOWN = 160


def print_gap(gap: Gap, console: Console) -> None:
    """Print what kinds of errors there are with an example and a remedy of each, and the groups that are weak.

    Args:
        gap: The gap.
        console: Where to.
    """
    say = wording_of(console).phrase
    short = "" if gap.shortfall is None else Phrase(", {share:.1%} short of the target", share=gap.shortfall)
    title = Phrase("Where {model}, {prompt}, falls short", model=gap.model, prompt=gap.prompt)
    console.print(Text(say(title), "bold underline"))
    console.print(
        Text(
            say(
                Phrase(
                    "{rows:,} of {all:,} rows by {metric}{short}",
                    rows=gap.num_short, all=gap.score.n, metric=gap.metric, short=short,
                )
            )
        )
    )  # fmt: skip
    if gap.errors:
        console.print()
        _print_errors(gap.errors, console)
    if gap.fields:
        console.print()
        _print_fields(gap, console)
    console.print()
    _print_groups(gap.groups, console)


def _print_errors(errors: tuple[ErrorKind, ...], console: Console) -> None:
    words = wording_of(console)
    say = words.phrase
    headings = map(say, ("Kind of error", "Rows", "Share", "Helped by"))
    rows = [
        (
            words(f"error.{one.kind}"), one.count, share(one.share),
            words("list.comma").join(words(f"remedy.{remedy}") for remedy in one.remedies),
        )
        for one in errors
    ]  # fmt: skip
    console.print(table(headings, rows, words=(0, 3)))
    for one in errors:
        example = one.examples[0]
        console.print()
        console.print(Text(words(f"error.{one.kind}"), "bold"))
        console.print(Text(words(f"error.{one.kind}.advice")))
        question = one_line(example.question, _LONGEST_SHOWN, say)
        console.print(Text.assemble((f"{say('for example')} ", "dim"), example.row_id, (": ", "dim"), question))
        for name, text in (("expected", example.expected), ("answered", example.answer)):
            console.print(Text.assemble((f"  {say(name)} ", "dim"), one_line(text, _LONGEST_SHOWN, say)))


def _print_fields(gap: Gap, console: Console) -> None:
    rows = [(one.field, one.right.n, share(one.right)) for one in gap.fields[:_MOST_FIELDS]]
    console.print(table(map(wording_of(console).phrase, ("Field of the JSON answer", "Rows", "Right")), rows))
    print_rest(console, len(gap.fields) - _MOST_FIELDS, "{rest:,} more fields in gap.json")


def _print_groups(groups: tuple[Group, ...], console: Console) -> None:
    tested = [group for group in groups if group.p_value is not None]
    weak = sorted((group for group in tested if group.weak), key=lambda group: group.difference)
    say = wording_of(console).phrase
    if not weak:
        num_small, few = len(groups) - len(tested), "; {small:,} have fewer than {least} rows"
        small = Phrase(few, small=num_small, least=LEAST_ROWS) if num_small else ""
        none = "No group of rows is surely weaker than the rest ({tested:,} tested{small})."
        console.print(Text(say(Phrase(none, tested=len(tested), small=small)), "dim"))
        return
    rows = [
        (f"{one.name}: {one.value}", one.score.n, share(one.score), f"{one.rest:.0%}", p_value(one.p_adjusted))
        for one in weak[:_MOST_WEAK]
    ]
    console.print(table(map(say, ("Weak group", "Rows", "Score", "Rest", "p")), rows))
    note = "p after Holm's correction for {tested:,} tested groups; below 0.05 a group is called weak."
    console.print(Text(say(Phrase(note, tested=len(tested))), "dim"))
    print_rest(console, len(weak) - _MOST_WEAK, "{rest:,} more in gap.json")
