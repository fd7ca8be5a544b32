"""A model learns from answers that it wrote: through the command's own code, with kills, on several ranks."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console
from safetensors.torch import load_file
from transformers import AutoTokenizer, LlamaConfig, LlamaForSequenceClassification
from workbench import evaluate_target, final_weights, require_same_after_resume, signal_after, steps_of, weitiao

from weitiao.data.config import DataConfig
from weitiao.data.example import PROMPTS
from weitiao.data.example import asked as asked_of
from weitiao.data.load import load_data
from weitiao.errors import TrainingError
from weitiao.recipe import load_recipe
from weitiao.report.render import render_report
from weitiao.rollouts.samples import read_rollout
from weitiao.study.train import train
from weitiao.study.why import answers_of_run, rows_behind

REWARDS = '''
import os, signal
from pathlib import Path


def likes(answer, expected, row):
    """Letters a are liked, and long answers are not."""
    return answer.count("a") - 0.1 * len(answer)


def choosy(answer, expected, row):
    """As `likes`, of most answers; of some nothing is known."""
    if len(answer) % 3 == 0:
        raise ValueError("no idea")
    return float("nan") if len(answer) % 3 == 1 and "e" in answer else likes(answer, expected, row)


def long(answer, expected, row):
    return float(len(answer))


def never(answer, expected, row):
    raise ValueError("no idea")


def deadly(answer, expected, row):
    """As `likes`; the first time in the third rollout, the process is gone in the middle of it."""
    here = Path(__file__).parent
    if len(list((here / "run" / "rollouts").glob("*.jsonl"))) == 2 and not (here / "died").exists():
        (here / "died").touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return likes(answer, expected, row)
'''


def write_recipe(directory: Path, model: Path, num_rows: int = 6, **sections: Any) -> Path:
    """A recipe over prompts, whose rewards are functions."""
    directory.mkdir(parents=True, exist_ok=True)
    rows = [{"prompt": f"say something about {i}"} for i in range(num_rows)]
    (directory / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    (directory / "rewards.py").write_text(REWARDS, encoding="utf-8")
    recipe: dict[str, Any] = {
        "model": {"name": str(model), "dtype": "float32"},
        "data": {"train": "rows.jsonl"},
        "method": {"r": 4},
        "objective": {"type": "grpo"},
        "rollouts": {"rewards": ["rewards.py:likes"], "samples": 4, "generation": {"max_new_tokens": 6}},
        "train": {"batch_size": 3, "learning_rate": 0.01, "max_steps": 4, "threads": 1},
        "run_dir": str(directory / "run"),
    }
    for name, section in sections.items():
        recipe[name] = section if "type" in section else {**recipe[name], **section}
    path = directory / "recipe.yaml"
    path.write_text(json.dumps(recipe, indent=1), encoding="utf-8")
    return path


SEVERAL = {"prompts": 3, "repeats": 2}
"""Four steps from every rollout, in batches of two and one prompts."""


def test_a_training_leaves_samples_metrics_and_a_result(tiny_llama_dir: Path, tmp_path: Path) -> None:
    validation = {"data": {"train": "rows.jsonl", "validation": 0.2}, "train": {"validate_every": 2, "max_steps": 4}}
    settings = {
        "samples": 3,
        "repeats": 2,
        "rewards": ["rewards.py:likes", {"type": "length", "least": 2, "weight": 0.5}],
    }
    generation = {"max_new_tokens": 5, "temperature": 0.7}
    recipe = write_recipe(tmp_path, tiny_llama_dir, 10, rollouts={**settings, "generation": generation}, **validation)
    run = train(load_recipe(recipe))
    assert run.finished
    assert (run.path / "final" / "adapter_model.safetensors").exists()
    steps = steps_of(run.path)
    assert [one["rollout"] for one in steps] == [1, 1, 2, 2]
    for step, number in zip(steps, (0, 0, 1, 1), strict=True):
        samples = read_rollout(run.path / "rollouts" / f"rollout-{number:06d}.jsonl").samples
        assert len(samples) == 3 * 3
        assert step["reward"] == pytest.approx(sum(one.reward or 0 for one in samples) / 9)
        assert step["reward"] == pytest.approx(step["reward/likes"] + 0.5 * step["reward/length"])
        for one in samples:
            assert one.columns.keys() == {"sampled_logprob", "old_logprob", "reference_logprob", "advantage"}
            assert {len(values) for values in one.columns.values()} == {len(one.token_ids)}
        assert step["mismatch"] < 1e-5  # generation and training agree, also at a temperature
        assert step["clip_share"] <= 1
    assert steps[0]["old_kl"] < 1e-9 < steps[1]["old_kl"]
    assert abs(steps[0]["kl"]) < 1e-9 < steps[2]["kl"]  # the run begins at its reference
    assert {"seconds_generation", "seconds_scoring", "seconds_logprobs"} <= steps[2].keys() - steps[3].keys()
    behind = rows_behind(run.path, 1, num=1)
    first = read_rollout(run.path / "rollouts/rollout-000000.jsonl").samples
    answers = sorted((one.reward or 0, one.answer) for one in first if one.row_id == behind[0].row_id)
    assert sorted((float(one.label.split()[1].strip(",")), one.answer) for one in behind) == [
        (pytest.approx(reward, rel=1e-2), answer) for reward, answer in answers
    ]
    lines = [json.loads(line) for line in (run.path / "metrics.jsonl").read_text().splitlines()]
    checked = [line for line in lines if "validation_loss" in line]
    assert [line["validation_reward"] for line in checked] == [-line["validation_loss"] for line in checked]
    assert run.best_validation_loss == min(line["validation_loss"] for line in checked)
    scores = evaluate_target(run.path, console=Console(quiet=True)).scores  # of the best checkpoint
    assert scores.metrics["reward"].value == pytest.approx(-run.best_validation_loss)
    page = render_report(run.path)
    assert f"Mean reward over the optimiser steps, from {steps[0]['reward']:.3g} to {steps[-1]['reward']:.3g}" in page
    best = max(samples, key=lambda one: one.reward or 0.0)
    assert f"{best.row_id}, {best.reward:.3g}" in page
    found = answers_of_run(run.path, 2)
    assert found["best"][0][1].reward == best.reward
    assert {one.row_id for _, one in found["changed"]} <= {one.row_id for one in first}


@pytest.mark.parametrize("objective", ["grpo", "ppo"])
def test_a_killed_run_goes_on_to_the_same_bytes(objective: str, tiny_llama_dir: Path, tmp_path: Path) -> None:
    """Killed in the middle of a rollout, then in the middle of the updates from one."""
    sections = {"objective": {"type": objective}, "train": {"batch_size": 2, "max_steps": 11, "save_every": 1}}
    whole = write_recipe(tmp_path / "whole", tiny_llama_dir, rollouts=SEVERAL, **sections)
    train(load_recipe(whole))
    rollouts = SEVERAL | {"rewards": ["rewards.py:deadly"]}
    killed = write_recipe(tmp_path / "killed", tiny_llama_dir, rollouts=rollouts, **sections)
    assert weitiao("train", killed).returncode == -signal.SIGKILL
    assert len(steps_of(tmp_path / "killed" / "run")) == 8
    weitiao("train", killed, meanwhile=signal_after(tmp_path / "killed" / "run", 9, signal.SIGKILL))
    assert weitiao("train", killed).returncode == 0
    assert final_weights(tmp_path / "killed" / "run") == final_weights(tmp_path / "whole" / "run")
    for number in range(3):
        name = f"rollouts/rollout-{number:06d}.jsonl"
        one, other = (read_rollout(tmp_path / run / "run" / name).samples for run in ("whole", "killed"))
        assert [(a.token_ids, a.columns) for a in one] == [(a.token_ids, a.columns) for a in other]


def test_a_run_that_is_stopped_while_it_writes_leaves_a_checkpoint(tiny_llama_dir: Path, tmp_path: Path) -> None:
    long = {"generation": {"max_new_tokens": 100}, "samples": 8}
    recipe = write_recipe(tmp_path, tiny_llama_dir, rollouts=long, train={"max_steps": 60})
    done = weitiao("train", recipe, meanwhile=signal_after(tmp_path / "run", 2, signal.SIGTERM))
    assert done.returncode == 130
    (step,) = {len(steps_of(tmp_path / "run"))}
    assert (tmp_path / "run" / "checkpoints" / f"step-{step:08d}").exists()


def test_a_run_may_be_stopped_before_its_first_step(tiny_llama_dir: Path, tmp_path: Path) -> None:
    recipe = write_recipe(tmp_path, tiny_llama_dir, rollouts={"generation": {"max_new_tokens": 400}, "samples": 8})

    def stop(pid: int) -> None:
        while not (tmp_path / "run" / "rollouts" / "beginning.safetensors").exists():
            time.sleep(0.005)
        os.kill(pid, signal.SIGTERM)

    done = weitiao("train", recipe, meanwhile=stop)
    assert (done.returncode, (tmp_path / "run" / "metrics.jsonl").exists()) == (130, False), done.stderr


def test_two_ranks_and_no_sharing_learn_the_same(tiny_llama_dir: Path, tmp_path: Path) -> None:
    sections = {"rollouts": SEVERAL, "train": {"batch_size": 2, "max_steps": 8, "token_budget": 64}}
    weights = []
    for name, more, ranks in (("one", {}, 1), ("two", {}, 2), ("apart", {"share_prefixes": False}, 1)):
        train_section = {**sections["train"], **more}
        recipe = write_recipe(tmp_path / name, tiny_llama_dir, rollouts=sections["rollouts"], train=train_section)
        if ranks == 1:
            train(load_recipe(recipe))
        else:
            done = weitiao("train", recipe, ranks=ranks)
            assert done.returncode == 0, done.stderr
        weights.append(load_file(tmp_path / name / "run" / "final" / "adapter_model.safetensors"))
    for other in weights[1:]:
        for name, value in weights[0].items():
            torch.testing.assert_close(value, other[name], rtol=1e-3, atol=1e-5)


def test_updates_stop_when_the_model_has_moved_too_far(tiny_llama_dir: Path, tmp_path: Path) -> None:
    """The steps that are left of a rollout are passed over, also by a run that goes on, and the coefficient adapts."""
    sections = {
        "objective": {"type": "ppo", "stop_kl": 1e-3, "kl_target": 0.5, "kl_horizon": 24},
        "rollouts": {"repeats": 4},
        "train": {"max_steps": 8, "learning_rate": 0.02, "save_every": 3, "warmup": 0},
    }
    recipe = write_recipe(tmp_path, tiny_llama_dir, **sections)
    run = train(load_recipe(recipe))
    steps = steps_of(run.path)
    moved = [place for place, one in enumerate(steps[:4]) if one.get("old_kl", 0) > 1e-3]
    assert moved
    assert all(one["num_tokens"] == 0 and "old_kl" not in one for one in steps[moved[0] + 1 : 4])
    assert steps[4]["num_tokens"] > 0
    assert steps[4]["kl_coefficient"] == pytest.approx(0.05 * (1 + max(steps[0]["kl"] / 0.5 - 1, -0.2) * 12 / 24))
    require_same_after_resume(run.path, 8, recipe=recipe)


def test_answers_without_a_reward_are_dropped_and_counted(tiny_llama_dir: Path, tmp_path: Path) -> None:
    recipe = write_recipe(tmp_path, tiny_llama_dir, rollouts={"rewards": ["rewards.py:choosy"], "samples": 6})
    told: list[str] = []
    run = train(load_recipe(recipe), tell=told.append)
    samples = read_rollout(run.path / "rollouts" / "rollout-000000.jsonl").samples
    dropped = [one for one in samples if one.dropped]
    assert 0 < len(dropped) == steps_of(run.path)[0]["dropped"] < len(samples)
    assert all(one.reward is None and "advantage" not in one.columns for one in dropped if "no idea" in one.dropped)
    assert any("returned nan" in one.dropped for one in dropped)
    (line,) = [one for one in told if "not learned from" in one]  # once, however many rollouts have some
    assert line.startswith(f"{len(dropped)} of {len(samples)} answers")
    assert steps_of(run.path)[0]["num_sequences"] == len(samples) - len(dropped)
    with pytest.raises(TrainingError, match=r"No answer of rollout 1 can be learned from: .*never failed.*no idea"):
        train(load_recipe(write_recipe(tmp_path / "never", tiny_llama_dir, rollouts={"rewards": ["rewards.py:never"]})))


@pytest.mark.parametrize(
    ("row", "asked", "expected"),
    [
        ({"prompt": "a?"}, ["a?"], ""),
        ({"prompt": "a?", "completion": "b"}, ["a?"], "b"),
        ({"instruction": "a?", "input": "c"}, ["a?\nc"], ""),
        ({"messages": [{"role": "user", "content": "a?"}]}, ["a?"], ""),
        ({"conversations": [{"from": "human", "value": "a?"}, {"from": "gpt", "value": "b"}]}, ["a?"], "b"),
        (
            {"messages": [{"role": role, "content": role} for role in ("user", "assistant", "user")]},
            ["user", "assistant", "user"],
            "",
        ),
    ],
)
def test_rows_are_prompts_whose_answers_may_be_missing(
    row: dict[str, Any], asked: list[str], expected: str, tmp_path: Path
) -> None:
    (tmp_path / "rows.jsonl").write_text(json.dumps(row) + "\n", encoding="utf-8")
    config = DataConfig.model_validate({"train": str(tmp_path / "rows.jsonl")})
    turns, answer = asked_of(load_data(config, rows=PROMPTS).train[0])
    assert ([turn["content"] for turn in turns], answer) == (asked, expected)


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        ({"rollouts": {"rewards": []}}, r"rollouts.rewards is empty"),
        ({"rollouts": {"samples": 1}}, r"against each other"),
        ({"optimizer": {"type": "lomo"}}, r"takes a step at once"),
        ({"data": {"train": "rows.jsonl", "replay": {"path": "rows.jsonl", "share": 0.1}}}, r"data.replay"),
        ({"rollouts": {"generation": {"max_new_tokens": 600}}}, r"leave no room for 600 tokens"),
    ],
)
def test_what_cannot_be_done_is_said(
    sections: dict[str, Any], message: str, tiny_llama_dir: Path, tmp_path: Path
) -> None:
    sections = {"optimizer": {"type": "adamw"}, **sections} if "optimizer" in sections else sections
    path = write_recipe(tmp_path, tiny_llama_dir)
    values = json.loads(path.read_text())
    for name, section in sections.items():
        values[name] = {**values.get(name, {}), **section}
    path.write_text(json.dumps(values))
    with pytest.raises(Exception, match=message) as caught:
        train(load_recipe(path))
    assert caught.value.remedy  # type: ignore[attr-defined]


def test_a_reward_that_likes_long_answers_is_told_of_once(tiny_llama_dir: Path, tmp_path: Path) -> None:
    """Nothing but length is rewarded, so the model finds something that is long."""
    sections = {
        "rollouts": {"rewards": ["rewards.py:long"], "samples": 8, "generation": {"max_new_tokens": 24}},
        "method": {"type": "full"},
        "objective": {"type": "grpo", "kl": 0.001},
        "train": {"max_steps": 14, "batch_size": 6, "learning_rate": 0.01},
    }
    lines: list[str] = []
    run = train(load_recipe(write_recipe(tmp_path, tiny_llama_dir, **sections)), tell=lines.append)
    told = [line for line in lines if "may be hacked" in line]
    first, last = (steps_of(run.path)[place] for place in (0, -1))
    assert last["reward"] > 1.3 * first["reward"]
    assert 1 <= len(told) <= 3
    assert any("repeated" in line or "KL" in line for line in told)
    assert "Prompts whose reward changed most" in render_report(run.path)


def test_a_model_that_runs_away_is_told_of_though_its_reward_does_not_rise(
    tiny_llama_dir: Path, tmp_path: Path
) -> None:
    sections = {
        "method": {"type": "full"},
        "objective": {"type": "ppo"},
        "train": {"max_steps": 8, "learning_rate": 50.0, "warmup": 0},
    }
    lines: list[str] = []
    run = train(load_recipe(write_recipe(tmp_path, tiny_llama_dir, **sections)), tell=lines.append)
    assert max(one["kl"] for one in steps_of(run.path)) > 2
    assert len([line for line in lines if "run away" in line and "learning_rate" in line]) == 1


def test_a_reward_model_scores_answers_as_it_scores_rows(tiny_llama_dir: Path, tmp_path: Path) -> None:
    """One with random weights, saved by transformers: rewards are those that it has alone, with its own head."""
    with torch.random.fork_rng():
        torch.manual_seed(1)
        scorer = LlamaForSequenceClassification(
            LlamaConfig.from_pretrained(tiny_llama_dir, num_labels=1, pad_token_id=0)
        )
    scorer.save_pretrained(tmp_path / "scorer")
    tokenizer = AutoTokenizer.from_pretrained(tiny_llama_dir)
    tokenizer.save_pretrained(tmp_path / "scorer")
    rewards = [{"type": "reward_model", "model": "scorer", "weight": 2}]
    rollouts = {"rewards": rewards, "samples": 3, "generation": {"max_new_tokens": 6}}
    recipe = write_recipe(tmp_path, tiny_llama_dir, rollouts=rollouts, train={"max_steps": 2})
    run = train(load_recipe(recipe))
    for number in range(2):
        for one in read_rollout(run.path / "rollouts" / f"rollout-{number:06d}.jsonl").used:
            place = int(one.row_id.rpartition(":")[2]) - 1
            turns = [
                {"role": "user", "content": f"say something about {place}"},
                {"role": "assistant", "content": one.answer},
            ]
            text = tokenizer.apply_chat_template(turns, tokenize=False).removesuffix("\n")
            ids = torch.tensor([tokenizer(text, add_special_tokens=False)["input_ids"]])
            with torch.no_grad():
                assert one.reward == pytest.approx(2 * float(scorer(input_ids=ids).logits), abs=1e-4)
