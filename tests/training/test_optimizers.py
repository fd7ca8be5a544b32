"""Optimisers, LoRA+ and checkpointing against PyTorch's own, and the same bytes after a resume."""

from __future__ import annotations

import importlib
import math
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate import Accelerator
from peft import LoraConfig, get_peft_model
from reference import build, forest_rows, plain_loop, plain_sequences
from torch import nn
from transformers import AutoModelForCausalLM
from workbench import final_weights, steps_of, write_recipe

from weitiao.errors import RecipeError
from weitiao.forest.plan import Step, pack
from weitiao.models.attention import FOREST
from weitiao.objectives.sft import Sft
from weitiao.recipe import load_recipe
from weitiao.rendering.items import as_items
from weitiao.study.train import train
from weitiao.training.config import TrainConfig
from weitiao.training.engines import make_engine
from weitiao.training.optimizer import AdaLomoConfig, InBackward, LomoConfig, MuonConfig

LINEAR = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
Parameters = dict[str, nn.Parameter]


def adafactor(named: Parameters) -> torch.optim.Optimizer:
    return torch.optim.Adafactor(named.values(), lr=0.01, weight_decay=0.1)


def momentum(named: Parameters) -> torch.optim.Optimizer:
    return torch.optim.SGD(named.values(), lr=0.01, momentum=0.9)


def plain_sgd(named: Parameters) -> torch.optim.Optimizer:
    return torch.optim.SGD(named.values(), lr=0.01)


class PlainAdaLomo(torch.optim.Optimizer):
    """Algorithm 1 of arXiv 2310.10195, written out, with the constants of the authors' program."""

    def __init__(self, parameters: Any) -> None:
        super().__init__(parameters, {"lr": 0.01})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            for p in group["params"]:
                state, square = self.state[p], p.grad.double() ** 2 + 1e-30
                state["t"] = state.get("t", 0) + 1
                beta = 1 - state["t"] ** -0.8
                for name, mean in (("row", square.mean(1)), ("column", square.mean(0))):
                    state[name] = beta * state.get(name, 0) + (1 - beta) * mean
                second = torch.outer(state["row"], state["column"]) / state["row"].mean()
                update = p.grad.double() / second.sqrt()
                update /= max(1.0, float(update.square().mean().sqrt()))
                size = max(1e-3, float(p.double().square().mean().sqrt()))
                p.add_((-group["lr"] * size * update).float())


def adalomo(named: Parameters) -> torch.optim.Optimizer:
    return PlainAdaLomo(named.values())


def adamw_8bit(named: Parameters) -> torch.optim.Optimizer:
    optim: Any = importlib.import_module("bitsandbytes.optim")
    made: torch.optim.Optimizer = optim.AdamW8bit(named.values(), lr=0.01, weight_decay=0.0)
    return made


class PlainMuon(torch.optim.Optimizer):
    """Momentum, its nearest orthogonal matrix by five steps of Newton-Schulz, and AdamW's size of a step."""

    def __init__(self, parameters: Any) -> None:
        super().__init__(parameters, {"lr": 0.01})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            for p in group["params"]:
                state = self.state[p]
                state["m"] = 0.95 * state.get("m", 0) + 0.05 * p.grad
                x = 0.05 * p.grad + 0.95 * state["m"]
                x = x.bfloat16()
                wide = x.T if x.shape[0] > x.shape[1] else x
                wide = wide / wide.norm().clamp(min=1e-7)
                for _ in range(5):
                    gram = wide @ wide.T
                    wide = 3.4445 * wide + (-4.775 * gram + 2.0315 * gram @ gram) @ wide
                x = wide.T if x.shape[0] > x.shape[1] else wide
                p.add_(x.float(), alpha=-0.2 * group["lr"] * max(p.shape) ** 0.5)


def muon(named: Parameters) -> torch.optim.Optimizer:
    return PlainMuon(named.values())


def lora_plus(named: Parameters) -> torch.optim.Optimizer:
    second = [p for name, p in named.items() if "lora_B" in name]
    first = [p for name, p in named.items() if "lora_A" in name]
    return torch.optim.AdamW([{"params": first}, {"params": second, "lr": 0.16}], lr=0.01, weight_decay=0.0)


CASES: dict[str, tuple[dict[str, Any], Callable[[Parameters], torch.optim.Optimizer] | None]] = {
    "adafactor": ({"optimizer": {"type": "adafactor", "weight_decay": 0.1}}, adafactor),
    "sgd with momentum": ({"optimizer": {"type": "sgd", "momentum": 0.9}}, momentum),
    "sgd": ({"optimizer": {"type": "sgd"}}, plain_sgd),
    "lomo": ({"optimizer": {"type": "lomo"}}, plain_sgd),
    "adalomo": ({"optimizer": {"type": "adalomo"}}, adalomo),
    "adamw8bit": ({"optimizer": {"type": "adamw8bit"}}, adamw_8bit),
    "muon": ({"optimizer": {"type": "muon"}}, muon),
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
    settings = {"max_norm": math.inf if name == "adalomo" else 1.0}
    expected = plain_loop(model, sequences, steps=5, seed=7, learning_rate=0.01, optimizer=optimizer, **settings)
    rounded = {"muon": 1e-3, "adamw8bit": 1e-3}  # products in bfloat16; codes of 8 bits
    assert [line["loss"] for line in steps_of(run)] == pytest.approx(expected, rel=rounded.get(name, 2e-5))

    whole = final_weights(run)
    shutil.rmtree(run / "final")
    shutil.rmtree(run / "checkpoints" / "step-00000005")
    train(load_recipe(path))
    assert final_weights(run) == whole


def test_checkpointing_keeps_a_fraction_for_the_backward_pass(tiny_llama_dir: Path, tmp_path: Path) -> None:
    kept = {}
    for checkpointing in (False, 1, 2):
        path = write_recipe(tmp_path / str(checkpointing), tiny_llama_dir, train={"max_steps": 1})
        sizes: list[int] = []

        def note(tensor: torch.Tensor, sizes: list[int] = sizes) -> torch.Tensor:
            sizes.append(tensor.numel())
            return tensor

        recipe = load_recipe(path, [f"train.checkpointing={checkpointing}", "method.fused=false"])
        with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
            train(recipe)
        kept[checkpointing] = sum(sizes)
    assert kept[1] < 0.5 * kept[False]
    assert 1.2 * kept[1] < kept[2] < 0.85 * kept[False]  # two layers, and the head


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


@pytest.mark.parametrize("kind", ["lomo", "adalomo"])
def test_a_gradient_that_is_not_finite_updates_nothing_from_there_on(kind: str) -> None:
    model = build("llama", FOREST)
    settings: InBackward = LomoConfig(type="lomo") if kind == "lomo" else AdaLomoConfig(type="adalomo")
    optimizer = settings.build([{"params": list(model.parameters())}], model, learning_rate=0.1)
    config = TrainConfig(max_grad_norm=None)
    items = as_items(forest_rows())
    engine = make_engine(config, settings, Accelerator(cpu=True), Sft(model), optimizer)
    layers = model.model.layers
    layers[1].mlp.up_proj.weight.register_hook(lambda gradient: gradient.fill_(math.inf))
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    engine.begin_step(0.1)
    engine.accumulate(Step(pack(items, token_budget=999, share_prefixes=True)), 1.0, lambda index: 0)
    assert not math.isfinite(engine.finish(None))
    moved = {name for name, p in model.named_parameters() if not torch.equal(p, before[name])}
    assert all(torch.isfinite(p).all() for p in model.parameters())
    assert "model.layers.1.mlp.down_proj.weight" in moved
    assert not any(".layers.0." in name or "up_proj" in name for name in moved)


def test_moments_in_eight_bits_are_those_of_bitsandbytes_and_survive_a_resume(
    tiny_llama_dir: Path, tmp_path: Path
) -> None:
    settings = {"max_steps": 4, "warmup": 0, "seed": 7, "save_every": 2, "learning_rate": 0.001}
    path = write_recipe(tmp_path, tiny_llama_dir, train=settings, optimizer={"type": "adamw8bit"})
    path.write_text(path.read_text().replace('"r": 4', '"type": "full"'))
    run = train(load_recipe(path)).path
    model = AutoModelForCausalLM.from_pretrained(tiny_llama_dir, attn_implementation="eager")
    optim: Any = importlib.import_module("bitsandbytes.optim")
    optimizer = optim.AdamW8bit(model.parameters(), lr=0.001, weight_decay=0.0)
    sequences = plain_sequences(tmp_path / "rows.jsonl", tiny_llama_dir)
    expected = plain_loop(model, sequences, steps=4, seed=7, learning_rate=0.001, optimizer=optimizer)
    assert [line["loss"] for line in steps_of(run)] == pytest.approx(expected, rel=2e-4)
    kept = run / "checkpoints" / "step-00000004"
    weights, moments = (kept / f"{name}.safetensors" for name in ("weights", "optimizer"))
    assert moments.stat().st_size < weights.stat().st_size  # AdamW's are twice as large as the weights
    whole = (run / "final" / "model.safetensors").read_bytes()
    shutil.rmtree(run / "final")
    shutil.rmtree(kept)
    train(load_recipe(path))
    assert (run / "final" / "model.safetensors").read_bytes() == whole


def test_muon_leaves_embeddings_head_and_vectors_to_adamw() -> None:
    mine, plain = build("llama", "eager"), build("llama", "eager")
    fast = [p for name, p in mine.named_parameters() if "q_proj" in name]
    slow = [p for name, p in mine.named_parameters() if "q_proj" not in name]
    settings = MuonConfig(type="muon", weight_decay=0.1)
    optimizer = settings.build([{"params": slow}, {"params": fast, "lr_factor": 2.0}], mine, learning_rate=0.01)
    parameters = dict(plain.named_parameters())
    matrices = {name: p for name, p in parameters.items() if name.endswith("proj.weight")}
    others = [p for name, p in parameters.items() if name not in matrices]
    groups = [{"params": [p for name, p in matrices.items() if ("q_proj" in name) == q]} for q in (False, True)]
    muon = torch.optim.Muon(groups, lr=0.01, weight_decay=0.1, adjust_lr_fn="match_rms_adamw")
    muon.param_groups[1]["lr"] = 0.02
    adamw = torch.optim.AdamW(others, lr=0.01, weight_decay=0.1)
    for step in range(3):
        for group in optimizer.param_groups:
            group["lr"] = 0.01 * group.get("lr_factor", 1.0)
        for name, p in mine.named_parameters():
            p.grad = torch.randn(p.shape, generator=torch.Generator().manual_seed(step))
            parameters[name].grad = p.grad.clone()
        for one in (optimizer, muon, adamw):
            one.step()
        optimizer.load_state_dict(optimizer.state_dict())
    for name, p in mine.named_parameters():
        torch.testing.assert_close(p, parameters[name], rtol=1e-6, atol=1e-7)
