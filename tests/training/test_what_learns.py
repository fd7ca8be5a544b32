"""What is named to learn does learn, whatever layer it is; what cannot is refused by name."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from rich.console import Console
from safetensors.torch import load_file
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    BertConfig,
    BertLMHeadModel,
    FalconConfig,
    FalconForCausalLM,
    Gemma3Config,
    Gemma3ForConditionalGeneration,
    GPT2Config,
    GPT2LMHeadModel,
    MptConfig,
    MptForCausalLM,
    PreTrainedModel,
)
from workbench import write_recipe

from weitiao.errors import ModelError, RecipeError, TrainingError
from weitiao.evaluation.likelihood import likelihoods
from weitiao.methods.adapter import load_adapter
from weitiao.methods.lora import LoraConfig as Lora
from weitiao.models.attention import FOREST
from weitiao.recipe import load_recipe
from weitiao.rendering.items import TokenSequence
from weitiao.study.dataset import NO_LIMIT, model_context
from weitiao.study.train import train
from weitiao.training.unmoved import require_moved


@pytest.fixture
def untied_dir(tiny_llama_dir: Path, tmp_path: Path) -> Path:
    directory = tmp_path / "untied"
    shutil.copytree(tiny_llama_dir, directory)
    model = AutoModelForCausalLM.from_pretrained(tiny_llama_dir, tie_word_embeddings=False)
    model.lm_head.weight = torch.nn.Parameter(model.lm_head.weight.detach().clone())
    model.config.tie_word_embeddings = False
    model.save_pretrained(directory)
    return directory


def saved(model: PreTrainedModel, tokenizer_from: Path, directory: Path) -> Path:
    model.save_pretrained(directory)
    AutoTokenizer.from_pretrained(tokenizer_from).save_pretrained(directory)
    return directory


def trained(model: Path, directory: Path, **sections: Any) -> dict[str, torch.Tensor]:
    recipe = load_recipe(write_recipe(directory, model, num_rows=12, **sections))
    return load_file(train(recipe, console=Console(quiet=True)).path / "final/adapter_model.safetensors")


@pytest.mark.parametrize("tied", [True, False], ids=["tied", "untied"])
def test_an_adapter_on_the_head_learns(tied: bool, tiny_llama_dir: Path, untied_dir: Path, tmp_path: Path) -> None:
    base = tiny_llama_dir if tied else untied_dir
    tensors = trained(base, tmp_path, method={"target_modules": ["lm_head"]}, train={"epochs": 4})
    (name,) = [name for name in tensors if "lora_B" in name]
    assert "lm_head" in name
    assert tensors[name].norm() > 0.01
    losses = [json.loads(line)["loss"] for line in (tmp_path / "run/metrics.jsonl").read_text().splitlines()]
    assert losses[-1] < losses[0] - 0.05


def test_the_loss_of_a_foreign_adapter_on_the_head_is_pefts(untied_dir: Path, tmp_path: Path) -> None:
    plain = AutoModelForCausalLM.from_pretrained(untied_dir)
    made = get_peft_model(plain, LoraConfig(r=4, target_modules=["q_proj", "lm_head"], task_type="CAUSAL_LM"))
    torch.manual_seed(0)
    for name, parameter in made.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.3)
    made.save_pretrained(tmp_path / "foreign")
    rows = [TokenSequence.of(str(i), tuple(range(5, 25 + i)), (0.0,) * 8 + (1.0,) * (12 + i)) for i in range(3)]
    expected = 0.0
    for row in rows:
        ids = torch.tensor([row.token_ids.tolist()])
        with torch.no_grad():
            logits = made.eval()(input_ids=ids).logits[0, 7:-1]
        expected += torch.nn.functional.cross_entropy(logits, ids[0, 8:], reduction="sum").item()
    base = AutoModelForCausalLM.from_pretrained(untied_dir, attn_implementation=FOREST)
    opened = load_adapter(base, tmp_path / "foreign")
    assert isinstance(opened, PeftModel)
    found = likelihoods(opened, rows, token_budget=64)
    assert -sum(one.log_likelihood for one in found) == pytest.approx(expected, rel=1e-5)


def test_what_the_loss_does_not_depend_on_is_named_after_training() -> None:
    model = torch.nn.Module()
    model.used = torch.nn.ModuleList([torch.nn.Linear(3, 3, bias=False) for _ in range(2)])
    model.still = torch.nn.Linear(3, 3, bias=False)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.1)
    for _ in range(2):
        optimizer.zero_grad()
        (model.used[0](torch.ones(3)).sum() + 0 * model.still(torch.ones(3)).sum()).backward()
        optimizer.step()
    with pytest.raises(TrainingError, match=r"1 of 3 learned tensors did not move in 2 steps.*still\.weight"):
        require_moved(model, optimizer, steps=2)
    model.still.requires_grad_(False)
    assert require_moved(model, optimizer, steps=2) == ["used.1.weight"]


def test_one_step_moves_only_one_factor_of_lora_and_is_no_fault(tiny_llama_dir: Path, tmp_path: Path) -> None:
    tensors = trained(tiny_llama_dir, tmp_path, train={"max_steps": 1, "warmup": 0})
    assert all(tensor.any() for tensor in tensors.values())


def test_weights_that_cannot_move_are_no_run(tiny_llama_dir: Path, tmp_path: Path) -> None:
    """Behind an output projection of zeros, queries change nothing."""
    model = AutoModelForCausalLM.from_pretrained(tiny_llama_dir)
    with torch.no_grad():
        for layer in model.model.layers:
            layer.self_attn.o_proj.weight.zero_()
    base = saved(model, tiny_llama_dir, tmp_path / "base")
    recipe = write_recipe(tmp_path, base, method={"target_modules": ["q_proj"]}, train={"max_steps": 3})
    with pytest.raises(TrainingError, match=r"did not move in 3 steps.*q_proj"):
        train(load_recipe(recipe), console=Console(quiet=True))
    assert not (tmp_path / "run/final").exists()


def test_only_the_part_of_a_multimodal_model_that_reads_text_is_adapted(tiny_llama_dir: Path, tmp_path: Path) -> None:
    text = {
        "vocab_size": len(AutoTokenizer.from_pretrained(tiny_llama_dir)), "hidden_size": 32, "intermediate_size": 48,
        "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 16,
        "max_position_embeddings": 256,
    }  # fmt: skip
    vision = {
        "hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "image_size": 16,
        "patch_size": 8,
    }  # fmt: skip
    torch.manual_seed(0)
    config = Gemma3Config(text_config=text, vision_config=vision, mm_tokens_per_image=4, image_token_index=1)
    base = saved(Gemma3ForConditionalGeneration(config), tiny_llama_dir, tmp_path / "gemma")
    assert model_context(load_recipe(write_recipe(tmp_path, base))) == 256
    tensors = trained(base, tmp_path, train={"max_steps": 3})
    assert tensors
    assert not [name for name in tensors if "vision" in name or "projector" in name]
    assert len([name for name in tensors if "q_proj.lora_B" in name]) == 2
    with pytest.raises(ModelError, match="no linear layer for text named fc1"):
        Lora(target_modules=["fc1"]).build().apply(Gemma3ForConditionalGeneration(config), seed=0)


def test_transposed_linear_layers_are_linear_layers(tiny_llama_dir: Path, tmp_path: Path) -> None:
    size = len(AutoTokenizer.from_pretrained(tiny_llama_dir))
    config = GPT2Config(
        vocab_size=size, n_embd=32, n_layer=2, n_head=4, n_positions=256, attn_pdrop=0.0, bos_token_id=0, eos_token_id=0
    )
    base = saved(GPT2LMHeadModel(config), tiny_llama_dir, tmp_path / "gpt2")
    tensors = trained(base, tmp_path, train={"max_steps": 3})
    assert {name.split(".lora")[0].rsplit(".", 1)[-1] for name in tensors} == {"c_attn", "c_fc", "c_proj"}


@pytest.mark.parametrize(
    "model",
    [
        lambda size: MptForCausalLM(MptConfig(vocab_size=size, d_model=32, n_layers=1, n_heads=4)),
        lambda size: FalconForCausalLM(
            FalconConfig(vocab_size=size, hidden_size=32, num_hidden_layers=1, num_attention_heads=4)
        ),
    ],
    ids=["mpt", "falcon, whose attention is from a table of its own"],
)
def test_models_that_no_forest_holds_learn_row_by_row(model: Any, tiny_llama_dir: Path, tmp_path: Path) -> None:
    size = len(AutoTokenizer.from_pretrained(tiny_llama_dir))
    base = saved(model(size), tiny_llama_dir, tmp_path / "base")
    assert model_context(load_recipe(write_recipe(tmp_path, base))) in (2048, NO_LIMIT)
    tensors = trained(base, tmp_path, train={"max_steps": 2})
    assert any("lora_B" in name and one.abs().max() > 0 for name, one in tensors.items())


def test_a_model_that_cannot_be_run_is_refused_before_anything_is_written(tiny_llama_dir: Path, tmp_path: Path) -> None:
    size = len(AutoTokenizer.from_pretrained(tiny_llama_dir))
    config = BertConfig(
        vocab_size=size, hidden_size=32, intermediate_size=48, num_hidden_layers=1, num_attention_heads=4,
        initializer_range=0.2,
    )  # fmt: skip
    base = saved(BertLMHeadModel(config), tiny_llama_dir, tmp_path / "base")
    with pytest.raises(ModelError, match="BertLMHeadModel"):
        train(load_recipe(write_recipe(tmp_path, base)), console=Console(quiet=True))
    assert not (tmp_path / "run/recipe.yaml").exists()


def test_what_would_lose_gradients_is_refused(
    tiny_llama_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = write_recipe(tmp_path, tiny_llama_dir)
    with pytest.raises(RecipeError, match="float16 cannot be trained in"):
        train(load_recipe(recipe, ["model.dtype=float16"]), console=Console(quiet=True))
    monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", "bf16")
    with pytest.raises(RecipeError, match=r"mixed precision \(bf16\)"):
        train(load_recipe(recipe), console=Console(quiet=True))


@pytest.mark.parametrize(
    ("name", "asked"), [("ACCELERATE_USE_FSDP", "FSDP"), ("ACCELERATE_USE_DEEPSPEED", "DeepSpeed")]
)
def test_a_launch_that_divides_the_model_is_refused(
    name: str, asked: str, tiny_llama_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Accelerate would train with DDP on a CPU and say nothing."""
    monkeypatch.setenv(name, "true")
    with pytest.raises(RecipeError, match=f"asked for {asked}; weitiao trains the whole model in each process"):
        train(load_recipe(write_recipe(tmp_path, tiny_llama_dir)), console=Console(quiet=True))
