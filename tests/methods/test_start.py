"""Trainings that go on from what others left: learning on, or on top of what was merged; by plain PEFT the same."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import AutoPeftModelForCausalLM, LoraConfig, PeftModel, get_peft_model
from reference import plain_loop, plain_sequences
from safetensors.torch import load_file
from torch import nn
from transformers import AutoModelForCausalLM
from workbench import evaluate_target, require_same_after_resume, steps_of, write_recipe, write_rows

from weitiao.errors import ModelError, RecipeError, RunError
from weitiao.export.merge import merge
from weitiao.methods.bottleneck import load_bottleneck, remove_bottleneck
from weitiao.methods.fingerprint import adapter_hash
from weitiao.methods.open import open_model
from weitiao.recipe import load_recipe
from weitiao.study.train import train

LINEAR = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
FIRST: dict[str, dict[str, Any]] = {
    "lora": {"r": 4},
    "ia3": {"type": "peft", "tuner": "ia3"},
    "adapter": {"type": "adapter", "size": 6},
    "full": {"type": "full"},
}


def recipe(directory: Path, model: Path, method: dict[str, Any]) -> Path:
    settings = {"max_steps": 4, "warmup": 0, "seed": 7, "save_every": 2, "keep_checkpoints": 3}
    path = write_recipe(directory, model, train=settings)
    path.write_text(json.dumps({**json.loads(path.read_text()), "method": method}, indent=1))
    return path


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory, tiny_llama_dir: Path) -> dict[str, Path]:
    """A finished run of each method."""
    top = tmp_path_factory.mktemp("first")
    return {name: train(load_recipe(recipe(top / name, tiny_llama_dir, FIRST[name]))).path for name in FIRST}


def merged_lora(run: Path) -> nn.Module:
    return AutoPeftModelForCausalLM.from_pretrained(run / "final", attn_implementation="eager").merge_and_unload()  # type: ignore[no-any-return]


def plain(name: str, first: dict[str, Path], tiny_llama_dir: Path) -> nn.Module:
    """The model of plain transformers and PEFT that a second training begins with."""
    if name == "lora on lora":
        return AutoPeftModelForCausalLM.from_pretrained(  # type: ignore[no-any-return]
            first["lora"] / "final", attn_implementation="eager", is_trainable=True
        )
    if name == "full on full":
        return AutoModelForCausalLM.from_pretrained(first["full"] / "final", attn_implementation="eager")  # type: ignore[no-any-return]
    base = merged_lora(first["lora"])
    if name == "full on lora":
        base.requires_grad_(True)
        return base
    torch.manual_seed(7)
    return get_peft_model(base, LoraConfig(task_type="CAUSAL_LM", r=2, lora_alpha=4, target_modules=LINEAR))


SECOND: dict[str, tuple[str, dict[str, Any]]] = {
    "lora on lora": ("lora", {"r": 4}),
    "smaller lora on lora": ("lora", {"r": 2}),
    "full on lora": ("lora", {"type": "full"}),
    "full on full": ("full", {"type": "full"}),
}


@pytest.mark.parametrize("name", SECOND)
def test_a_start_is_gone_on_from_as_with_plain_peft(
    name: str, first: dict[str, Path], tiny_llama_dir: Path, tmp_path: Path
) -> None:
    of, method = SECOND[name]
    start = shutil.copytree(first[of], tmp_path / "first")
    path = recipe(tmp_path / "second", tiny_llama_dir, {**method, "start": "../first"})
    said: list[str] = []
    run = train(load_recipe(path), tell=said.append).path
    model = plain(name, first, tiny_llama_dir)
    sequences = plain_sequences(tmp_path / "second" / "rows.jsonl", tiny_llama_dir)
    expected = plain_loop(model, sequences, steps=4, seed=7, learning_rate=0.01)
    assert [line["loss"] for line in steps_of(run)] == pytest.approx(expected, rel=2e-5)
    merges = any("is merged into the base model" in line for line in said)
    assert merges == (name in ("smaller lora on lora", "full on lora"))
    assert merges or any("Going on from" in line for line in said)

    ids = torch.tensor([sequences[0].token_ids.tolist()])
    logits = model.eval()(input_ids=ids).logits
    opened = open_model(run, attention="eager").model
    torch.testing.assert_close(opened(input_ids=ids).logits, logits, atol=2e-4, rtol=1e-4)
    if of != "full":
        shutil.rmtree(start)  # a run keeps what it needs of it
    require_same_after_resume(run, 4)


def test_a_stack_goes_through_the_commands_and_opens_with_plain_peft(
    first: dict[str, Path], tiny_llama_dir: Path, tmp_path: Path
) -> None:
    """Three high: a LoRA on an IA3 on a LoRA, and a run that learns on from the top."""
    second = recipe(tmp_path / "second", tiny_llama_dir, {**FIRST["ia3"], "start": str(first["lora"])})
    third = {"r": 2, "start": str(train(load_recipe(second)).path / "final")}
    run = train(load_recipe(recipe(tmp_path / "third", tiny_llama_dir, third))).path
    top = {"r": 2, "start": str(run)}
    path = recipe(tmp_path / "top", tiny_llama_dir, top)
    write_rows(tmp_path / "top" / "test.jsonl", 3, start=80)
    top_run = train(load_recipe(path, ["data.test=test.jsonl", "evaluate.generation.max_new_tokens=2"])).path
    model = AutoModelForCausalLM.from_pretrained(tiny_llama_dir, attn_implementation="sdpa")
    for place in ("start/start", "start"):
        model = PeftModel.from_pretrained(model, top_run / "final" / place).merge_and_unload()
    model = PeftModel.from_pretrained(model, top_run / "final")
    ids = torch.tensor([[5, 7, 13, 9, 301, 11]])
    logits = model(input_ids=ids).logits
    found = open_model(top_run, attention="sdpa").model(input_ids=ids).logits
    torch.testing.assert_close(found, logits, atol=1e-4, rtol=1e-4)
    assert evaluate_target(top_run).scores.metrics["exact_match"].n == 3
    alone = AutoModelForCausalLM.from_pretrained(merge(top_run, tmp_path / "merged").path, attn_implementation="sdpa")
    torch.testing.assert_close(alone(input_ids=ids).logits, logits, atol=1e-4, rtol=1e-4)
    before = adapter_hash(top_run / "final")
    shutil.rmtree(top_run / "final" / "start" / "start")
    assert adapter_hash(top_run / "final") != before


def test_bottleneck_adapters_learn_on(first: dict[str, Path], tiny_llama_dir: Path, tmp_path: Path) -> None:
    path = recipe(tmp_path, tiny_llama_dir, {**FIRST["adapter"], "start": str(first["adapter"])})
    run = train(load_recipe(path, ["train.learning_rate=1e-30", "train.max_steps=1"]))
    old, new = (load_file(one / "final" / "adapter_model.safetensors") for one in (first["adapter"], run.path))
    assert all(torch.allclose(old[name], new[name], atol=1e-20) for name in old)
    with pytest.raises(ModelError, match="not linear, so they cannot be merged: its size is 6, not 5"):
        train(load_recipe(path, ["method.size=5", f"run_dir={tmp_path / 'other'}"]))


def test_bottleneck_adapters_take_turns_on_one_base(
    first: dict[str, Path], tiny_llama_dir: Path, tmp_path: Path
) -> None:
    other = train(
        load_recipe(recipe(tmp_path, tiny_llama_dir, {"type": "adapter", "size": 3, "activation": "relu"}))
    ).path
    ids = torch.tensor([[5, 7, 13, 9, 301, 11]])
    alone = [open_model(run, attention="sdpa").model(input_ids=ids).logits for run in (first["adapter"], other)]
    model = AutoModelForCausalLM.from_pretrained(tiny_llama_dir)
    without = model(input_ids=ids).logits
    assert (alone[0] - alone[1]).abs().max() > 1e-3
    for run, logits in ((first["adapter"], alone[0]), (other, alone[1]), (first["adapter"], alone[0])):
        torch.testing.assert_close(load_bottleneck(model, run / "final")(input_ids=ids).logits, logits)
    remove_bottleneck(model)
    assert torch.equal(model(input_ids=ids).logits, without)


def test_what_cannot_be_a_start_is_said(first: dict[str, Path], tiny_llama_dir: Path, tmp_path: Path) -> None:
    def go(start: Path | str, *overrides: str) -> None:
        train(load_recipe(recipe(tmp_path / "run", tiny_llama_dir, {"r": 4, "start": str(start)}), overrides))

    with pytest.raises(ModelError, match="nothing is neither a run nor an adapter directory"):
        go("nothing")
    with pytest.raises(ModelError, match="is neither a run nor an adapter directory"):
        go(tiny_llama_dir)
    with pytest.raises(RecipeError, match="is a whole model, on which a new adapter would stand"):
        go(first["full"])
    go("", f"model.name={first['full'] / 'final'}", "method.start=null", f"run_dir={tmp_path / 'on-full'}")
    assert open_model(tmp_path / "on-full").model.config._name_or_path == str(first["full"] / "final")
    other = shutil.copytree(tiny_llama_dir, tmp_path / "other")
    AutoModelForCausalLM.from_config(AutoModelForCausalLM.from_pretrained(other).config).save_pretrained(other)
    with pytest.raises(ModelError, match=f"trained on another base model .*{tiny_llama_dir}.*{other}"):
        go(first["lora"], f"model.name={other}")
    unfinished = shutil.copytree(first["lora"], tmp_path / "unfinished")
    shutil.rmtree(unfinished / "final")
    with pytest.raises(RunError, match="has no final weights"):
        go(unfinished)
    with pytest.raises(ModelError, match="cannot be merged into weights that are quantised"):
        go(first["ia3"], "model.quantization=nf4")
    run = train(load_recipe(recipe(tmp_path / "run", tiny_llama_dir, {"r": 4, "start": str(first["lora"])}))).path
    with pytest.raises(RunError, match=r"base model or method\.start is not what"):
        train(load_recipe(run, [f"method.start={first['ia3']}", "train.max_steps=9"]))
