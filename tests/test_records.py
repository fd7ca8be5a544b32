"""Results on disk: what is read is what was written, and what cannot be read is named."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

from weitiao.errors import RunError
from weitiao.evaluation.scores import Scores, read_scores
from weitiao.evaluation.statistics import Estimate, proportion
from weitiao.files import write_json
from weitiao.records import record_of


def write(path: Path, **changes: Any) -> Path:
    scores = Scores("exact_match", {"exact_match": proportion(3, 4)}, {}, None, 0, 0, 1.5, 2.0)
    write_json(path, {**scores.to_dict(), **changes})
    return path


def test_other_keys_are_passed_over_and_numbers_stay_what_they_are(tmp_path: Path) -> None:
    found = read_scores(write(tmp_path / "scores.json", of={"weights": "w"}, exact_match=None))
    assert found.metrics == {"exact_match": proportion(3, 4)}
    assert (found.seconds, found.classes) == (1.5, None)


@pytest.mark.parametrize(
    ("changes", "place"),
    [
        ({"metrics": {"exact_match": {"value": "half", "low": 0.0, "high": 1.0, "n": 4}}}, "metrics.exact_match.value"),
        ({"validation_loss": {"loss": 1.0, "num_targets": 4}}, "validation_loss.num_sequences"),
        ({"classes": []}, "classes"),
    ],
)
def test_the_value_that_is_damaged_is_named(tmp_path: Path, changes: dict[str, Any], place: str) -> None:
    with pytest.raises(RunError, match=rf"scores\.json is damaged: {place}: "):
        read_scores(write(tmp_path / "scores.json", **changes))


@pytest.mark.parametrize("content", ["", "{", "[]", "null"])
def test_a_file_that_is_something_else_is_named(tmp_path: Path, content: str) -> None:
    path = tmp_path / "scores.json"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(RunError, match=r"scores\.json is damaged"):
        read_scores(path)


def test_a_number_that_json_does_not_have_comes_back_as_none_at_all(tmp_path: Path) -> None:
    write_json(tmp_path / "estimate.json", Estimate(2.0, 1.0, math.inf, 3))
    values = json.loads((tmp_path / "estimate.json").read_text(encoding="utf-8"))
    assert values == {"value": 2.0, "low": 1.0, "high": None, "n": 3}
    found = record_of(Estimate, values)
    assert (found.value, found.low) == (2.0, 1.0)
    assert math.isnan(found.high)
