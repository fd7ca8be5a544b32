"""Replay: general rows in the asked share of the training rows, never held out, the same for the same seed."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from weitiao.data.config import DataConfig
from weitiao.data.load import DataSet, load_data
from weitiao.data.reading.paths import resolve_paths
from weitiao.errors import DataError


def write(path: Path, name: str, count: int, start: int = 0) -> Path:
    rows = [{"prompt": f"{name} {i}", "completion": f"answer {i}"} for i in range(start, start + count)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def load(**section: Any) -> DataSet:
    return load_data(DataConfig.model_validate(section))


@pytest.fixture
def task(tmp_path: Path) -> Path:
    return write(tmp_path / "task.jsonl", "task", 400)


@pytest.fixture
def general(tmp_path: Path) -> Path:
    return write(tmp_path / "general.jsonl", "general", 300)


def names(data: DataSet, part: str = "train") -> Counter[str]:
    return Counter(example.messages[0]["content"].split()[0] for example in getattr(data, part))


@pytest.mark.parametrize(("share", "count"), [(0.05, 21), (0.2, 100), (0.5, 400), (0.001, 1)])
def test_the_share_is_that_of_all_training_rows(task: Path, general: Path, share: float, count: int) -> None:
    data = load(train=task, replay={"share": share, "path": general})
    assert names(data) == {"task": 400, "general": count}
    assert data.num_replay == count
    assert [example.row_id for example in data.task_train] == [f"task.jsonl:{n}" for n in range(1, 401)]
    # As near to the share as whole rows come.
    for other in (max(1, count - 1), count + 1):
        assert abs(count / (400 + count) - share) <= abs(other / (400 + other) - share)
    assert len({example.row_id for example in data.train}) == 400 + count


def test_it_is_told_how_many_rows_there_are_and_how_often(task: Path, general: Path) -> None:
    said = str(load(train=task, replay={"share": 0.05, "path": general}).summaries[-1])
    assert (
        said
        == f"replay: {general}: JSON Lines, prompt_completion (detected), 300 rows, 21 of the 421 training rows (5.0%)"
    )
    often = load(train=task, replay={"share": 0.8, "path": general})
    assert str(often.summaries[-1]).endswith("1,600 of the 2,000 training rows (80.0%), each 5 to 6 times")
    times = Counter(example.messages[0]["content"] for example in often.train[400:])
    assert set(times.values()) == {5, 6} and len(times) == 300


def test_fractions_are_held_out_before_and_weights_count(task: Path, general: Path) -> None:
    plain = load(train=task, test=0.1, validation=0.05, seed=3)
    mixed = load(
        train={"path": task, "weight": 2.0}, test=0.1, validation=0.05, seed=3, replay={"share": 0.1, "path": general}
    )
    assert mixed.test == plain.test and mixed.validation == plain.validation
    assert names(mixed, "test") == {"task": 40} and names(mixed, "validation") == {"task": 20}
    assert names(mixed) == {"task": 680, "general": 76}
    assert mixed.overlaps == ()


def test_general_rows_that_are_scored_are_not_trained_on(tmp_path: Path, task: Path) -> None:
    lines = ["TASK 1!", "task 2", "general 1", "general 2"]
    path = tmp_path / "general.jsonl"
    path.write_text("".join(json.dumps({"prompt": line, "completion": "x"}) + "\n" for line in lines))
    test = write(tmp_path / "test.jsonl", "task", 5)
    data = load(train=write(tmp_path / "t.jsonl", "other", 20), test=test, replay={"share": 0.5, "path": path})
    assert names(data) == {"other": 20, "general": 20}
    assert str(data.summaries[-1]).endswith("; 2 left out because validation or test has their input")
    only = tmp_path / "only.jsonl"
    only.write_text(json.dumps({"prompt": "Task 1", "completion": "x"}) + "\n")
    with pytest.raises(
        DataError, match=r"data\.replay: .*only\.jsonl: each of its 1 rows has the input of a validation"
    ):
        load(train=task, test=test, replay={"share": 0.5, "path": only})


def test_seed_and_content_decide_and_the_fingerprint_follows(task: Path, general: Path) -> None:
    def chosen(data: DataSet) -> list[str]:
        return [example.messages[0]["content"] for example in data.train[400:]]

    replay = {"share": 0.05, "path": general}
    one, again, other = (load(train=task, replay=replay, seed=seed) for seed in (0, 0, 1))
    assert chosen(one) == chosen(again) != chosen(other)
    assert one.fingerprint == again.fingerprint
    prints = {one.fingerprint, other.fingerprint, load(train=task).fingerprint}
    prints.add(load(train=task, replay={**replay, "share": 0.06}).fingerprint)
    assert len(prints) == 4


def test_replay_has_the_settings_of_a_source(tmp_path: Path, task: Path) -> None:
    table = tmp_path / "general.csv"
    table.write_text("q,a\n" + "".join(f"general {i},x\n" for i in range(50)))
    replay = {"share": 0.1, "path": table, "columns": {"prompt": "q", "completion": "a"}, "limit": 20}
    data = load(train={"path": task, "limit": 90}, replay=replay)
    assert names(data) == {"task": 90, "general": 10}
    assert data.summaries[-1].rows == 20
    section = DataConfig.model_validate({"train": task, "replay": replay})
    assert section == DataConfig.model_validate(section.model_dump(mode="json"))


def test_a_relative_path_is_looked_up_like_that_of_any_source(tmp_path: Path, task: Path, general: Path) -> None:
    section = DataConfig.model_validate({"train": task.name, "replay": {"share": 0.05, "path": general.name}})
    resolved = resolve_paths(section, (tmp_path,))
    assert [source.path for source in resolved.sources["replay"]] == [str(general)]
    assert resolve_paths(resolved, (tmp_path.parent,)) == resolved
    assert load_data(resolved).num_replay == 21


@pytest.mark.parametrize("given", [0.05, "general.jsonl", True, ["general.jsonl"]])
def test_a_number_or_a_path_alone_is_refused(given: Any) -> None:
    with pytest.raises(ValidationError, match=r"share: 0\.05, path: general\.jsonl"):
        DataConfig.model_validate({"train": "a.jsonl", "replay": given})


@pytest.mark.parametrize(
    ("given", "place", "message"),
    [
        ({"path": "a"}, "replay.share", "Field required"),
        ({"share": 0.1}, "replay.path", "Field required"),
        ({"share": 1, "path": "a"}, "replay.share", "less than 1"),
        ({"share": 0, "path": "a"}, "replay.share", "greater than 0"),
        ({"share": 0.1, "path": "a", "weight": 2}, "replay", "remove `weight`"),
        ({"share": 0.1, "path": "a", "sahre": 2}, "replay.sahre", "Extra inputs"),
    ],
)
def test_what_is_wrong_in_replay_is_named(given: dict[str, Any], place: str, message: str) -> None:
    with pytest.raises(ValidationError) as caught:
        DataConfig.model_validate({"train": "a.jsonl", "replay": given})
    problems = [(".".join(map(str, e["loc"])), e["msg"]) for e in caught.value.errors()]
    assert any(where == place and message in said for where, said in problems), problems
