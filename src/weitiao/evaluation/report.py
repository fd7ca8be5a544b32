"""Scores as tables for people."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.text import Text

from weitiao.evaluation.answers import Prediction
from weitiao.evaluation.classes import ClassScores
from weitiao.evaluation.scores import Scores

if TYPE_CHECKING:
    from rich.console import Console

_NUM_WORST_CLASSES = 15
_NUM_CONFUSED = 5
_NUM_WRONG = 5
_LONGEST_SHOWN = 200


def print_scores(scores: Scores, predictions: Sequence[Prediction], console: Console, *, title: str) -> None:
    """Print the score with its interval, the classes that do worst, and some wrong answers.

    Args:
        scores: The scores.
        predictions: What they were counted from.
        console: Where to.
        title: Which model it was.
    """
    from rich.table import Table

    summary = Table.grid(padding=(0, 2))
    for name, value in _summary(scores):
        summary.add_row(Text(name, "bold"), value)
    console.print(Text(title, "bold underline"))
    console.print(summary)
    if scores.classes is not None:
        console.print()
        _print_classes(scores.classes, console)
    if wrong := [one for one in predictions if not one.correct]:
        console.print()
        _print_wrong(wrong, console)


def _summary(scores: Scores) -> list[tuple[str, str]]:
    rows = []
    if scores.exact_match is not None:
        rows.append(("Exact match", str(scores.exact_match)))
    if scores.classes is not None:
        rows.append(("Macro-F1", f"{scores.classes.macro_f1:.3f} over {len(scores.classes.labels):,} classes"))
        rows.append(("No label at all", f"{scores.classes.num_outside:,} answers"))
    if scores.num_unstopped:
        rows.append(("Cut off", f"{scores.num_unstopped:,} answers reached evaluate.generation.max_new_tokens"))
    if scores.num_ungraded:
        rows.append(("Not graded", f"{scores.num_ungraded:,} rows have no answer to compare with"))
    if (loss := scores.validation_loss) is not None:
        over = f"over {loss.num_targets:,} tokens of {loss.num_sequences:,} validation rows"
        rows.append(("Validation loss", f"{loss.loss:.4f} {over}"))
    if scores.tokens_per_second is not None:
        rows.append(("Generation", f"{scores.seconds:.1f} s, {scores.tokens_per_second:,.0f} tokens/s"))
    return rows


def _print_classes(classes: ClassScores, console: Console) -> None:
    from rich.table import Table

    worst = sorted(classes.labels, key=lambda one: (one.f1, -one.support, one.label))[:_NUM_WORST_CLASSES]
    rest = len(classes.labels) - len(worst)
    table = Table(box=None)
    table.add_column("Class", overflow="fold")
    for name in ("Rows", "Correct", "Precision", "Recall", "F1"):
        table.add_column(name, justify="right")
    for one in worst:
        shares = (f"{share:.3f}" for share in (one.precision, one.recall, one.f1))
        table.add_row(Text(one.label), f"{one.support:,}", f"{one.correct:,}", *shares)
    console.print(table)
    if rest:
        console.print(Text(f"The {len(worst)} classes with the lowest F1; {rest:,} more in scores.json", "dim"))
    if classes.confused:
        console.print()
        confused = Table(box=None)
        confused.add_column("Most often confused: expected", overflow="fold")
        confused.add_column("answered", overflow="fold")
        confused.add_column("Rows", justify="right")
        for pair in classes.confused[:_NUM_CONFUSED]:
            confused.add_row(Text(pair.expected), Text(pair.answer), f"{pair.count:,}")
        console.print(confused)


def _print_wrong(wrong: Sequence[Prediction], console: Console) -> None:
    from rich.table import Table

    table = Table(box=None)
    for name in ("Wrong answers: row", "Expected", "Answered"):
        table.add_column(name, overflow="fold")
    for one in wrong[:_NUM_WRONG]:
        answer = _shortened(one.answer) if one.answer else Text("(nothing)", "dim")
        table.add_row(Text(one.row_id), _shortened(one.expected), answer)
    console.print(table)
    if len(wrong) > _NUM_WRONG:
        console.print(Text(f"{len(wrong) - _NUM_WRONG:,} more in predictions.jsonl", "dim"))


def _shortened(text: str) -> Text:
    """The text on one line: a row of a table for each line of a long answer would hide the next answer."""
    line = "⏎".join(text.splitlines())
    return Text(line if len(line) <= _LONGEST_SHOWN else line[: _LONGEST_SHOWN - 1] + "…")
