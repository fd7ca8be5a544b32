"""The loop against plain transformers, PEFT and PyTorch; and the equalities that a step must keep."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from peft import AutoPeftModelForCausalLM, LoraConfig, get_peft_model
from reference import plain_loop, plain_sequences, sequence_loss_sum
from transformers import AutoModelForCausalLM, AutoTokenizer
from workbench import (
    INSTRUCTION,
    final_weights,
    steps_of,
    torchrun,
    weitiao,
    write_long_rows,
    write_recipe,
    write_rows,
)

from weitiao.models.attention import FOREST
from weitiao.objectives.sft import Sft
from weitiao.recipe import load_recipe
from weitiao.rendering.items import as_items
from weitiao.study.train import train
from weitiao.training.item_losses import mean_loss
from weitiao.training.validation import validation_losses

LINEAR = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]


def losses(run: Path) -> list[float]:
    return [line["loss"] for line in steps_of(run)]


def run_recipe(recipe: Path, *overrides: str) -> Path:
    return train(load_recipe(recipe, overrides)).path


@pytest.mark.parametrize("weigh", ["tokens", "rows"])
def test_five_steps_equal_a_plain_loop_with_transformers_and_peft(
    weigh: str, tiny_llama_dir: Path, tmp_path: Path
) -> None:
    settings = {"max_steps": 5, "warmup": 0, "weight_decay": 0.1, "seed": 7, "weigh": weigh}
    recipe = write_recipe(tmp_path, tiny_llama_dir, train=settings)
    run = run_recipe(recipe)

    torch.manual_seed(7)
    model = get_peft_model(
        AutoModelForCausalLM.from_pretrained(tiny_llama_dir, attn_implementation="eager"),
        LoraConfig(task_type="CAUSAL_LM", r=4, lora_alpha=8, target_modules=LINEAR),
    )
    sequences = plain_sequences(tmp_path / "rows.jsonl", tiny_llama_dir)
    expected = plain_loop(model, sequences, steps=5, seed=7, learning_rate=0.01, weight_decay=0.1, weigh=weigh)
    assert losses(run) == pytest.approx(expected, rel=1e-5)
    assert expected[-1] < 0.9 * expected[0]

    reloaded = AutoPeftModelForCausalLM.from_pretrained(run / "final", attn_implementation="eager")
    ids = torch.tensor([sequences[0].token_ids.tolist()])
    torch.testing.assert_close(reloaded(input_ids=ids).logits, model.eval()(input_ids=ids).logits, atol=1e-4, rtol=1e-4)
    saved = AutoTokenizer.from_pretrained(run / "final")
    assert saved.chat_template == AutoTokenizer.from_pretrained(tiny_llama_dir).chat_template


@pytest.mark.parametrize(
    "overrides",
    [
        ["train.token_budget=100", "train.share_prefixes=false"],
        ["train.token_budget=100"],
        ["train.share_prefixes=false"],
        ["method.fused=false"],
    ],
    ids=["eight forests of one sequence", "several shared forests", "nothing shared", "not fused"],
)
def test_a_step_means_the_same_however_it_is_computed(
    overrides: list[str], tiny_llama_dir: Path, tmp_path: Path
) -> None:
    whole = run_recipe(write_recipe(tmp_path / "whole", tiny_llama_dir, train={"max_steps": 8}))
    other = run_recipe(write_recipe(tmp_path / "other", tiny_llama_dir, train={"max_steps": 8}), *overrides)
    assert losses(other) == pytest.approx(losses(whole), rel=1e-5)
    assert [line["num_sequences"] for line in steps_of(other)] == [8] * 8
    if len(overrides) == 2:
        assert [line["num_forests"] for line in steps_of(other)] == [8] * 8


def test_two_ranks_equal_one(tiny_llama_dir: Path, tmp_path: Path) -> None:
    settings = {"max_steps": 6, "batch_size": 9, "token_budget": 110}
    data = {"validation": "held_out.jsonl", "replay": {"share": 0.1, "path": "general.jsonl"}}
    results = []
    for name, ranks in (("one", 1), ("two", 2)):
        recipe = write_recipe(tmp_path / name, tiny_llama_dir, train=settings, data=data)
        write_rows(tmp_path / name / "held_out.jsonl", 7, start=1000)
        write_long_rows(tmp_path / name / "general.jsonl", 10, words=8)
        words = "train", recipe, "train.validate_every=3"
        done = weitiao(*words) if ranks == 1 else torchrun(ranks, *words)
        assert done.returncode == 0, done.stderr
        results.append(tmp_path / name / "run")
    one, two = results
    assert len({line["num_forests"] % 2 for line in steps_of(one)}) == 2  # some steps leave a rank without work
    assert losses(two) == pytest.approx(losses(one), rel=1e-6)
    for a, b in zip(steps_of(one), steps_of(two), strict=True):
        assert a["sources"].keys() == b["sources"].keys()
        assert all(b["sources"][name] == pytest.approx(a["sources"][name], rel=1e-5) for name in a["sources"])
    lines = [[json.loads(x) for x in (r / "metrics.jsonl").read_text().splitlines()] for r in results]
    held_out = [[x["validation_loss"] for x in run if "validation_loss" in x] for run in lines]
    assert len(held_out[0]) == 2
    assert held_out[1] == pytest.approx(held_out[0], rel=1e-6)


def test_validation_loss_is_the_same_unpadded_packed_and_shared(tiny_llama_dir: Path, tmp_path: Path) -> None:
    write_rows(tmp_path / "rows.jsonl", 12)
    sequences = plain_sequences(tmp_path / "rows.jsonl", tiny_llama_dir)
    plain = AutoModelForCausalLM.from_pretrained(tiny_llama_dir, attn_implementation="eager")
    with torch.no_grad():
        expected = sum(sequence_loss_sum(plain, s).item() for s in sequences) / sum(s.weight for s in sequences)
    model = AutoModelForCausalLM.from_pretrained(tiny_llama_dir, attn_implementation=FOREST)
    for budget, share in ((95, False), (500, False), (500, True)):
        items = as_items(sequences)
        found = mean_loss(validation_losses(Sft(model), items, token_budget=budget, share_prefixes=share).items)
        assert found.loss == pytest.approx(expected, rel=1e-6)
        assert found.weight == sum(s.weight for s in sequences)


def test_early_stopping_ends_with_the_best_weights(tiny_llama_dir: Path, tmp_path: Path) -> None:
    recipe = write_recipe(
        tmp_path,
        tiny_llama_dir,
        num_rows=8,
        data={"validation": "held_out.jsonl"},
        train={"max_steps": 60, "learning_rate": 0.3, "schedule": "constant", "validate_every": 1, "patience": 3},
    )
    write_rows(tmp_path / "held_out.jsonl", 8, start=500)
    result = train(load_recipe(recipe))
    lines = [json.loads(line) for line in (result.path / "metrics.jsonl").read_text().splitlines()]
    held_out = [line["validation_loss"] for line in lines if "validation_loss" in line]
    assert result.steps == len(held_out) < 60
    assert held_out.index(min(held_out)) == len(held_out) - 4
    assert result.best_validation_loss == min(held_out)
    best = (result.path / "checkpoints/best/weights.safetensors").read_bytes()
    from safetensors.torch import load

    final, kept = load(final_weights(result.path)), load(best)
    assert {n.replace("model.base_model", "base_model").replace(".default", "") for n in kept} == set(final)
    for name, tensor in kept.items():
        assert torch.equal(tensor, final[name.replace("model.base_model", "base_model").replace(".default", "")])


def test_why_shows_the_rows_of_a_step_worst_first(tiny_llama_dir: Path, tmp_path: Path) -> None:
    run = run_recipe(write_recipe(tmp_path, tiny_llama_dir, train={"max_steps": 3}))
    done = weitiao("why", run, "--step", "2", "-n", "8", "--json")
    rows = json.loads(done.stdout)["rows"]
    assert len(rows) == 8
    assert [r["loss"] for r in rows] == sorted((r["loss"] for r in rows), reverse=True)
    mean = sum(r["loss"] * r["weight"] for r in rows) / sum(r["weight"] for r in rows)
    assert mean == pytest.approx(steps_of(run)[1]["loss"], rel=1e-5)
    assert all(INSTRUCTION in r["prompt"] and r["answer"].endswith("<|im_end|>") for r in rows)
    assert weitiao("why", run, "--step", "9").returncode == 2


def test_a_tracker_gets_what_the_metrics_get(tiny_llama_dir: Path, tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    recipe = write_recipe(tmp_path, tiny_llama_dir, train={"max_steps": 4, "trackers": ["tensorboard"]})
    run = run_recipe(recipe)
    (events,) = run.rglob("events.out.tfevents.*.0")
    read = EventAccumulator(str(events))
    read.Reload()
    assert [point.step for point in read.Scalars("loss")] == [1, 2, 3, 4]
    assert [point.value for point in read.Scalars("loss")] == pytest.approx(losses(run), rel=1e-6)
