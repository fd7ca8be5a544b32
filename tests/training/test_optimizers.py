"""Optimisers, LoRA+ and checkpointing against PyTorch's own, and the same bytes after a resume."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from reference import plain_loop, plain_sequences
from torch import nn
from transformers import AutoModelForCausalLM
from workbench import final_weights, steps_of, write_recipe

from weitiao.errors import RecipeError
from weitiao.recipe import load_recipe
from weitiao.study.train import train

LINEAR = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
Parameters = dict[str, nn.Parameter]


def adafactor(named: Parameters) -> torch.optim.Optimizer:
    return torch.optim.Adafactor(named.values(), lr=0.01, weight_decay=0.1)


def momentum(named: Parameters) -> torch.optim.Optimizer:
    return torch.optim.SGD(named.values(), lr=0.01, momentum=0.9)


def plain_sgd(named: Parameters) -> torch.optim.Optimizer:
    return torch.optim.SGD(named.values(), lr=0.01)


def lora_plus(named: Parameters) -> torch.optim.Optimizer:
    second = [p for name, p in named.items() if "lora_B" in name]
    first = [p for name, p in named.items() if "lora_A" in name]
    return torch.optim.AdamW([{"params": first}, {"params": second, "lr": 0.16}], lr=0.01, weight_decay=0.0)


CASES: dict[str, tuple[dict[str, Any], Callable[[Parameters], torch.optim.Optimizer] | None]] = {
    "adafactor": ({"optimizer": {"type": "adafactor", "weight_decay": 0.1}}, adafactor),
    "sgd with momentum": ({"optimizer": {"type": "sgd", "momentum": 0.9}}, momentum),
    "sgd": ({"optimizer": {"type": "sgd"}}, plain_sgd),
    "lomo": ({"optimizer": {"type": "lomo"}}, plain_sgd),
    "lora+": ({"method": {"plus_ratio": 16}}, lora_plus),
    "ranks by pattern": ({"method": {"rank_pattern": {"down_proj": 2}, "alpha_pattern": {"q_proj": 3}}}, None),
    "checkpointing": ({"train": {"checkpointing": True}}, None),
    "checkpointing, not fused": ({"train": {"checkpointing": True}, "method": {"fused": False}}, None),
}


@pytest.mark.parametrize("name", CASES)
def test_steps_equal_a_plain_loop_and_a_resume_leaves_the_same_bytes(
    name: str, tiny_llama_dir: Path, tmp_path: Path
) -> None:
    sections, make = CASES[name]
    settings = {"max_steps": 5, "warmup": 0, "seed": 7, "save_every": 2, "keep_checkpoints": 3}
    sections = {**sections, "train": {**settings, **sections.get("train", {})}}
    path = write_recipe(tmp_path, tiny_llama_dir, **sections)
    run = train(load_recipe(path)).path
    torch.manual_seed(7)
    patterns = {k: v for k, v in sections.get("method", {}).items() if k.endswith("_pattern")}
    base = AutoModelForCausalLM.from_pretrained(tiny_llama_dir, attn_implementation="eager")
    config = LoraConfig(task_type="CAUSAL_LM", r=4, lora_alpha=8, target_modules=LINEAR, **patterns)
    model = get_peft_model(base, config)
    learned = {key: p for key, p in model.named_parameters() if p.requires_grad}
    sequences = plain_sequences(tmp_path / "rows.jsonl", tiny_llama_dir)
    optimizer = make(learned) if make else None
    expected = plain_loop(model, sequences, steps=5, seed=7, learning_rate=0.01, optimizer=optimizer)
    assert [line["loss"] for line in steps_of(run)] == pytest.approx(expected, rel=2e-5)

    whole = final_weights(run)
    shutil.rmtree(run / "final")
    shutil.rmtree(run / "checkpoints" / "step-00000005")
    train(load_recipe(path))
    assert final_weights(run) == whole


def test_checkpointing_keeps_a_fraction_for_the_backward_pass(tiny_llama_dir: Path, tmp_path: Path) -> None:
    kept = {}
    for checkpointing in (False, True):
        path = write_recipe(tmp_path / str(checkpointing), tiny_llama_dir, train={"max_steps": 1})
        sizes: list[int] = []

        def note(tensor: torch.Tensor, sizes: list[int] = sizes) -> torch.Tensor:
            sizes.append(tensor.numel())
            return tensor

        recipe = load_recipe(path, [f"train.checkpointing={checkpointing}", "method.fused=false"])
        with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
            train(recipe)
        kept[checkpointing] = sum(sizes)
    assert kept[True] < 0.5 * kept[False]


COUNTING = """
from pathlib import Path

from weitiao.methods.full import Full


class Counted(Full):
    def apply(self, model, *, seed):
        model = super().apply(model, seed=seed)
        parameters, most = list(model.parameters()), Path(__file__).with_name("most")

        def count(parameter):
            alive = sum(p.grad.numel() for p in parameters if p.grad is not None)
            most.write_text(str(max(alive, int(most.read_text()) if most.exists() else 0)))

        for parameter in parameters:
            parameter.register_post_accumulate_grad_hook(count)
        return model
"""


def test_with_lomo_all_gradients_never_exist(tiny_llama_dir: Path, tmp_path: Path) -> None:
    most = {}
    for name in ("lomo", "sgd"):
        path = write_recipe(tmp_path / name, tiny_llama_dir, train={"max_steps": 2}, optimizer={"type": name})
        path.write_text(path.read_text().replace('"r": 4', '"type": "my.py:Counted"'))
        (tmp_path / name / "my.py").write_text(COUNTING)
        train(load_recipe(path))
        most[name] = int((tmp_path / name / "most").read_text())
    model = AutoModelForCausalLM.from_pretrained(tiny_llama_dir)
    assert most["lomo"] == max(p.numel() for p in model.parameters())
    assert most["sgd"] == sum(p.numel() for p in model.parameters())


def test_a_step_that_lomo_cannot_compute_at_once_is_refused_before_the_first(
    tiny_llama_dir: Path, tmp_path: Path
) -> None:
    path = write_recipe(tmp_path, tiny_llama_dir, optimizer={"type": "lomo"})
    with pytest.raises(RecipeError, match=r"the longest 8 rows have .* tokens, not 300"):
        train(load_recipe(path, ["train.token_budget=300"]))
