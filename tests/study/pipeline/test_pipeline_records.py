"""What is kept about steps, how long they are expected to take, and what is measured."""

from __future__ import annotations

import io
import time
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from weitiao.files import write_json, written_whole
from weitiao.recipe import load_recipe
from weitiao.runs.record import (
    Records,
    StepRecord,
    Stop,
    are_intact,
    digest_of,
    find_outputs,
    read_records,
    remove_outputs,
)
from weitiao.runs.run_dir import RunDir
from weitiao.study.pipeline.result import stop_after
from weitiao.study.pipeline.step import measured
from weitiao.study.pipeline.steps import STEP_NAMES, STEPS
from weitiao.terminal.progress import StepLines, duration


def record(seconds: float = 1.0, **more: object) -> StepRecord:
    return StepRecord("done", "key", {}, {"a.json": "1" * 64}, "all well", seconds, 1 << 30, **more)  # type: ignore[arg-type]


def test_records_come_back_as_they_were_saved(tmp_path: Path) -> None:
    records = Records(tmp_path / "steps.json", {"check": record()}, ("train",), Stop("check", "findings", "text"))
    records.save()
    assert read_records(tmp_path) == records
    assert read_records(tmp_path / "elsewhere").steps == {}


def test_a_result_is_current_as_long_as_what_it_was_made_from_is(tmp_path: Path) -> None:
    first = record()
    second = StepRecord("done", "k", {"check": first.digest}, {"b.json": "2" * 64})
    third = StepRecord("done", "k", {"baseline": second.digest}, {"c.json": "3" * 64})
    records = Records(tmp_path / "steps.json", {"check": first, "baseline": second, "compare": third})
    assert records.is_current("compare")
    records.steps["check"] = StepRecord("done", "other", {}, {"a.json": "9" * 64})
    assert [records.is_current(name) for name in ("check", "baseline", "compare")] == [True, False, False]
    records.steps["check"] = StepRecord("started", "key", {}, first.outputs)
    assert not records.is_current("compare")
    records.steps["check"], records.skipped = first, ("baseline",)
    assert [records.is_current(name) for name in ("check", "baseline", "compare")] == [True, False, False]


def test_outputs_are_told_by_their_content_and_directories_by_their_marker(tmp_path: Path) -> None:
    (tmp_path / "scores.json").write_text("1")
    (tmp_path / "scores.json.part").write_text("half")
    with written_whole(tmp_path / "final") as directory:
        (directory / "weights").write_text("12345")
    found = find_outputs(tmp_path, ("scores.json*", "final", "absent.json"))
    assert list(found) == ["final", "scores.json"]
    assert are_intact(tmp_path, found)
    (tmp_path / "final" / "weights").write_text("1234")
    assert digest_of(tmp_path / "final") is None
    assert not are_intact(tmp_path, found)
    remove_outputs(tmp_path, ("scores.json*", "final"))
    assert list(tmp_path.iterdir()) == []


def test_time_and_memory_are_measured_also_when_it_fails() -> None:
    with pytest.raises(RuntimeError), measured() as usage:
        block = np.ones(40_000_000)  # 320 MB
        time.sleep(0.4)
        raise RuntimeError
    assert 0.4 <= usage.seconds < 10
    num_bytes = block.nbytes
    del block
    with measured() as later:
        time.sleep(0.15)
    assert usage.peak_memory_bytes >= num_bytes
    assert usage.peak_memory_bytes - later.peak_memory_bytes > 0.9 * num_bytes  # a step's memory is its own
    assert 0.15 <= later.seconds < usage.seconds


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.2, "0.2 s"), (59.4, "59 s"), (60, "1 min 0 s"), (3599.6, "1 h 0 min"), (7384, "2 h 3 min")]
)
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_a_rule_says_number_and_time() -> None:
    stream = io.StringIO()
    lines = StepLines(Console(file=stream, width=80), STEP_NAMES)
    lines.begins("train", 130.0)
    lines.ended("train", record(640.0))
    lines.unchanged("check", record())
    lines.passed_over("baseline", "skipped")
    rule, done, unchanged, skipped = stream.getvalue().splitlines()
    assert rule.startswith("4/10 train  2 min 10 s so far ─")
    assert done == "train: all well (10 min 40 s, 1.0 GiB)"
    assert unchanged.split() == ["1/10", "check", "nothing", "to", "do:", "all", "well"]
    assert skipped.split() == ["2/10", "baseline", "skipped"]


def test_steps_are_told_in_chinese() -> None:
    stream = io.StringIO()
    lines = StepLines(Console(file=stream, width=80), STEP_NAMES, "zh")
    lines.begins("train", 130.0)
    lines.ended("train", record(640.0, summary_zh="一切正常"))
    lines.unchanged("check", record())  # of an earlier version
    lines.passed_over("compare", "left_out", steps="eval")
    rule, done, unchanged, left_out = stream.getvalue().splitlines()
    assert rule.startswith("4/10 train 训练  已用 2 分 10 秒 ─")
    assert done == "train 训练：一切正常（10 分 40 秒，1.0 GiB）"
    assert unchanged.endswith("无需再做：all well")
    assert left_out.endswith("未做：需要先做 eval")


def test_data_with_errors_and_advice_against_tuning_stop_unless_the_recipe_goes_on(recipe_path: Path) -> None:
    run = RunDir(recipe_path.parent)
    finding = {"severity": "error", "kind": "empty_answer", "count": 3, "file": "rows.jsonl", "row": 7}
    finding["reason"] = "an empty answer"
    write_json(run.path / "data-check.json", {"findings": [{**finding, "severity": "warning"}]})
    reason = {"en": "The score is 90 %.", "zh": ""}
    write_json(run.path / "baseline.json", {"advice": {"decision": "tune", "reasons": [reason]}})
    recipe = load_recipe(recipe_path)
    assert [stop_after(step.name, recipe, run) for step in STEPS] == [None] * len(STEPS)
    write_json(run.path / "data-check.json", {"findings": [finding]})
    write_json(run.path / "baseline.json", {"advice": {"decision": "prompting suffices", "reasons": [reason]}})
    first, second = (stop_after(name, recipe, run) for name in ("check", "baseline"))
    assert first is not None
    assert (first.reason, "rows.jsonl:7: an empty answer" in first.text) == ("findings", True)
    assert second is not None
    assert (second.reason, "The score is 90 %." in second.text) == ("advice", True)
    skipping = load_recipe(recipe_path, ["data.on_bad_rows=skip"])  # rows that the training leaves out
    assert stop_after("check", skipping, run) is None
    write_json(run.path / "data-check.json", {"findings": [finding, {**finding, "kind": "role_order", "row": 9}]})
    turns = stop_after("check", skipping, run)
    assert turns is not None
    assert "rows.jsonl:9" in turns.text
    going_on = load_recipe(recipe_path, ["run.on_findings=continue", "run.on_advice=continue"])
    assert [stop_after(step.name, going_on, run) for step in STEPS] == [None] * len(STEPS)
