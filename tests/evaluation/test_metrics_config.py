"""`evaluate.metrics` as a person writes it, and the task that comes of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from weitiao.data.example import Example
from weitiao.evaluation.config import EvaluationConfig, MetricConfig, ScoreConfig
from weitiao.evaluation.task import make_task


def names(config: EvaluationConfig) -> list[str]:
    return [one.title for one in config.metrics]


def rows(*answers: str) -> list[Example]:
    return [
        Example(f"r:{k}", ({"role": "user", "content": f"q{k}"}, {"role": "assistant", "content": answer}))
        for k, answer in enumerate(answers)
    ]


def test_short_and_long_forms_mean_the_same() -> None:
    config = EvaluationConfig.model_validate(
        {"metrics": ["exact_match", {"type": "number", "tolerance": 0.01}, "tools/my.py:score", "perplexity"]}
    )
    assert names(config) == ["exact_match", "number", "score", "perplexity"]
    assert [one.title for one in config.graders] == ["exact_match", "number", "score"]
    assert EvaluationConfig.model_validate(config.model_dump(mode="json")) == config
    assert names(EvaluationConfig.model_validate({"metrics": "contains"})) == ["contains"]
    assert names(EvaluationConfig()) == ["exact_match"]


@pytest.mark.parametrize(
    ("metrics", "message"),
    [
        (["exact"], "does not match any of the expected tags"),
        ([{"type": "number", "tolerence": 1}], "tolerence"),
        ([{"type": "regex", "pattern": "("}], "no valid regular expression"),
        ([{"type": "json_schema"}], "either as `path` or as `definition`"),
        (["number", {"type": "number", "tolerance": 1}], "`number` twice"),
        (["perplexity", "number"], "put a metric that does in front"),
        ([{"type": "number", "name": "loss"}], "called `loss`"),
        ([{"type": "judge", "model": "m", "prompt": "{{ x"}], "no valid Jinja template"),
        ([{"type": "function", "path": "my.py"}], "FILE.py:FUNCTION"),
        ([], "name at least one"),
    ],
)
def test_what_cannot_be_meant_is_refused(metrics: list[Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        EvaluationConfig.model_validate({"metrics": metrics})


def test_a_metric_alone_is_no_perplexity() -> None:
    assert TypeAdapter(ScoreConfig).validate_python("perplexity").title == "perplexity"
    with pytest.raises(ValidationError):
        TypeAdapter(MetricConfig).validate_python("perplexity")


def test_two_of_a_kind_have_names_of_their_own() -> None:
    config = EvaluationConfig.model_validate(
        {"metrics": [{"type": "regex", "pattern": "a", "name": "has_a"}, {"type": "regex", "pattern": "b"}]}
    )
    assert [one.build().title for one in config.graders] == ["has_a", "regex"]


def test_paths_are_looked_up_in_the_folders_in_order(tmp_path: Path) -> None:
    (tmp_path / "my.py").write_text("def score(answer, expected, row):\n    return 1\n")
    (tmp_path / "schema.json").write_text("{}")
    (tmp_path / "tasks").mkdir()
    config = EvaluationConfig.model_validate(
        {
            "metrics": ["my.py:score", {"type": "json_schema", "path": "schema.json"}, {"type": "judge", "model": "http://h/v1#m"}],
            "benchmark_path": "tasks",
        }
    ).located([tmp_path / "elsewhere", tmp_path])  # fmt: skip
    function, schema, judge = (one.model_dump() for one in config.metrics)
    assert function["path"] == f"{tmp_path / 'my.py'}:score"
    assert schema["path"] == tmp_path / "schema.json"
    assert judge["model"] == "http://h/v1#m"
    assert config.benchmark_path == tmp_path / "tasks"
    assert config.located([tmp_path / "elsewhere"]) == config


def test_labels_of_a_closed_set_are_scored_as_such_without_being_asked() -> None:
    task = make_task(rows("yes", "no", "yes"), EvaluationConfig())
    assert [one.title for one in task.metrics] == ["exact_match", "accuracy", "macro_f1"]
    free = make_task(rows("Paris is nice.", "Rome too."), EvaluationConfig(), training_answers=["Oslo.", "Bern."])
    assert [one.title for one in free.metrics] == ["exact_match"]
    few = make_task(rows("a", "b", "c"), EvaluationConfig(), training_answers=["a", "b", "c"] * 5)
    assert [one.title for one in few.metrics] == ["exact_match", "accuracy", "macro_f1"]


def test_other_metrics_and_named_ones_are_left_as_they_are() -> None:
    number = EvaluationConfig.model_validate({"metrics": "number"})
    assert [one.title for one in make_task(rows("1", "2", "1"), number).metrics] == ["number"]
    asked = EvaluationConfig.model_validate({"metrics": ["macro_f1", "exact_match"]})
    names = [one.title for one in make_task(rows("a", "b", "a"), asked).metrics]
    assert names == ["macro_f1", "exact_match", "accuracy"]
