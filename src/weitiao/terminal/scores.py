"""Scores as tables for people."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from rich.text import Text

from weitiao.evaluation.answers import Prediction
from weitiao.evaluation.classes import ClassScores
from weitiao.evaluation.one_line import one_line
from weitiao.evaluation.scores import Scores
from weitiao.evaluation.statistics import Estimate

if TYPE_CHECKING:
    from rich.console import Console

_NUM_WORST_CLASSES = 15
_NUM_CONFUSED = 5
_LARGEST_MATRIX = 8
_NUM_WORST_FIELDS = 15
_NUM_WRONG = 5
_LONGEST_SHOWN = 200
_SPELLED = {
    "exact_match": "Exact match",
    "normalized_match": "Normalised match",
    "contains": "Contains",
    "accuracy": "Accuracy",
    "macro_f1": "Macro-F1",
    "number": "Number",
    "regex": "Pattern",
    "json_valid": "Valid JSON",
    "json_schema": "JSON Schema",
    "json_fields": "JSON fields",
    "rouge_l": "ROUGE-L",
    "bleu": "BLEU",
    "chrf": "chrF",
    "judge": "Judge",
    "perplexity": "Perplexity",
}
_COUNTED = {
    "num_without_number": "answers have no number",
    "num_without_match": "answers do not match the pattern",
    "num_not_json": "answers are not JSON",
    "num_unrated": "replies of the judge have no rating",
}


def print_scores(scores: Scores, predictions: Sequence[Prediction], console: Console, *, title: str) -> None:
    """Print the scores with their intervals, the classes and fields that do worst, and some wrong answers.

    Args:
        scores: The scores.
        predictions: What they were counted from.
        console: Where to.
        title: Which model it was.
    """
    from rich.table import Table

    summary = Table.grid(padding=(0, 2))
    for name, value in _summary(scores):
        summary.add_row(Text(name, "bold"), Text(value))
    console.print(Text(title, "bold underline"))
    console.print(summary)
    if scores.classes is not None:
        console.print()
        _print_classes(scores.classes, console)
    for name, details in scores.details.items():
        if fields := details.get("fields"):
            console.print()
            _print_fields(name, fields, console)
    if wrong := [one for one in predictions if not one.correct]:
        console.print()
        _print_wrong(sorted(wrong, key=lambda one: one.grades.get(scores.primary, 0.0)), scores.primary, console)


def spelled(metric: str) -> str:
    """The name of a metric for a table; names that the user gave stay as they are."""
    return _SPELLED.get(metric, metric)


def _summary(scores: Scores) -> Iterator[tuple[str, str]]:
    for name, score in scores.metrics.items():
        yield spelled(name), _in_words(score)
        for key, text in _COUNTED.items():
            if count := scores.details.get(name, {}).get(key):
                yield "", f"{count:,} {text}"
        for problem, count in scores.details.get(name, {}).get("problems", {}).items():
            yield "", f"{count:,} answers: {problem}"
    if scores.classes is not None:
        yield "No label at all", f"{scores.classes.num_outside:,} answers"
    if scores.num_unstopped:
        yield "Cut off", f"{scores.num_unstopped:,} answers reached evaluate.generation.max_new_tokens"
    if scores.num_ungraded:
        yield "Not graded", f"{scores.num_ungraded:,} rows have no answer to compare with"
    if (loss := scores.validation_loss) is not None:
        over = f"over {loss.num_targets:,} tokens of {loss.num_sequences:,} validation rows"
        yield "Validation loss", f"{loss.loss:.4f} {over}"
    if scores.validation_perplexity is not None:
        yield "Its perplexity", _in_words(scores.validation_perplexity)
    for benchmark, found in scores.benchmarks.items():
        for name, score in found.items():
            yield f"{benchmark}: {name}", _in_words(score)
    if scores.tokens_per_second is not None:
        yield "Generation", f"{scores.seconds:.1f} s, {scores.tokens_per_second:,.0f} tokens/s"


def _in_words(score: Estimate) -> str:
    """A share in per cent, another number (a perplexity) as it is."""
    if score.high <= 1:
        return str(score)
    if not score.has_interval:
        return f"{score.value:.3f} (n = 1: no interval from one item)"
    return f"{score.value:.3f} (95 % interval {score.low:.3f} to {score.high:.3f}, n = {score.n:,})"


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
        small = len(classes.matrix()[0]) <= _LARGEST_MATRIX
        console.print(_matrix(classes) if small else _most_confused(classes))


def _matrix(classes: ClassScores) -> Any:
    """The confusion matrix; its columns bear the numbers of the rows, as labels would be too wide for them."""
    from rich.table import Table

    columns, rows = classes.matrix()
    table = Table(box=None)
    table.add_column("", justify="right")
    table.add_column("Expected, and how often answered", overflow="fold")
    for heading in (*range(1, len(columns) + 1), "no label"):
        table.add_column(str(heading), justify="right")
    nothing = [0] * (len(columns) + 1)  # of labels that have no rows
    for place, label in enumerate(columns):
        counts = rows[place] if place < len(rows) else nothing
        table.add_row(str(place + 1), Text(label), *(f"{count:,}" if count else "·" for count in counts))
    return table


def _most_confused(classes: ClassScores) -> Any:
    from rich.table import Table

    table = Table(box=None)
    table.add_column("Most often confused: expected", overflow="fold")
    table.add_column("answered", overflow="fold")
    table.add_column("Rows", justify="right")
    for pair in classes.confused[:_NUM_CONFUSED]:
        table.add_row(Text(pair.expected), Text(pair.answer), f"{pair.count:,}")
    return table


def _print_fields(name: str, fields: dict[str, dict[str, Any]], console: Console) -> None:
    from rich.table import Table

    worst = sorted(fields.items(), key=lambda item: (item[1]["accuracy"], item[0]))[:_NUM_WORST_FIELDS]
    table = Table(box=None)
    table.add_column(f"{spelled(name)}: field", overflow="fold")
    for heading in ("Expected", "Correct", "Share"):
        table.add_column(heading, justify="right")
    for field, found in worst:
        counts = (f"{found['n']:,}", f"{found['correct']:,}", f"{found['accuracy']:.1%}")
        table.add_row(Text(field or "(the value)"), *counts)
    console.print(table)
    if rest := len(fields) - len(worst):
        console.print(Text(f"The {len(worst)} worst fields; {rest:,} more in scores.json", "dim"))


def _print_wrong(wrong: Sequence[Prediction], primary: str, console: Console) -> None:
    from rich.table import Table

    graded = any(one.grades.get(primary, 0.0) > 0 for one in wrong)
    table = Table(box=None)
    for name in ("Lowest grades: row" if graded else "Wrong answers: row", "Expected", "Answered"):
        table.add_column(name, overflow="fold")
    if graded:
        table.add_column("Grade", justify="right")
    for one in wrong[:_NUM_WRONG]:
        answer = one_line(one.answer, _LONGEST_SHOWN) if one.answer else Text("(nothing)", "dim")
        grade = [f"{one.grades[primary]:.2f}"] if graded else []
        table.add_row(Text(one.row_id), one_line(one.expected, _LONGEST_SHOWN), answer, *grade)
    console.print(table)
    if len(wrong) > _NUM_WRONG:
        console.print(Text(f"{len(wrong) - _NUM_WRONG:,} more in predictions.jsonl", "dim"))
