"""Reward models: against a plain loop, saved for plain transformers and PEFT, killed and gone on with, and scoring."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import peft
import pytest
import torch
from comparing import pairs, pairs_recipe, token_ids, write_pairs
from rich.console import Console
from safetensors.torch import load_file
from torch import nn
from torch.nn.functional import softplus
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    get_cosine_schedule_with_warmup,
)
from workbench import evaluate_target, require_same_after_resume, steps_of, weitiao

from weitiao.errors import ModelError, RecipeError
from weitiao.evaluation.reward_scores import compare_rewards
from weitiao.methods.open import open_model
from weitiao.methods.scorer import open_scorer
from weitiao.recipe import load_recipe
from weitiao.report.render import render_report
from weitiao.seeding import shuffled
from weitiao.study.pipeline.run import run_pipeline
from weitiao.study.score import score_rows
from weitiao.study.train import train

QUIET = Console(quiet=True)
TRAIN = {"max_steps": 4, "batch_size": 6, "seed": 3, "learning_rate": 1e-2, "warmup": 0, "save_every": 2}


def reward_recipe(directory: Path, model: Path, objective: dict[str, Any], **sections: Any) -> Path:
    path = pairs_recipe(directory, model, objective={"type": "reward", **objective}, **{"train": TRAIN, **sections})
    if sections.get("method", {}).get("type", "lora") != "lora":
        path.write_text(path.read_text().replace('"r": 4,', ""))
    return path


def first_head() -> torch.Tensor:
    return torch.randn(1, 64, generator=torch.Generator().manual_seed(0)) / 65**0.5


@torch.no_grad()
def no_gradient(model: nn.Module, ids: list[int]) -> torch.Tensor:
    return state_of(model, ids)


def state_of(model: nn.Module, ids: list[int]) -> torch.Tensor:
    return model.model(input_ids=torch.tensor([ids])).last_hidden_state[0, -1]


def test_steps_are_those_of_a_plain_loop(tiny_llama_dir: Path, tmp_path: Path) -> None:
    rows = [{**row, "gap": 0.1 * (i % 4)} for i, row in enumerate(pairs(24))]
    recipe = reward_recipe(tmp_path, tiny_llama_dir, {"margin": "gap", "center": 0.05}, method={"type": "full"})
    write_pairs(tmp_path / "pairs.jsonl", rows)
    run = train(load_recipe(recipe), console=QUIET).path
    model = AutoModelForCausalLM.from_pretrained(tiny_llama_dir)
    head = nn.Parameter(first_head())
    optimizer = torch.optim.AdamW([*model.parameters(), head], lr=1e-2, weight_decay=0.0, eps=1e-8)
    schedule = get_cosine_schedule_with_warmup(optimizer, 0, 4)
    order = shuffled(24, seed=3, epoch=0)
    for step in range(4):
        losses = []
        for index in order[step * 6 : step * 6 + 6]:
            sides = [token_ids(rows[index], side, tiny_llama_dir)[0] for side in ("chosen", "rejected")]
            better, worse = ((state_of(model, ids) @ head[0]).double() for ids in sides)
            losses.append(softplus(worse - better + rows[index]["gap"]) + 0.05 * (better + worse) ** 2)
        mean = torch.stack(losses).mean()
        mean.backward()
        torch.nn.utils.clip_grad_norm_([*model.parameters(), head], 1.0)
        assert steps_of(run)[step]["loss"] == pytest.approx(mean.item(), rel=1e-4)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()


@pytest.mark.parametrize("method", [{"type": "full"}, {"r": 4}], ids=["full", "lora"])
def test_what_is_saved_is_opened_by_plain_libraries_and_scored_alike(
    method: dict[str, Any], tiny_llama_dir: Path, tmp_path: Path
) -> None:
    recipe = reward_recipe(tmp_path, tiny_llama_dir, {}, method=method)
    run = train(load_recipe(recipe), console=QUIET).path
    final = run / "final"
    if "r" in method:
        base = AutoModelForSequenceClassification.from_pretrained(tiny_llama_dir, num_labels=1)
        plain: Any = peft.PeftModel.from_pretrained(base, final)
        assert json.loads((final / "adapter_config.json").read_text())["task_type"] == "SEQ_CLS"
        base.config.pad_token_id = AutoTokenizer.from_pretrained(final).pad_token_id
    else:
        plain = AutoModelForSequenceClassification.from_pretrained(final)
    ids = [[token_ids(row, side, tiny_llama_dir)[0] for side in ("chosen", "rejected")] for row in pairs(8)]
    with torch.no_grad():
        expected = [[float(plain.eval()(input_ids=torch.tensor([one])).logits) for one in row] for row in ids]
        tokenizer = AutoTokenizer.from_pretrained(final)
        padded = tokenizer.pad({"input_ids": [one for row in ids for one in row]}, return_tensors="pt")
        at_once = plain(**padded).logits[:, 0].view(-1, 2)
    torch.testing.assert_close(at_once, torch.tensor(expected), atol=1e-4, rtol=1e-4)
    new = write_pairs(tmp_path / "new.jsonl", pairs(8))
    report, found = score_rows(open_scorer(run), str(new), on_bad_rows="error", tell=lambda line: None)
    for row, (better, worse) in zip(found, expected, strict=True):
        assert row["chosen_score"] == pytest.approx(better, abs=2e-4)
        assert row["margin"] == pytest.approx(better - worse, abs=2e-4)
    assert report.comparisons is not None
    accuracy = report.comparisons.accuracy.value
    assert accuracy == sum(better > worse for better, worse in expected) / 8
    scores = evaluate_target(run, [f"data.test={new}"], console=QUIET).scores
    assert scores.metrics["preference_accuracy"].value == accuracy
    output = tmp_path / "scores.jsonl"
    done = weitiao("score", run, "--data", new, "--output", output, "--json")
    assert done.returncode == 0, done.stderr
    assert [json.loads(line) for line in output.read_text().splitlines()] == found
    assert json.loads(done.stdout)["comparisons"]["accuracy"]["value"] == accuracy
    with pytest.raises(ModelError, match="is a reward model"):
        open_model(run)
    require_same_after_resume(run, 4)
    assert any("score" in name for name in load_file(run / "checkpoints/step-00000004/weights.safetensors"))


def test_numbers_are_learned_from_single_answers(tiny_llama_dir: Path, tmp_path: Path) -> None:
    recipe = reward_recipe(tmp_path, tiny_llama_dir, {"loss": "score"}, data={"train": "rows.jsonl"})
    lines = [json.loads(line) for line in (tmp_path / "rows.jsonl").read_text().splitlines()]
    rows = [{**row, "score": 2.0 * ("red" in row["output"]) - 1} for row in lines]
    write_pairs(tmp_path / "rows.jsonl", rows)
    run = train(load_recipe(recipe, ["train.max_steps=40"]), console=QUIET).path
    model, head = AutoModelForCausalLM.from_pretrained(tiny_llama_dir), first_head()
    squares = []
    for index in shuffled(len(rows), seed=3, epoch=0)[:6]:
        turns = [{"role": "user", "content": f"{rows[index]['instruction']}\n{rows[index]['input']}"}]
        ids, _ = token_ids({"prompt": turns, "chosen": rows[index]["output"]}, "chosen", tiny_llama_dir)
        squares.append(float(no_gradient(model, ids) @ head[0] - rows[index]["score"]) ** 2)
    first, *_, last = (step["loss"] for step in steps_of(run))
    assert first == pytest.approx(sum(squares) / 6, rel=1e-4)
    assert last < 0.6 * first
    report, _ = score_rows(open_scorer(run), str(tmp_path / "rows.jsonl"), on_bad_rows="error", tell=lambda line: None)
    assert report.scores.n == len(rows)
    assert report.comparisons is None
    scored = evaluate_target(run, [f"data.test={tmp_path / 'rows.jsonl'}"], output=run, console=QUIET)
    page = render_report(run)
    assert f"{scored.scores.metrics['squared_error'].value:.4g}" in page


def test_what_gives_no_scores_is_refused(tiny_llama_dir: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="is a model that writes text"):
        open_scorer(tiny_llama_dir)
    with pytest.raises(RecipeError, match="as transformers and PEFT read it"):
        load_recipe(reward_recipe(tmp_path, tiny_llama_dir, {}, method={"type": "adapter"}))


def test_the_whole_work_is_done_with_what_a_reward_model_can_do(tiny_llama_dir: Path, tmp_path: Path) -> None:
    recipe = reward_recipe(tmp_path, tiny_llama_dir, {}, data={"test": "held.jsonl", "validation": 0.2})
    write_pairs(tmp_path / "held.jsonl", pairs(12, start=70))
    result = run_pipeline(load_recipe(recipe), console=QUIET)
    states = {step.name: step.state for step in result.steps}
    assert {name for name, state in states.items() if state == "done"} == {"check", "train", "eval", "report"}
    page = (tmp_path / "run/report.html").read_text(encoding="utf-8")
    scores = json.loads((tmp_path / "run/scores.json").read_text())
    found = scores["details"][scores["primary"]]
    for text in (f"{found['accuracy']['value']:.1%}", f"two are {found['calibration_error']:.1%} apart"):
        assert text in page
    drawing = page.split("Rewards of held-out pairs")[1].partition("</figure>")[0]
    (drawn,) = re.findall(r'<path class="validation mark" d="M([^"]*)"', drawing)
    highs = [1000 * (1 - one["accuracy"]["value"]) for one in found["reliability"]]
    assert [float(point.split()[1].removesuffix("h0")) for point in drawn.split(" M")] == pytest.approx(highs, abs=0.01)
    assert f"{found['length_agreement']['value']:.1%}" in page
    assert "nats per target" not in page
    again = run_pipeline(load_recipe(recipe), console=QUIET)
    assert "done" not in {step.state for step in again.steps}


def test_rewards_are_held_against_the_pairs_by_hand() -> None:
    rewards = [(2.0, 1.0), (0.5, 0.75), (3.0, -3.0), (0.0, 0.1)]
    found = compare_rewards(rewards, [(5, 3), (4, 9), (2, 2), (8, 7)])
    assert found.accuracy.value == 0.5
    assert found.longer.value == 0.5
    assert found.length_agreement.value == 0.5  # the first, where the longer one is higher, and the second
    flat, lengths = [x for one in rewards for x in one], [5, 3, 4, 9, 2, 2, 8, 7]
    mean_r, mean_l = sum(flat) / 8, sum(lengths) / 8
    up = sum((r - mean_r) * (length - mean_l) for r, length in zip(flat, lengths, strict=True))
    down = sum((r - mean_r) ** 2 for r in flat) * sum((length - mean_l) ** 2 for length in lengths)
    assert found.length_correlation == pytest.approx(up / down**0.5)
    sure = [1 / (1 + 2.718281828459045 ** -abs(a - b)) for a, b in rewards]
    groups = {0.5: [1, 3], 0.7: [0], 0.9: [2]}
    expected = sum(
        len(rows) * abs(sum(sure[i] for i in rows) / len(rows) - sum(i in (0, 2) for i in rows) / len(rows))
        for rows in groups.values()
    )
    assert found.calibration_error == pytest.approx(expected / 4)
    assert [one.accuracy.n for one in found.reliability] == [2, 1, 1]
