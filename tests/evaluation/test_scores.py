"""Scores of predictions made by hand, and the files and tables they go to."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from weitiao.data.example import Example
from weitiao.errors import RunError
from weitiao.evaluation.answer_files import read_predictions
from weitiao.evaluation.answers import Prediction, graded
from weitiao.evaluation.config import EvaluationConfig
from weitiao.evaluation.metrics.base import Metric
from weitiao.evaluation.scores import Scores, ValidationLoss, read_scores, score, write_scores
from weitiao.evaluation.statistics import Estimate, proportion
from weitiao.evaluation.task import make_task
from weitiao.terminal.scores import print_scores


class Graded(tuple[Prediction, ...]):
    """Predictions, with the metrics that graded them."""

    metrics: tuple[Metric, ...]

    def score(self, seconds: float = 1.0, num_ungraded: int = 0) -> Scores:
        return score(self, self.metrics, seconds=seconds, num_ungraded=num_ungraded)


def predictions(*pairs: tuple[str, str], unstopped: int = 0, **settings: Any) -> Graded:
    """Predictions by hand, graded as a recipe says; the last `unstopped` were cut off."""
    examples = [
        Example(
            f"test.jsonl:{index}",
            ({"role": "user", "content": f"第{index}个问题？"}, {"role": "assistant", "content": expected}),
            columns={"level": index % 2},
        )
        for index, (expected, _) in enumerate(pairs, start=1)
    ]
    answers = [
        Prediction.of(example, answer, num_tokens=5, stopped=index < len(pairs) - unstopped)
        for index, (example, (_, answer)) in enumerate(zip(examples, pairs, strict=True))
    ]
    task = make_task(examples, EvaluationConfig.model_validate(settings))
    found = Graded(graded(answers, task.metrics))
    found.metrics = task.metrics
    return found


def shown(scores: Scores, rows: tuple[Prediction, ...]) -> str:
    stream = io.StringIO()
    print_scores(scores, rows, Console(file=stream, width=100), title="runs/tickets")
    return stream.getvalue()


def test_free_text_has_an_exact_match_and_no_classes() -> None:
    rows = predictions(("Paris is nice.", "Paris is nice."), ("Rome", "Oslo"), ("Bern", "Bern"), ("Kyiv", ""))
    scores = rows.score(seconds=4.0)
    assert (scores.primary, list(scores.metrics)) == ("exact_match", ["exact_match"])
    assert scores.metrics["exact_match"] == scores.exact_match == proportion(2, 4)
    assert scores.classes is None
    assert scores.tokens_per_second == 5.0


def test_labels_are_compared_as_the_exact_match_compares_them() -> None:
    scores = predictions(*[("Yes", " yes\n"), ("No", "NO"), ("No", "no")] * 2, normalize="casefold").score()
    assert scores.classes is not None
    assert scores.classes.accuracy == 1.0
    assert [one.label for one in scores.classes.labels] == ["no", "yes"]
    assert scores.metrics["accuracy"] == scores.metrics["exact_match"] == proportion(6, 6)
    assert scores.metrics["macro_f1"].value == 1


def test_the_first_metric_says_what_is_correct() -> None:
    rows = predictions(("4", "It is 4."), ("5", "5"), metrics=["number", "contains", "rouge_l"])
    assert [one.correct for one in rows] == [True, True]
    assert rows[0].grades == {"number": 1.0, "contains": 1.0, "rouge_l": 0.5}
    assert rows[0].columns == {"level": 1}
    scores = rows.score()
    assert (scores.primary, list(scores.metrics)) == ("number", ["number", "contains", "rouge_l"])
    assert scores.metrics["rouge_l"].value == 0.75


def test_answers_that_were_cut_off_are_counted() -> None:
    assert predictions(("a", "a"), ("b", "b b b b"), ("c", "c"), unstopped=2).score().num_unstopped == 2


def test_without_predictions_there_is_no_score() -> None:
    scores = predictions().score(seconds=0.0, num_ungraded=3)
    assert (scores.metrics, scores.exact_match, scores.tokens_per_second, scores.num_ungraded) == ({}, None, None, 3)
    assert scores.to_dict()["exact_match"] is None


def test_files_hold_scores_and_predictions_with_stable_keys(tmp_path: Path) -> None:
    rows = predictions(("是", "是"), ("否", "是"), ("否", "🙂"))
    scores_path, predictions_path = write_scores(tmp_path / "run", rows.score(1.5), rows)
    stored = json.loads(scores_path.read_text(encoding="utf-8"))
    assert list(stored) == [
        "primary", "metrics", "exact_match", "details", "classes", "num_unstopped", "num_ungraded", "seconds",
        "tokens_per_second", "validation_loss", "validation_perplexity", "validation_nats_per_character",
        "validation_bits_per_byte", "benchmarks", "of",
    ]  # fmt: skip
    assert list(stored["exact_match"]) == ["value", "low", "high", "n"]
    assert stored["metrics"]["exact_match"] == stored["exact_match"]
    assert list(stored["classes"]) == ["accuracy", "macro_f1", "num_outside", "labels", "confused"]
    assert stored["classes"]["confused"] == [{"expected": "否", "answer": "是", "count": 1}]
    lines = predictions_path.read_text(encoding="utf-8").splitlines()
    assert [json.loads(line)["answer"] for line in lines] == ["是", "是", "🙂"]
    assert json.loads(lines[0])["messages"] == [{"role": "user", "content": "第1个问题？"}]
    assert json.loads(lines[1])["grades"] == {"exact_match": 0.0, "accuracy": 0.0, "macro_f1": 0.0}
    assert "🙂" in lines[2]


def test_files_are_read_as_they_were_written(tmp_path: Path) -> None:
    rows = predictions(("是", "是"), ("否", "是"), ("否", "🙂"))
    scores = replace(
        rows.score(),
        validation_loss=ValidationLoss(0.5, 10, 2),
        validation_perplexity=Estimate(1.65, 1.5, 1.8, 2),
        benchmarks={"arc_easy": {"acc": proportion(3, 4)}},
    )
    scores_path, predictions_path = write_scores(tmp_path, scores, rows)
    assert read_scores(scores_path) == scores
    assert read_predictions(predictions_path) == rows
    predictions_path.write_text(predictions_path.read_text() + "{}\n")
    with pytest.raises(RunError, match=r"predictions\.jsonl, line 4"):
        read_predictions(predictions_path)
    with pytest.raises(RunError, match=r"none\.json"):
        read_scores(tmp_path / "none.json")


def test_writing_again_replaces_both_files_and_leaves_nothing_else(tmp_path: Path) -> None:
    for rows in (predictions(("a", "b"), ("c", "d")), predictions(("a", "a"))):
        write_scores(tmp_path, rows.score(), rows, suffix="-base")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["predictions-base.jsonl", "scores-base.json"]
    assert json.loads((tmp_path / "scores-base.json").read_text())["exact_match"]["value"] == 1.0
    assert len((tmp_path / "predictions-base.jsonl").read_text().splitlines()) == 1


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    rows = predictions(("a", "a"))
    with pytest.raises(RunError, match="file"):
        write_scores(tmp_path / "file", rows.score(), rows)


def test_report_shows_score_interval_and_wrong_answers_as_they_are() -> None:
    rows = predictions(
        ("[bold]是[/bold]", "否 [red]"), ("Paris", "Paris"), ("Rome", ""), ("x", "two\nlines" + "y" * 500)
    )
    text = shown(rows.score(2.0), rows)
    assert "25.0% (95 % interval 4.6% to 69.9%, n = 4)" in text
    assert "[bold]是[/bold]" in text
    assert "否 [red]" in text
    assert "(nothing)" in text
    assert "two⏎lines" in text
    assert "y…" in text
    assert "y" * 201 not in text.replace("\n", "").replace(" ", "")
    assert "Macro-F1" not in text


def test_report_limits_the_table_to_the_worst_classes_and_says_so() -> None:
    pairs = [(f"label_{n:02}", f"label_{n:02}" if k < n else "label_00") for n in range(20) for k in range(19)]
    rows = predictions(*pairs)
    text = shown(rows.score(2.0), rows)
    table = text.split("Most often confused")[0]
    assert "label_01" in table
    assert "label_19" not in table
    assert "The 15 classes with the lowest F1; 5 more in scores.json" in text


def test_report_shows_few_classes_as_a_confusion_matrix() -> None:
    rows = predictions(*[("yes", "yes")] * 4, ("yes", "no"), ("no", "yes"), ("no", "perhaps"), ("no", "no"))
    lines = [line.split() for line in shown(rows.score(), rows).splitlines()]
    assert ["1", "yes", "4", "1", "·"] in lines
    assert ["2", "no", "1", "1", "1"] in lines


def test_report_shows_fields_counts_and_grades() -> None:
    rows = predictions(
        ('{"a": 1, "b": 2}', '{"a": 1, "b": 3}'), ('{"a": 5, "b": 6}', "five"), metrics=["json_fields", "json_valid"]
    )
    text = shown(rows.score(), rows)
    assert "1 answers are not JSON" in text
    assert "1 answers: not JSON" in text
    assert "0.50" in text  # the grade of the first row
    lines = [line.split() for line in text.splitlines()]
    assert ["b", "2", "0", "0.0%"] in lines
    assert ["a", "2", "1", "50.0%"] in lines


def test_report_shows_perplexity_and_benchmarks() -> None:
    rows = predictions(("a", "a"))
    scores = replace(
        rows.score(),
        validation_loss=ValidationLoss(2.0, 10, 2),
        validation_perplexity=Estimate(7.389, 6.1, 9.25, 2),
        validation_bits_per_byte=Estimate(0.75, 0.5, 0.875, 2),
        benchmarks={"arc_easy": {"acc": proportion(3, 4)}},
    )
    text = shown(scores, rows)
    assert "7.389 (95 % interval 6.100 to 9.250, n = 2)" in text
    assert "0.750 (95 % interval 0.500 to 0.875, n = 2)" in text  # no share, though it is below 1
    assert "arc_easy: acc" in text
    assert "75.0% (95 %" in text
