"""DPO through the real training against a plain loop over single sequences; forests, ranks, kill and resume."""

from __future__ import annotations

import json
import math
import shutil
import signal
from pathlib import Path

import peft
import pytest
import torch
from comparing import log_probability, pairs, pairs_recipe, token_ids, write_pairs
from rich.console import Console
from transformers import AutoModelForCausalLM, get_cosine_schedule_with_warmup
from workbench import (
    evaluate_target,
    final_weights,
    require_same_after_resume,
    signal_after,
    steps_of,
    weitiao,
    write_rows,
)

from weitiao.errors import DataError, RecipeError, RunError
from weitiao.recipe import load_recipe
from weitiao.seeding import shuffled
from weitiao.study.compare.run import compare_targets
from weitiao.study.dataset import load_rendered
from weitiao.study.train import train
from weitiao.study.why import answers_of_run, rows_behind

QUIET = Console(quiet=True)
FULL = {
    "method": {"type": "full"},
    "train": {"max_steps": 4, "batch_size": 6, "seed": 3, "learning_rate": 1e-3, "warmup": 0},
}


def full_recipe(directory: Path, model: Path, **objective: object) -> Path:
    path = pairs_recipe(directory, model, objective={"type": "dpo", **objective}, **FULL)
    path.write_text(path.read_text().replace('"r": 4,', ""))
    return path


@pytest.mark.parametrize("loss", ["sigmoid", "simpo"])
def test_steps_are_those_of_a_plain_loop_over_single_sequences(loss: str, tiny_llama_dir: Path, tmp_path: Path) -> None:
    run = train(load_recipe(full_recipe(tmp_path, tiny_llama_dir, loss=loss, sft_weight=0.5)), console=QUIET).path
    model, frozen = (AutoModelForCausalLM.from_pretrained(tiny_llama_dir) for _ in range(2))
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.0, eps=1e-8)
    schedule = get_cosine_schedule_with_warmup(optimizer, 0, 4)
    rows, order = pairs(24), shuffled(24, seed=3, epoch=0)
    for step in range(4):
        losses, right = [], []
        for index in order[step * 6 : step * 6 + 6]:
            (w, prompt), (v, _) = (token_ids(rows[index], side, tiny_llama_dir) for side in ("chosen", "rejected"))
            of_w, of_v = log_probability(model, w, prompt), log_probability(model, v, prompt)
            if loss == "sigmoid":
                with torch.no_grad():
                    shift = log_probability(frozen, w, prompt) - log_probability(frozen, v, prompt)
                margin = 0.1 * (of_w - of_v - shift)
            else:
                margin = 2.0 * (of_w / (len(w) - prompt) - of_v / (len(v) - prompt))
            losses.append(torch.nn.functional.softplus(-margin) - 0.5 * of_w / (len(w) - prompt))
            right.append(margin.item())
        mean = torch.stack(losses).mean()
        mean.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        line = steps_of(run)[step]
        assert line["loss"] == pytest.approx(mean.item(), rel=2e-5)
        assert line["margin"] == pytest.approx(sum(right) / 6, rel=1e-3, abs=1e-6)
        if step or loss == "simpo":
            assert line["accuracy"] == pytest.approx(sum(one > 0 for one in right) / 6)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()


def test_forests_budgets_and_ranks_change_nothing(tiny_llama_dir: Path, tmp_path: Path) -> None:
    settings = ["train.max_steps=5", "train.batch_size=5", "train.validate_every=5", "data.validation=0.2"]
    found = {}
    for name, further, ranks in (
        ("whole", [], 1),
        ("alone", ["train.share_prefixes=false", "train.token_budget=200"], 1),
        ("two", ["train.token_budget=200"], 2),
    ):
        recipe = pairs_recipe(tmp_path / name, tiny_llama_dir, objective={"type": "dpo"})
        done = weitiao("train", recipe, *settings, *further, ranks=ranks)
        assert done.returncode == 0, done.stderr
        found[name] = steps_of(tmp_path / name / "run")
        lines = map(json.loads, (tmp_path / name / "run/metrics.jsonl").read_text().splitlines())
        found[name].append(next(line for line in lines if "validation_loss" in line))
    for name in ("alone", "two"):
        for mine, other in zip(found["whole"], found[name], strict=True):
            for key in ("loss", "margin", "reward_chosen", "logprob_rejected", "validation_loss", "validation_margin"):
                if key in mine:
                    assert other[key] == pytest.approx(mine[key], rel=1e-4, abs=2e-6), (name, key)
    assert found["whole"][0]["num_computed_tokens"] < 0.6 * found["whole"][0]["num_tokens"]  # prompts are shared
    assert found["alone"][0]["num_forests"] > 1
    assert found["whole"][0]["loss"] == pytest.approx(math.log(2), abs=1e-6)


def test_a_killed_run_goes_on_to_the_same_bytes_by_the_reference_that_it_kept(
    tiny_llama_dir: Path, tmp_path: Path
) -> None:
    recipe = pairs_recipe(tmp_path, tiny_llama_dir, objective={"type": "dpo"}, train={"max_steps": 12, "save_every": 3})
    run = tmp_path / "run"
    killed = weitiao("train", recipe, meanwhile=signal_after(run, 5, signal.SIGKILL))
    assert killed.returncode == -signal.SIGKILL
    assert weitiao("train", run).returncode == 0
    after = final_weights(run)
    shutil.move(run, tmp_path / "resumed")
    train(load_recipe(recipe), console=QUIET)
    assert final_weights(run) == after
    shutil.rmtree(run / "reference")
    shutil.rmtree(run / "final")
    shutil.rmtree(run / "checkpoints/step-00000012")
    with pytest.raises(RunError, match="its model has learned since"):
        train(load_recipe(run), console=QUIET)


def test_a_run_is_evaluated_on_held_out_pairs_by_what_it_said_before_it_learned(
    tiny_llama_dir: Path, tmp_path: Path
) -> None:
    recipe = pairs_recipe(
        tmp_path,
        tiny_llama_dir,
        objective={"type": "dpo"},
        data={"test": "held.jsonl"},
        train={"max_steps": 6},
        evaluate={"metrics": ["contains"], "generation": {"max_new_tokens": 2}},
    )
    held = pairs(9, start=50)
    write_pairs(tmp_path / "held.jsonl", held)
    run = train(load_recipe(recipe), console=QUIET).path
    scores = evaluate_target(run, console=QUIET).scores
    tuned = peft.AutoPeftModelForCausalLM.from_pretrained(run / "final").eval()
    margins = []
    with torch.no_grad():
        for row in held:
            better, worse = (token_ids(row, side, tiny_llama_dir) for side in ("chosen", "rejected"))
            now = log_probability(tuned, *better) - log_probability(tuned, *worse)
            with tuned.disable_adapter():
                before = log_probability(tuned, *better) - log_probability(tuned, *worse)
            margins.append(0.1 * float(now - before))
    found = scores.metrics["preference_accuracy"]
    assert (found.value, found.n) == (sum(one > 0 for one in margins) / 9, 9)
    assert scores.details["preference_accuracy"]["margin"] == pytest.approx(sum(margins) / 9, rel=1e-3)
    assert scores.metrics["longer_is_better"].value == sum(len(r["chosen"]) > len(r["rejected"]) for r in held) / 9
    assert scores.metrics["contains"].n == 9
    behind = rows_behind(run, 2, num=3)
    for better, worse in zip(behind[::2], behind[1::2], strict=True):
        row = pairs(24)[int(better.row_id.rpartition(":")[2]) - 1]
        assert (better.label, better.answer.strip()) == ("better", row["chosen"] + "<|im_end|>")
        assert (worse.label, worse.answer.strip()) == ("worse", row["rejected"] + "<|im_end|>")
        assert row["prompt"][-1]["content"] in better.prompt
    with pytest.raises(RunError, match="no answers of its own"):
        answers_of_run(run, 3)
    compared = compare_targets(f"base:{run}", str(run), data=tmp_path / "held.jsonl", console=QUIET)
    assert [one.expected for one in compared.after] == [row["chosen"] for row in held]
    shutil.rmtree(run / "reference")  # the base model says the same
    again = evaluate_target(run, console=QUIET).scores.details["preference_accuracy"]
    assert again["margin"] == pytest.approx(sum(margins) / 9, rel=1e-3)


def test_the_reference_of_a_run_that_stands_on_another_is_that_other(tiny_llama_dir: Path, tmp_path: Path) -> None:
    first = pairs_recipe(tmp_path / "first", tiny_llama_dir, objective={"type": "dpo"}, train={"max_steps": 4})
    train(load_recipe(first), console=QUIET)
    second = pairs_recipe(
        tmp_path / "second",
        tiny_llama_dir,
        objective={"type": "dpo"},
        method={"start": str(tmp_path / "first/run")},
        train={"max_steps": 4, "save_every": 2},
    )
    run = train(load_recipe(second), console=QUIET).path
    assert steps_of(run)[0]["loss"] == pytest.approx(math.log(2), abs=1e-6)  # nothing has moved yet
    assert steps_of(run)[-1]["margin"] > 0.01
    require_same_after_resume(run, 4)


def test_rows_that_cannot_be_learned_from_are_named(tiny_llama_dir: Path, tmp_path: Path) -> None:
    recipe = pairs_recipe(
        tmp_path, tiny_llama_dir, objective={"type": "dpo"}, rendering={"max_length": 120}, train={"max_steps": 1}
    )
    rows = pairs(6)
    rows[1]["rejected"] = rows[1]["chosen"]
    rows[2]["chosen"] = " "
    write_pairs(tmp_path / "pairs.jsonl", rows)
    with pytest.raises(DataError, match=r"pairs\.jsonl.*row 2.*the same as `chosen`"):
        train(load_recipe(recipe), console=QUIET)
    rows[3]["prompt"][1]["content"] = "what colour? " * 60
    write_pairs(tmp_path / "pairs.jsonl", rows)
    told: list[str] = []
    train(load_recipe(recipe, ["data.on_bad_rows=skip"]), console=QUIET, tell=told.append)
    assert any("4 rows, 2 rejected" in line for line in told)
    assert any("longer than 120 tokens" in line and "pairs.jsonl:4" in line for line in told)
    rejected = [json.loads(line) for line in (tmp_path / "run/rejected.jsonl").read_text().splitlines()]
    assert len(rejected) == 2
    assert "answer is empty" in json.dumps(rejected[1])


def test_rows_of_another_kind_are_refused_with_what_makes_pairs_of_them(tiny_llama_dir: Path, tmp_path: Path) -> None:
    recipe = pairs_recipe(tmp_path, tiny_llama_dir, objective={"type": "dpo"})
    with pytest.raises(RecipeError, match="prompts are not learned"):
        load_recipe(recipe, ["rendering.train_on_prompt=true"])
    write_rows(tmp_path / "pairs.jsonl", 4)
    with pytest.raises(DataError, match="columns `chosen` and `rejected`"):
        train(load_recipe(recipe), console=QUIET)
    marked = [{"prompt": "a", "completion": "b", "label": True}, {"prompt": "a", "completion": "c", "label": False}]
    write_pairs(tmp_path / "pairs.jsonl", marked)
    with pytest.raises(DataError) as caught:
        train(load_recipe(recipe), console=QUIET)
    assert "weitiao data convert" in str(caught.value.remedy)
    assert "--to preference" in str(caught.value.remedy)


def test_transcripts_with_a_common_beginning_are_pairs(tiny_llama_dir: Path, tmp_path: Path) -> None:
    recipe = pairs_recipe(tmp_path, tiny_llama_dir, objective={"type": "dpo"})
    begun = "\n\nHuman: is it red?\n\nAssistant: no\n\nHuman: blue?\n\nAssistant:"
    write_pairs(tmp_path / "pairs.jsonl", [{"chosen": f"{begun} yes it is", "rejected": f"{begun} who knows"}])
    ((better, worse),) = [item.sequences for item in load_rendered(load_recipe(recipe), tell=lambda line: None).train]
    row = {
        "prompt": [
            {"role": "user", "content": "is it red?"},
            {"role": "assistant", "content": "no"},
            {"role": "user", "content": "blue?"},
        ],
        "chosen": "yes it is",
        "rejected": "who knows",
    }
    for sequence, side in ((better, "chosen"), (worse, "rejected")):
        ids, given = token_ids(row, side, tiny_llama_dir)
        assert sequence.token_ids.tolist() == ids
        assert sequence.weights.tolist() == [0.0] * given + [1.0] * (len(ids) - given)
