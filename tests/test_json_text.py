"""JSON that is written: strict, and read line by line as it was written, whatever characters it holds."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weitiao.evaluation.answer_files import read_predictions, write_predictions
from weitiao.evaluation.answers import Prediction
from weitiao.json_text import json_text, lines_of
from weitiao.training.metrics import MetricsLog, read_metrics


def strict(text: str) -> Any:
    def refuse(name: str) -> Any:
        raise AssertionError(f"{name} is no JSON")

    return json.loads(text, parse_constant=refuse)


@given(st.text(st.sampled_from("ab\n\r\u2028\u2029\x85\x0b\x0c\x1c\x1e")), st.booleans())
def test_lines_end_where_those_of_json_do(tmp_path_factory: pytest.TempPathFactory, text: str, ascii: bool) -> None:
    path = tmp_path_factory.getbasetemp() / "lines.jsonl"
    path.write_bytes(f"{json_text({'a': text}, ascii=ascii)}\n".encode() * 2)
    assert [json.loads(line) for line in lines_of(path)] == [{"a": text}] * 2


@pytest.mark.parametrize("mark", ["\u2028", "\u2029", "\x85", "\x0b", "\x1e"])
def test_predictions_with_line_separators_and_nan_come_back(tmp_path: Path, mark: str) -> None:
    given = Prediction(
        row_id="a:1",
        messages=({"role": "user", "content": f"one{mark}two"},),
        answer=f"three{mark}four",
        expected="x",
        num_tokens=1,
        stopped=True,
        correct=False,
        columns={"share": math.nan},
    )
    path = tmp_path / "predictions.jsonl"
    write_predictions(path, [given, given])
    assert [strict(line)["answer"] for line in path.read_text(encoding="utf-8").split("\n")[:-1]] == [given.answer] * 2
    (first, second) = read_predictions(path)
    assert first == second
    assert (first.messages, first.answer) == (given.messages, given.answer)


def test_metrics_are_strict_json_and_a_loss_that_was_not_finite_is_nan_again(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    log = MetricsLog(path, start=0)
    log.add({"step": 1, "validation_loss": math.nan, "best": None, "rates": [math.inf, 1.0]})
    log.add({"step": 2, "loss": 1.5})
    assert strict(path.read_text().split("\n")[0]) == {
        "step": 1, "validation_loss": None, "best": None, "rates": [None, 1.0],
    }  # fmt: skip
    first, second = read_metrics(path)
    assert math.isnan(first["validation_loss"])
    assert (first["best"], second["loss"]) == (None, 1.5)


def test_json_on_stdout_is_strict(capsys: pytest.CaptureFixture[str]) -> None:
    from weitiao.cli.console import print_json

    print_json({"a": math.nan, "b": {"c": [-math.inf, 2.0]}})
    assert strict(capsys.readouterr().out) == {"a": None, "b": {"c": [None, 2.0]}}
