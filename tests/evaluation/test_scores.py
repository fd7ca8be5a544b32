"""Scores of predictions made by hand, and the files and tables they go to."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
from rich.console import Console

from weitiao.errors import RunError
from weitiao.evaluation.answers import Prediction
from weitiao.evaluation.report import print_scores
from weitiao.evaluation.scores import Scores, score, write_scores


def predictions(*pairs: tuple[str, str], stopped: bool = True) -> tuple[Prediction, ...]:
    return tuple(
        Prediction(
            row_id=f"test.jsonl:{index}",
            messages=({"role": "user", "content": f"第{index}个问题？"},),
            expected=expected,
            answer=answer,
            num_tokens=5,
            stopped=stopped,
            correct=expected == answer,
        )
        for index, (expected, answer) in enumerate(pairs, start=1)
    )


def shown(scores: Scores, rows: tuple[Prediction, ...]) -> str:
    stream = io.StringIO()
    print_scores(scores, rows, Console(file=stream, width=100), title="runs/tickets")
    return stream.getvalue()


def test_free_text_has_an_exact_match_and_no_classes() -> None:
    rows = predictions(("Paris is nice.", "Paris is nice."), ("Rome", "Oslo"), ("Bern", "Bern"), ("Kyiv", ""))
    scores = score(rows, "whitespace", seconds=4.0)
    assert scores.exact_match is not None
    assert (scores.exact_match.value, scores.exact_match.n) == (0.5, 4)
    assert scores.classes is None
    assert scores.tokens_per_second == 5.0


def test_labels_are_compared_as_the_exact_match_compares_them() -> None:
    rows = predictions(*[("Yes", " yes\n"), ("No", "NO"), ("No", "no")] * 2)
    scores = score(rows, "casefold", seconds=1.0)
    assert scores.classes is not None
    assert scores.classes.accuracy == 1.0
    assert [one.label for one in scores.classes.labels] == ["no", "yes"]


def test_answers_that_were_cut_off_are_counted() -> None:
    rows = predictions(("a", "a")) + predictions(("b", "b b b b"), ("c", "c"), stopped=False)
    assert score(rows, "whitespace", seconds=1.0).num_unstopped == 2


def test_without_predictions_there_is_no_exact_match() -> None:
    scores = score((), "whitespace", num_ungraded=3, seconds=0.0)
    assert (scores.exact_match, scores.tokens_per_second, scores.num_ungraded) == (None, None, 3)


def test_files_hold_scores_and_predictions_with_stable_keys(tmp_path: Path) -> None:
    rows = predictions(("是", "是"), ("否", "是"), ("否", "🙂"))
    scores = score(rows, "whitespace", seconds=1.5)
    scores_path, predictions_path = write_scores(tmp_path / "run", scores, rows)
    stored = json.loads(scores_path.read_text(encoding="utf-8"))
    assert list(stored) == [
        "exact_match", "classes", "num_unstopped", "num_ungraded", "seconds", "tokens_per_second", "validation_loss",
    ]  # fmt: skip
    assert list(stored["exact_match"]) == ["value", "low", "high", "n"]
    assert list(stored["classes"]) == ["accuracy", "macro_f1", "num_outside", "labels", "confused"]
    assert stored["classes"]["confused"] == [{"expected": "否", "answer": "是", "count": 1}]
    lines = predictions_path.read_text(encoding="utf-8").splitlines()
    assert [json.loads(line)["answer"] for line in lines] == ["是", "是", "🙂"]
    assert json.loads(lines[0])["messages"] == [{"role": "user", "content": "第1个问题？"}]
    assert "🙂" in lines[2]


def test_writing_again_replaces_both_files_and_leaves_nothing_else(tmp_path: Path) -> None:
    for rows in (predictions(("a", "b"), ("c", "d")), predictions(("a", "a"))):
        write_scores(tmp_path, score(rows, "whitespace", seconds=1.0), rows, suffix="-base")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["predictions-base.jsonl", "scores-base.json"]
    assert json.loads((tmp_path / "scores-base.json").read_text())["exact_match"]["value"] == 1.0
    assert len((tmp_path / "predictions-base.jsonl").read_text().splitlines()) == 1


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    rows = predictions(("a", "a"))
    with pytest.raises(RunError, match="file"):
        write_scores(tmp_path / "file", score(rows, "whitespace", seconds=1.0), rows)


def test_report_shows_score_interval_and_wrong_answers_as_they_are() -> None:
    rows = predictions(
        ("[bold]是[/bold]", "否 [red]"), ("Paris", "Paris"), ("Rome", ""), ("x", "two\nlines" + "y" * 500)
    )
    text = shown(score(rows, "whitespace", seconds=2.0), rows)
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
    text = shown(score(rows, "whitespace", seconds=2.0), rows)
    table = text.split("Most often confused")[0]
    assert "label_01" in table
    assert "label_19" not in table
    assert "The 15 classes with the lowest F1; 5 more in scores.json" in text
