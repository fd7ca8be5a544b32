"""Scores as tables for people."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from weitiao.evaluation.answers import Prediction
from weitiao.evaluation.metrics.labels import ClassScores
from weitiao.evaluation.reward_scores import Comparisons
from weitiao.evaluation.scores import Scores
from weitiao.evaluation.statistics import Estimate
from weitiao.records import record_of
from weitiao.terminal.rewards import comparison_facts
from weitiao.terminal.tables import facts, one_line, print_rest, table
from weitiao.text.wording import Wording

_NUM_WORST_CLASSES = 15
_NUM_CONFUSED = 5
_LARGEST_MATRIX = 8
_NUM_WORST_FIELDS = 15
_NUM_WRONG = 5
_LONGEST_SHOWN = 200
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
    console.print(Text(title, "bold underline"))
    console.print(facts(_summary(scores)))
    if scores.classes is not None:
        console.print()
        _print_classes(scores.classes, console)
    for name, details in scores.details.items():
        if "reliability" in details:
            console.print(facts(comparison_facts(record_of(Comparisons, details))))
        if fields := details.get("fields"):
            console.print()
            _print_fields(name, fields, console)
    if wrong := [one for one in predictions if not one.correct]:
        console.print()
        _print_wrong(sorted(wrong, key=lambda one: one.grades.get(scores.primary, 0.0)), scores.primary, console)


def _summary(scores: Scores) -> Iterator[tuple[str, str]]:
    for name, score in scores.metrics.items():
        is_share = scores.details.get(name, {}).get("is_share", True)
        yield Wording("en").named("metric", name), _in_words(score) if is_share else _as_number(score)
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
    readings = {
        "Its perplexity": scores.validation_perplexity,
        "Nats per character": scores.validation_nats_per_character,
        "Bits per byte": scores.validation_bits_per_byte,
    }
    yield from ((name, _as_number(found)) for name, found in readings.items() if found is not None)
    for benchmark, found in scores.benchmarks.items():
        for name, score in found.items():
            yield f"{benchmark}: {name}", _in_words(score)
    if scores.tokens_per_second is not None:
        yield "Generation", f"{scores.seconds:.1f} s, {scores.tokens_per_second:,.0f} tokens/s"


def _in_words(score: Estimate) -> str:
    """A share in per cent, another number (a perplexity) as it is."""
    return str(score) if score.high <= 1 else _as_number(score)


def _as_number(score: Estimate) -> str:
    if not score.has_interval:
        return f"{score.value:.3f} (n = 1: no interval from one item)"
    return f"{score:.3f}"


def _print_classes(classes: ClassScores, console: Console) -> None:
    worst = sorted(classes.labels, key=lambda one: (one.f1, -one.support, one.label))[:_NUM_WORST_CLASSES]
    rows = [
        (one.label, one.support, one.correct, *(f"{share:.3f}" for share in (one.precision, one.recall, one.f1)))
        for one in worst
    ]
    console.print(table(("Class", "Rows", "Correct", "Precision", "Recall", "F1"), rows))
    print_rest(
        console,
        len(classes.labels) - len(worst),
        f"The {len(worst)} classes with the lowest F1; {{:,}} more in scores.json",
    )
    if classes.confused:
        console.print()
        small = len(classes.matrix()[0]) <= _LARGEST_MATRIX
        console.print(_matrix(classes) if small else _most_confused(classes))


def _matrix(classes: ClassScores) -> Table:
    """The confusion matrix; its columns bear the numbers of the rows, as labels would be too wide for them."""
    columns, counts = classes.matrix()
    numbers = [str(place + 1) for place in range(len(columns))]
    without_rows = [[0] * (len(columns) + 1)] * (len(columns) - len(counts))
    rows = [
        (number, label, *(count or "·" for count in found))
        for number, label, found in zip(numbers, columns, [*counts, *without_rows], strict=True)
    ]
    return table(("", "Expected, and how often answered", *numbers, "no label"), rows, words=(1,))


def _most_confused(classes: ClassScores) -> Table:
    rows = [(pair.expected, pair.answer, pair.count) for pair in classes.confused[:_NUM_CONFUSED]]
    return table(("Most often confused: expected", "answered", "Rows"), rows, words=(0, 1))


def _print_fields(name: str, fields: dict[str, dict[str, Any]], console: Console) -> None:
    worst = sorted(fields.items(), key=lambda item: (item[1]["accuracy"], item[0]))[:_NUM_WORST_FIELDS]
    rows = [
        (field or "(the value)", found["n"], found["correct"], f"{found['accuracy']:.1%}") for field, found in worst
    ]
    metric = Wording("en").named("metric", name)
    console.print(table((f"{metric}: field", "Expected", "Correct", "Share"), rows))
    print_rest(console, len(fields) - len(worst), f"The {len(worst)} worst fields; {{:,}} more in scores.json")


def _print_wrong(wrong: Sequence[Prediction], primary: str, console: Console) -> None:
    graded = any(one.grades.get(primary, 0.0) > 0 for one in wrong)
    first, grade = ("Lowest grades: row", ["Grade"]) if graded else ("Wrong answers: row", [])
    rows = []
    for one in wrong[:_NUM_WRONG]:
        answers = (one_line(text, _LONGEST_SHOWN) for text in (one.expected, one.answer))
        rows.append((one.row_id, *answers, *(f"{one.grades[primary]:.2f}" for _ in grade)))
    console.print(table((first, "Expected", "Answered", *grade), rows, words=(0, 1, 2)))
    print_rest(console, len(wrong) - _NUM_WRONG, "{:,} more in predictions.jsonl")
