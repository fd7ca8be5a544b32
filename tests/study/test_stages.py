"""Several recipes in one file, and rows that are judged answers: from the prompts to the verdict of the last stage."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from rich.console import Console
from workbench import steps_of, write_recipe

from weitiao.errors import DataError, RecipeError
from weitiao.evaluation.metrics.style import words_of
from weitiao.feedback.items import Choice
from weitiao.feedback.store import FeedbackStore, Judgement
from weitiao.recipe import load_recipe
from weitiao.recipe.stages import StagedRecipe, load_work
from weitiao.study.pipeline.result import PipelineResult
from weitiao.study.stages import run_stages

SHORT = {"type": "length", "most": 2, "slack": 60}
OTHER: dict[Choice, Choice] = {"a": "b", "b": "a", "tie": "tie"}
GENERATION = {"max_new_tokens": 8}
STAGES = {
    "sft": {},
    "reward": {
        "objective": {"type": "reward"},
        "feedback": {"models": ["sft"], "samples": 3, "generation": GENERATION, "judges": [{"rewards": [SHORT]}]},
    },
    "last": {
        "method": {"start": "sft"},
        "objective": {"type": "rloo"},
        "rollouts": {"rewards": [{"type": "reward_model", "model": "reward"}], "samples": 2, "generation": GENERATION},
        "train": {"max_steps": 1, "batch_size": 2},
    },
}


def write_stages(directory: Path, model: Path, **stages: object) -> Path:
    return write_recipe(
        directory, model, num_rows=30, data={"test": 0.3}, train={"max_steps": 2}, rendering={"max_length": 96},
        evaluate={"limit": 3, "generation": GENERATION}, baseline={"limit": 3, "shots": [0]},
        retention={"suite": "none"}, run={"on_findings": "continue"}, stages=stages or STAGES,
    )  # fmt: skip


def go(path: Path, *overrides: str, **options: str) -> PipelineResult:
    staged = load_work(path, overrides)
    assert isinstance(staged, StagedRecipe)
    return run_stages(staged, console=Console(quiet=True), **options)


def states(run: Path) -> dict[str, str]:
    steps = json.loads((run / "steps.json").read_text())["steps"]
    return {name: record["ended"] for name, record in steps.items()}


def test_sample_judge_reward_model_reinforcement_verdict(
    tiny_llama_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_stages(tmp_path / "work", tiny_llama_dir)
    monkeypatch.chdir(path.parent)
    home = Path("run")
    result = go(path, f"run_dir={home}")
    assert result.path == home / "last"
    assert result.verdict is not None
    assert {step.state for step in result.steps} <= {"done", "skipped"}
    assert "baseline" not in states(home / "sft")
    # what is learned are the winners among the answers to the prompts of the same part
    store = FeedbackStore(home / "reward" / "feedback" / "feedback.db")
    shorter = {
        (
            tuple(turn["content"] for turn in item.messages),
            min(item.a, item.b, key=lambda one: max(2, len(words_of(one)))),
        )
        for item, _, _ in store.pairs()
    }
    parts = {}
    for part in ("train", "test"):
        rows = [json.loads(line) for line in (home / "reward" / "feedback" / f"{part}.jsonl").open()]
        assert all((tuple(t["content"] for t in row["messages"]), row["chosen"]["content"]) in shorter for row in rows)
        parts[part] = {row["messages"][-1]["content"] for row in rows}
    assert parts["train"]
    assert parts["test"]
    assert not parts["train"] & parts["test"]
    # a second call does nothing, also after a run was measured again; another reward model is learned from anew
    before, last = states(home / "reward"), states(home / "last")
    (home / "reward" / "scores.json").touch()
    go(path, "run_dir=run")
    assert (states(home / "reward"), states(home / "last")) == (before, last)
    reward = steps_of(home / "last")[0]["reward"]
    go(path, "run_dir=run", "stages.reward.train.learning_rate=0.02", until="train")
    assert states(home / "reward")["train"] != before["train"]
    assert states(home / "last")["train"] != last["train"]
    assert steps_of(home / "last")[0]["reward"] != reward
    # judgements of people count beside those of the judges
    judged = store.judgements()
    store.add(*(Judgement(one.item_id, "human", "ab", OTHER[one.choice], "now") for one in judged))
    with pytest.raises(DataError, match="has a winner"):
        go(path, "run_dir=run", until="reward")


def test_a_stage_is_named_where_it_is_wrong(tiny_llama_dir: Path, tmp_path: Path) -> None:
    path = write_stages(tmp_path / "work", tiny_llama_dir, sft={}, last={"train": {"epoch": 1}})
    with pytest.raises(RecipeError, match=r"stage last: unknown key `train\.epoch`"):
        load_work(path)
    with pytest.raises(RecipeError, match="several stages"):
        load_recipe(path)
    with pytest.raises(RecipeError, match="set samples to 2"):
        load_work(path, ["stages.last.train=", "stages.last.feedback={samples: 1, judges: [{rewards: [json_valid]}]}"])
