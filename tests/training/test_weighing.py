"""What one unit of the loss is, and how much of the loss each source has."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from workbench import steps_of, write_long_rows, write_recipe, write_rows

from weitiao.recipe import load_recipe
from weitiao.rendering.items import Item, TokenSequence
from weitiao.study.train import train
from weitiao.training.weighing import choose_unit, mean_weights, shares, weigh_rows, weigh_source

NUM_TASK, NUM_GENERAL = 57, 30


def replayed(directory: Path, model: Path, *, words: int = 40, **train_settings: Any) -> Path:
    """57 rows of a task with short answers, and 3 general ones."""
    directory.mkdir(exist_ok=True)
    write_long_rows(directory / "general.jsonl", NUM_GENERAL, words=words)
    settings = {"epochs": 1, "batch_size": 4, **train_settings}
    replay = {"share": 0.05, "path": "general.jsonl"}
    return write_recipe(directory, model, num_rows=NUM_TASK, data={"replay": replay}, train=settings)


def share_of_replay(run: Path) -> float:
    """Over all steps, from what each says."""
    weights: defaultdict[str, float] = defaultdict(float)
    for line in steps_of(run):
        for name, one in line["sources"].items():
            weights[name] += one["weight"]
    assert set(weights) == {"rows.jsonl", "replay"}
    return weights["replay"] / sum(weights.values())


def sequence(row_id: str, num_learned: int, num_prompt: int = 3) -> Item:
    length = num_prompt + num_learned
    weights = [0.0] * num_prompt + [1.0] * num_learned
    return Item(row_id, (TokenSequence.of(row_id, range(length), weights),))


def test_every_row_weighs_one_however_many_sequences_it_has() -> None:
    rows = [sequence("a", 2), sequence("b", 5), sequence("a", 6), sequence("c", 1)]
    weighed = weigh_rows(rows)
    sums: defaultdict[str, float] = defaultdict(float)
    for one in weighed:
        sums[one.row_id] += one.target_weight
    assert dict(sums) == pytest.approx({"a": 1, "b": 1, "c": 1})
    assert weighed[0].target_weight == pytest.approx(2 / 8)  # tokens of a row keep their proportion
    assert [one.sequences for one in weighed] == [one.sequences for one in rows]


@pytest.mark.parametrize("unit", ["tokens", "rows"])
def test_a_source_gets_its_share_whatever_the_lengths(unit: str) -> None:
    draw = np.random.default_rng(0)
    rows = [sequence(f"t{i}", int(draw.integers(1, 5))) for i in range(95)]
    rows += [sequence(f"r{i}", int(draw.integers(50, 300))) for i in range(5)]
    sources = {one.row_id: "replay" if one.row_id[0] == "r" else "task" for one in rows}
    before = list(weigh_rows(rows)) if unit == "rows" else rows
    after = weigh_source(before, sources, "replay", 0.05)
    assert shares(after, sources) == pytest.approx({"task": 0.95, "replay": 0.05})
    for old, new in zip(before, after, strict=True):  # the others keep their weights
        assert sources[old.row_id] == "replay" or old == new


@pytest.mark.parametrize(("length", "unit"), [(4, "tokens"), (8, "tokens"), (9, "rows"), (200, "rows"), (1, "rows")])
def test_auto_counts_rows_where_sources_differ_by_more_than_two(length: int, unit: str) -> None:
    rows = [*(sequence(f"a{i}", 4) for i in range(20)), *(sequence(f"b{i}", length) for i in range(3))]
    sources = {one.row_id: one.row_id[0] for one in rows}
    assert mean_weights(rows, sources) == {"a": 4, "b": length}
    assert choose_unit(rows, sources) == unit
    assert choose_unit(rows, dict.fromkeys(sources, "one")) == "tokens"
    if unit == "tokens":  # what the border means: no share of the loss is more than twice that of the rows
        of_rows, of_loss = {"a": 20 / 23, "b": 3 / 23}, shares(rows, sources)
        assert all(0.5 <= of_loss[name] / of_rows[name] <= 2 for name in of_rows)


def test_replay_has_its_share_of_the_loss(
    tiny_llama_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = train(load_recipe(replayed(tmp_path, tiny_llama_dir))).path
    said = capsys.readouterr().err
    assert share_of_replay(run) == pytest.approx(0.05, rel=1e-5)
    assert load_recipe(run).train.weigh == "rows"  # written as it was resolved
    assert "The loss counts rows (train.weigh); shares of it: rows.jsonl 95.0% (" in said
    assert re.search(r"step 15/15  loss [\d.]+ \(replay [\d.]+, rows\.jsonl [\d.]+\)", said)
    for line in steps_of(run):
        parts = line["sources"].values()
        mean = sum(one["loss"] * one["weight"] for one in parts) / sum(one["weight"] for one in parts)
        assert line["loss"] == pytest.approx(mean, rel=1e-5)


def test_by_tokens_it_has_that_share_too(tiny_llama_dir: Path, tmp_path: Path) -> None:
    run = train(load_recipe(replayed(tmp_path, tiny_llama_dir, weigh="tokens"))).path
    assert share_of_replay(run) == pytest.approx(0.05, rel=1e-5)


def test_sources_of_like_lengths_are_counted_by_tokens(tiny_llama_dir: Path, tmp_path: Path) -> None:
    recipe = write_recipe(
        tmp_path,
        tiny_llama_dir,
        num_rows=12,
        data={"train": ["rows.jsonl", "more.jsonl"], "validation": 0.3},
        train={"max_steps": 2},
    )
    write_rows(tmp_path / "more.jsonl", 12, start=70)
    run = train(load_recipe(recipe)).path
    assert load_recipe(run).train.weigh == "tokens"
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert all(set(line["sources"]) == {"rows.jsonl", "more.jsonl"} for line in lines if "loss" in line)
    (validation,) = (line for line in lines if "validation_loss" in line)
    parts = validation["validation_sources"].values()
    assert len(parts) == 2
    mean = sum(one["loss"] * one["weight"] for one in parts) / sum(one["weight"] for one in parts)
    assert validation["validation_loss"] == pytest.approx(mean, rel=1e-6)


def test_one_source_is_not_told_apart(tiny_llama_dir: Path, tmp_path: Path) -> None:
    run = train(load_recipe(write_recipe(tmp_path, tiny_llama_dir, train={"max_steps": 1}))).path
    assert "sources" not in steps_of(run)[0]
    assert load_recipe(run).train.weigh == "tokens"
