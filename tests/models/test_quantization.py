"""A base model in few bits: adapters learn as on the same numbers written out, and are merged into those."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from reference import plain_loop, plain_sequences, sequence_loss_sum
from transformers import AutoModelForCausalLM, LlamaConfig
from workbench import steps_of, weitiao, write_recipe, write_rows

from weitiao.errors import ModelError, RecipeError
from weitiao.export.merge import merge
from weitiao.methods.open import open_model
from weitiao.models.asking import attention_function
from weitiao.models.attention import FOREST
from weitiao.models.config import ModelConfig
from weitiao.models.in_float32 import in_float32
from weitiao.models.load import load_model
from weitiao.models.probe import probe_forest
from weitiao.recipe import load_recipe
from weitiao.report.render import write_report
from weitiao.study.train import train

LINEAR = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]


def losses_on(rounded: torch.nn.Module, sequences: Any, model_dir: Path) -> list[float]:
    """Five steps of LoRA by a plain loop on weights that were rounded and written out."""
    torch.manual_seed(7)
    plain = AutoModelForCausalLM.from_pretrained(model_dir, attn_implementation="eager")
    plain.load_state_dict(rounded.state_dict())
    model = get_peft_model(plain, LoraConfig(task_type="CAUSAL_LM", r=4, lora_alpha=8, target_modules=LINEAR))
    return plain_loop(model, sequences, steps=5, seed=7, learning_rate=0.01)


@pytest.mark.parametrize("code", ["nf4", "fp4"])
def test_weights_are_rounded_and_adapters_learn_as_on_the_rounded_ones(
    code: str, tiny_llama_dir: Path, tmp_path: Path
) -> None:
    settings = {"max_steps": 5, "warmup": 0, "seed": 7}
    recipe = write_recipe(tmp_path, tiny_llama_dir, train=settings)
    run = train(load_recipe(recipe, [f"model.quantization={code}"])).path
    config = ModelConfig(name=str(tiny_llama_dir), dtype="float32", quantization=code)  # type: ignore[arg-type]
    rounded = load_model(config, dequantize=True)
    exact = AutoModelForCausalLM.from_pretrained(tiny_llama_dir)
    weight = "model.layers.0.mlp.up_proj.weight"
    error = rounded.state_dict()[weight] - exact.state_dict()[weight]
    assert 0.02 < error.norm() / exact.state_dict()[weight].norm() < 0.2
    assert type(rounded.model.layers[0].mlp.up_proj) is torch.nn.Linear
    sequences = plain_sequences(tmp_path / "rows.jsonl", tiny_llama_dir)
    expected = losses_on(rounded, sequences, tiny_llama_dir)
    assert [line["loss"] for line in steps_of(run)] == pytest.approx(expected, rel=1e-4)

    merged = weitiao("merge", run, tmp_path / "merged")
    assert merged.returncode == 0, merged.stderr
    ids = torch.tensor([sequences[0].token_ids.tolist()])
    alone = AutoModelForCausalLM.from_pretrained(tmp_path / "merged", attn_implementation="sdpa")
    assert getattr(alone.config, "quantization_config", None) is None
    tuned = open_model(run, attention="sdpa").model
    torch.testing.assert_close(alone(input_ids=ids).logits, tuned(input_ids=ids).logits, atol=1e-3, rtol=1e-3)


def test_eight_bits_learn_nearly_as_on_the_numbers_written_out_and_rows_stay_apart(
    tiny_llama_dir: Path, tmp_path: Path
) -> None:
    """Inputs are rounded as well, so the steps are near, and not the same."""
    settings = {"max_steps": 5, "warmup": 0, "seed": 7}
    recipe = write_recipe(tmp_path, tiny_llama_dir, train=settings, data={"validation": "held_out.jsonl"})
    write_rows(tmp_path / "held_out.jsonl", 6, start=900)
    said: list[str] = []
    run = train(load_recipe(recipe, ["model.quantization=int8"]), tell=said.append).path
    config = ModelConfig(name=str(tiny_llama_dir), dtype="float32", quantization="int8")
    rounded = load_model(config, dequantize=True)
    exact = AutoModelForCausalLM.from_pretrained(tiny_llama_dir, attn_implementation="eager")
    weight = "model.layers.0.mlp.up_proj.weight"
    error = rounded.state_dict()[weight] - exact.state_dict()[weight]
    assert 0.001 < error.norm() / exact.state_dict()[weight].norm() < 0.02
    sequences = plain_sequences(tmp_path / "rows.jsonl", tiny_llama_dir)
    expected = losses_on(rounded, sequences, tiny_llama_dir)
    assert [line["loss"] for line in steps_of(run)] == pytest.approx(expected, rel=5e-3)

    held_out = plain_sequences(tmp_path / "held_out.jsonl", tiny_llama_dir)
    first = json.loads((run / "metrics.jsonl").read_text().splitlines()[0])["rounding"]
    with torch.no_grad():
        plain_loss = sum(float(sequence_loss_sum(exact, s)) for s in held_out) / sum(s.weight for s in held_out)
    assert first["exact"] == pytest.approx(plain_loss, rel=1e-5)
    assert first["rounded"] == pytest.approx(plain_loss, rel=0.02)
    assert first["rounded"] != pytest.approx(plain_loss, rel=1e-6)
    assert "Rounding the base model" in write_report(run, language="en").read_text(encoding="utf-8")
    assert sum("int8: the validation loss of the base model is" in line for line in said) == 1

    ids = torch.tensor([sequences[0].token_ids.tolist()])
    alone = AutoModelForCausalLM.from_pretrained(merge(run, tmp_path / "merged").path)
    tuned = open_model(run, attention="sdpa").model
    logits = tuned(input_ids=ids).logits
    assert (alone(input_ids=ids).logits - logits).norm() < 0.03 * logits.norm()


def test_rounded_inputs_do_not_look_like_a_mistake_and_outliers_do(tmp_path: Path) -> None:
    """Two exact ways of computing a model in eight bits end apart as soon as one input falls on the other side."""
    torch.manual_seed(0)
    sizes = {"vocab_size": 199, "hidden_size": 256, "intermediate_size": 512, "num_hidden_layers": 12}
    heads = {"num_attention_heads": 4, "num_key_value_heads": 2, "initializer_range": 0.05}
    AutoModelForCausalLM.from_config(LlamaConfig(**sizes, **heads)).save_pretrained(tmp_path)
    config = ModelConfig(name=str(tmp_path), dtype="float32", quantization="int8")
    model = load_model(config, attention=FOREST).eval()
    numbers = torch.Generator().manual_seed(0)
    rows = [torch.randint(3, 199, (40,), generator=numbers).tolist() for _ in range(3)]
    probe_forest(model, rows, longest=200)

    ids = torch.tensor(rows[:1])
    written_out = load_model(config, dequantize=True).eval()
    with torch.no_grad(), attention_function(model, "eager"):
        with in_float32(model):
            exact = model(input_ids=ids).logits
        rounded = model(input_ids=ids).logits
        expected = written_out(input_ids=ids).logits
    torch.testing.assert_close(exact, expected, atol=1e-4, rtol=1e-4)
    assert 0.001 < (rounded - expected).norm() / expected.norm() < 0.2

    for module in model.modules():
        if hasattr(module, "state"):
            module.state.threshold = 2.0
    with pytest.raises(ModelError, match="outlier") as refused:
        probe_forest(model, rows, longest=200)
    assert "llm_int8_threshold" in refused.value.remedy


def test_rounded_weights_themselves_cannot_learn(tiny_llama_dir: Path, tmp_path: Path) -> None:
    recipe = write_recipe(tmp_path, tiny_llama_dir)
    recipe.write_text(recipe.read_text().replace('"r": 4', '"type": "full"'))
    with pytest.raises(RecipeError, match="rounded to nf4 cannot learn"):
        train(load_recipe(recipe, ["model.quantization=nf4"]))


def test_processors_with_bfloat16_units_leave_the_weights_as_they_were_rounded(
    tiny_llama_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """bitsandbytes would pack them anew at a call that learns nothing, and from then on compute without a gradient."""
    monkeypatch.setattr("bitsandbytes.nn.modules.has_avx512bf16", lambda: True)
    model = load_model(ModelConfig(name=str(tiny_llama_dir), dtype="float32", quantization="nf4"), attention="eager")
    weight = model.model.layers[0].mlp.up_proj.weight
    rounded = weight.data.clone()
    with torch.no_grad():
        model(input_ids=torch.arange(5, 12)[None])
    assert torch.equal(weight.data, rounded)
