"""Models that read images too, tuned on text alone: as plain transformers and PEFT do it, what sees left as it is."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers as t
from peft import LoraConfig, get_peft_model
from reference import plain_loop, plain_sequences
from rich.console import Console
from transformers import AutoModelForImageTextToText, AutoTokenizer, PreTrainedConfig
from workbench import steps_of, write_recipe, write_rows

from weitiao.export.merge import merge
from weitiao.models.config import ModelConfig
from weitiao.models.description import describe_model
from weitiao.recipe import load_recipe
from weitiao.study.train import train

TEXT: dict[str, Any] = {
    "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "max_position_embeddings": 256, "initializer_range": 0.15,
}  # fmt: skip
MROPE = {"rope_parameters": {"rope_type": "default", "mrope_section": [1, 1, 2], "rope_theta": 10_000.0}}
SIGHT = {
    "hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "image_size": 28,
    "patch_size": 14,
}  # fmt: skip
QWEN = {"depth": 1, "hidden_size": 32, "intermediate_size": 32, "num_heads": 2, "out_hidden_size": 32}
FAMILIES: dict[str, Callable[[dict[str, Any]], PreTrainedConfig]] = {
    "Qwen2.5-VL": lambda text: t.Qwen2_5_VLConfig(text_config=text | MROPE, vision_config=QWEN),
    "Qwen3-VL": lambda text: t.Qwen3VLConfig(
        text_config=text | MROPE | {"head_dim": 8}, vision_config=QWEN | {"deepstack_visual_indexes": [0]}
    ),
    "Mistral 3": lambda text: t.Mistral3Config(
        text_config={"model_type": "mistral"} | text, vision_config={"model_type": "pixtral"} | SIGHT
    ),
    "LLaVA": lambda text: t.LlavaConfig(
        text_config={"model_type": "llama"} | text, vision_config={"model_type": "clip_vision_model"} | SIGHT
    ),
    "PaliGemma": lambda text: t.PaliGemmaConfig(
        text_config={"model_type": "gemma", "head_dim": 8} | text,
        vision_config=SIGHT | {"projection_dim": 32},
        projection_dim=32,
        image_token_id=399,
    ),
    "PaliGemma 2": lambda text: t.PaliGemmaConfig(
        text_config={"model_type": "gemma2", "head_dim": 8, "query_pre_attn_scalar": 8} | text,
        vision_config=SIGHT | {"projection_dim": 32},
        projection_dim=32,
        image_token_id=399,
    ),
    "SmolVLM": lambda text: t.SmolVLMConfig(text_config={"model_type": "llama"} | text, vision_config=SIGHT),
    "InternVL": lambda text: t.InternVLConfig(
        text_config={"model_type": "qwen2"} | text,
        vision_config=SIGHT | {"image_size": [28, 28], "patch_size": [14, 14]},
    ),
}


@pytest.mark.parametrize("family", FAMILIES)
def test_text_alone_is_learned_and_what_sees_is_saved_along(family: str, tiny_llama_dir: Path, tmp_path: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(tiny_llama_dir)
    ends = {"bos_token_id": tokenizer.bos_token_id, "eos_token_id": tokenizer.eos_token_id, "pad_token_id": 0}
    config = FAMILIES[family](TEXT | ends | {"vocab_size": len(tokenizer)})
    base = tmp_path / "base"
    torch.manual_seed(0)
    AutoModelForImageTextToText.from_config(config).save_pretrained(base)
    tokenizer.save_pretrained(base)
    assert describe_model(ModelConfig(name=str(base))).context == 256

    settings = {"max_steps": 4, "warmup": 0, "seed": 7}
    recipe = write_recipe(tmp_path, base, train=settings, data={"validation": "held_out.jsonl"})
    write_rows(tmp_path / "held_out.jsonl", 5, start=1000)
    run = train(load_recipe(recipe), console=Console(quiet=True)).path

    torch.manual_seed(7)
    plain = AutoModelForImageTextToText.from_pretrained(base, attn_implementation="eager")
    text = set(plain.get_decoder().modules())
    linear = [name for name, part in plain.named_modules() if part in text and isinstance(part, torch.nn.Linear)]
    model = get_peft_model(plain, LoraConfig(task_type="CAUSAL_LM", r=4, lora_alpha=8, target_modules=linear))
    sequences = plain_sequences(tmp_path / "rows.jsonl", base)
    expected = plain_loop(model, sequences, steps=4, seed=7, learning_rate=0.01)
    assert [line["loss"] for line in steps_of(run)] == pytest.approx(expected, rel=1e-5)

    merge(run, tmp_path / "merged")
    whole = AutoModelForImageTextToText.from_pretrained(tmp_path / "merged", attn_implementation="eager")
    ids = torch.tensor([sequences[0].token_ids.tolist()])
    torch.testing.assert_close(whole(input_ids=ids).logits, model.eval()(input_ids=ids).logits, atol=1e-4, rtol=1e-4)
    before, after = AutoModelForImageTextToText.from_pretrained(base).state_dict(), whole.state_dict()
    assert after.keys() == before.keys()
    seeing = [name for name in before if "vision" in name or "visual" in name]
    assert seeing
    assert all(torch.equal(before[name], after[name]) for name in seeing)
