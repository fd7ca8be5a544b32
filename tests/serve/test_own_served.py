"""`weitiao serve --engine own`: a base and its adapters by their names, through the official client."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from openai import OpenAI
from peft import LoraConfig, PeftModel, get_peft_model
from serving import serving
from transformers import AutoModelForCausalLM, AutoTokenizer

from weitiao.generation.config import GenerationConfig
from weitiao.generation.generate import generate, stop_ids
from weitiao.models.attention import FOREST
from weitiao.rendering.render import Prompts


def test_a_base_and_its_adapter_answer_by_their_names(tiny_llama_dir: Path, tmp_path: Path) -> None:
    torch.manual_seed(1)
    config = LoraConfig(r=4, target_modules=["q_proj", "v_proj"], init_lora_weights=False, task_type="CAUSAL_LM")
    get_peft_model(AutoModelForCausalLM.from_pretrained(tiny_llama_dir), config).save_pretrained(str(tmp_path / "it"))
    messages = [{"role": "user", "content": "a small model"}]
    tokenizer = AutoTokenizer.from_pretrained(tiny_llama_dir)
    model = AutoModelForCausalLM.from_pretrained(tiny_llama_dir, attn_implementation=FOREST)
    expected = {}
    for name in ("base", "tuned"):
        asked = model if name == "base" else PeftModel.from_pretrained(model, str(tmp_path / "it")).eval()
        prompt = Prompts(tokenizer)(messages)
        stops = stop_ids(model, tokenizer)
        (answer,) = generate(asked, [prompt], GenerationConfig(max_new_tokens=12), stop_ids=stops)
        expected[name] = tokenizer.decode(answer.token_ids, skip_special_tokens=True)
    assert expected["base"] != expected["tuned"]
    with serving(
        tmp_path / "served", f"base={tiny_llama_dir}", "--engine", "own", "--adapter", f"tuned={tmp_path / 'it'}"
    ) as found:
        client = OpenAI(base_url=f"{found.url}/v1", api_key="none", max_retries=0)
        for name, text in expected.items():
            said = client.chat.completions.create(model=name, messages=messages, max_tokens=12)  # type: ignore[call-overload]
            assert said.choices[0].message.content == text
        form = {"type": "json_schema", "json_schema": {"name": "size", "schema": {"enum": ["small", "large"]}}}
        said = client.chat.completions.create(model="tuned", messages=messages, response_format=form)  # type: ignore[call-overload]
        assert json.loads(said.choices[0].message.content) in ("small", "large")
