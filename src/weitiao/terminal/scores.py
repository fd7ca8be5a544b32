"""Scores as tables for people."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from weitiao.errors import Phrase
from weitiao.evaluation.answers import Prediction
from weitiao.evaluation.metrics.labels import ClassScores
from weitiao.evaluation.reward_scores import Comparisons
from weitiao.evaluation.scores import Scores
from weitiao.evaluation.statistics import Estimate
from weitiao.records import record_of
from weitiao.terminal.console import wording_of
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
    "num_without_number": "{count:,} answers have no number",
    "num_without_match": "{count:,} answers do not match the pattern",
    "num_not_json": "{count:,} answers are not JSON",
    "num_unrated": "{count:,} replies of the judge have no rating",
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
    words = wording_of(console)
    console.print(facts(_summary(scores, words)))
    if scores.classes is not None:
        console.print()
        _print_classes(scores.classes, console)
    for name, details in scores.details.items():
        if "reliability" in details:
            console.print(facts(comparison_facts(record_of(Comparisons, details), words)))
        if fields := details.get("fields"):
            console.print()
            _print_fields(name, fields, console)
    if wrong := [one for one in predictions if not one.correct]:
        console.print()
        _print_wrong(sorted(wrong, key=lambda one: one.grades.get(scores.primary, 0.0)), scores.primary, console)


def _summary(scores: Scores, words: Wording) -> Iterator[tuple[str, str]]:
    for name, score in scores.metrics.items():
        is_share = scores.details.get(name, {}).get("is_share", True)
        yield words.named("metric", name), (_in_words if is_share else _as_number)(score, words)
        for key, text in _COUNTED.items():
            if count := scores.details.get(name, {}).get(key):
                yield "", words.phrase(Phrase(text, count=count))
        for problem, count in scores.details.get(name, {}).get("problems", {}).items():
            yield "", words.phrase(Phrase("{count:,} answers: {problem}", count=count, problem=problem))
    yield from ((words.phrase(name), words.phrase(text)) for name, text in _remarks(scores))
    readings = {
        "Its perplexity": scores.validation_perplexity,
        "Nats per character": scores.validation_nats_per_character,
        "Bits per byte": scores.validation_bits_per_byte,
    }
    for name, read in readings.items():
        if read is not None:
            yield words.phrase(name), _as_number(read, words)
    for benchmark, found in scores.benchmarks.items():
        for name, score in found.items():
            yield f"{benchmark}: {name}", _in_words(score, words)
    if (speed := scores.tokens_per_second) is not None:
        time = Phrase("{seconds:.1f} s, {speed:,.0f} tokens/s", seconds=scores.seconds, speed=speed)
        yield words.phrase("Generation"), words.phrase(time)


def _remarks(scores: Scores) -> Iterator[tuple[str, Phrase]]:
    if scores.classes is not None:
        yield "No label at all", Phrase("{count:,} answers", count=scores.classes.num_outside)
    if count := scores.num_unstopped:
        yield "Cut off", Phrase("{count:,} answers reached evaluate.generation.max_new_tokens", count=count)
    if count := scores.num_ungraded:
        yield "Not graded", Phrase("{count:,} rows have no answer to compare with", count=count)
    if (loss := scores.validation_loss) is not None:
        over = "{loss:.4f} over {tokens:,} tokens of {rows:,} validation rows"
        counts = {"tokens": loss.num_targets, "rows": loss.num_sequences}
        yield "Validation loss", Phrase(over, loss=loss.loss, **counts)


def _in_words(score: Estimate, words: Wording) -> str:
    """A share in per cent, another number (a perplexity) as it is."""
    return words("estimate", **asdict(score)) if score.high <= 1 else _as_number(score, words)


def _as_number(score: Estimate, words: Wording) -> str:
    if not score.has_interval:
        return words.phrase(Phrase("{value:.3f} (n = 1: no interval from one item)", value=score.value))
    return words.phrase(Phrase("{value:.3f} (95 % interval {low:.3f} to {high:.3f}, n = {n:,})", **asdict(score)))


def _print_classes(classes: ClassScores, console: Console) -> None:
    worst = sorted(classes.labels, key=lambda one: (one.f1, -one.support, one.label))[:_NUM_WORST_CLASSES]
    rows = [
        (one.label, one.support, one.correct, *(f"{share:.3f}" for share in (one.precision, one.recall, one.f1)))
        for one in worst
    ]
    say = wording_of(console).phrase
    console.print(table(map(say, ("Class", "Rows", "Correct", "Precision", "Recall", "F1")), rows))
    lowest = "The {shown} classes with the lowest F1; {rest:,} more in scores.json"
    print_rest(console, len(classes.labels) - len(worst), lowest, shown=len(worst))
    if classes.confused:
        console.print()
        small = len(classes.matrix()[0]) <= _LARGEST_MATRIX
        console.print(_matrix(classes, say) if small else _most_confused(classes, say))


def _matrix(classes: ClassScores, say: Callable[[str], str]) -> Table:
    """The confusion matrix; its columns bear the numbers of the rows, as labels would be too wide for them."""
    columns, counts = classes.matrix()
    numbers = [str(place + 1) for place in range(len(columns))]
    without_rows = [[0] * (len(columns) + 1)] * (len(columns) - len(counts))
    rows = [
        (number, label, *(count or "·" for count in found))
        for number, label, found in zip(numbers, columns, [*counts, *without_rows], strict=True)
    ]
    return table(("", say("Expected, and how often answered"), *numbers, say("no label")), rows, words=(1,))


def _most_confused(classes: ClassScores, say: Callable[[str], str]) -> Table:
    rows = [(pair.expected, pair.answer, pair.count) for pair in classes.confused[:_NUM_CONFUSED]]
    return table(map(say, ("Most often confused: expected", "answered", "Rows")), rows, words=(0, 1))


def _print_fields(name: str, fields: dict[str, dict[str, Any]], console: Console) -> None:
    worst = sorted(fields.items(), key=lambda item: (item[1]["accuracy"], item[0]))[:_NUM_WORST_FIELDS]
    words = wording_of(console)
    rows = [
        (field or words.phrase("(the value)"), found["n"], found["correct"], f"{found['accuracy']:.1%}")
        for field, found in worst
    ]
    headings = (Phrase("{metric}: field", metric=words.named("metric", name)), "Expected", "Correct", "Share")
    console.print(table(map(words.phrase, headings), rows))
    lowest = "The {shown} worst fields; {rest:,} more in scores.json"
    print_rest(console, len(fields) - len(worst), lowest, shown=len(worst))


def _print_wrong(wrong: Sequence[Prediction], primary: str, console: Console) -> None:
    graded = any(one.grades.get(primary, 0.0) > 0 for one in wrong)
    first, grade = ("Lowest grades: row", ["Grade"]) if graded else ("Wrong answers: row", [])
    say, rows = wording_of(console).phrase, []
    for one in wrong[:_NUM_WRONG]:
        answers = (one_line(text, _LONGEST_SHOWN, say) for text in (one.expected, one.answer))
        rows.append((one.row_id, *answers, *(f"{one.grades[primary]:.2f}" for _ in grade)))
    console.print(table(map(say, (first, "Expected", "Answered", *grade)), rows, words=(0, 1, 2)))
    print_rest(console, len(wrong) - _NUM_WRONG, "{rest:,} more in predictions.jsonl")
