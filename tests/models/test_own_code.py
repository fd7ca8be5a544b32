"""A family that nobody prepared for, with code of its own: trained, answered with, merged, without a line for it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from peft import LoraConfig, get_peft_model
from reference import plain_loop, plain_sequences
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer
from workbench import steps_of, weitiao, write_recipe, write_rows

from weitiao.generation.config import GenerationConfig
from weitiao.generation.generate import generate
from weitiao.methods.open import open_model

LINEAR = ["query_key_value", "dense", "up", "down"]


def test_it_learns_answers_and_merges(tiny_llama_dir: Path, tmp_path: Path) -> None:
    house, tokenizer = tmp_path / "house", AutoTokenizer.from_pretrained(tiny_llama_dir)
    tokenizer.save_pretrained(house)
    shutil.copy(Path(__file__).parent / "own_model.py", house / "modeling_house.py")
    auto_map = {"AutoConfig": "modeling_house.HouseConfig", "AutoModelForCausalLM": "modeling_house.HouseForCausalLM"}
    code = {"trust_remote_code": True}
    tokens = {"bos_token_id": tokenizer.bos_token_id, "eos_token_id": tokenizer.eos_token_id}
    (house / "config.json").write_text('{"model_type": "house", "auto_map": ' + str(auto_map).replace("'", '"') + "}")
    config = AutoConfig.from_pretrained(house, **code, vocab_size=len(tokenizer), initializer_range=0.15, **tokens)
    torch.manual_seed(0)
    AutoModelForCausalLM.from_config(config, **code).save_pretrained(house)

    settings = {"max_steps": 5, "warmup": 0, "seed": 7}
    recipe = write_recipe(tmp_path, house, train=settings, data={"validation": "held_out.jsonl"})
    write_rows(tmp_path / "held_out.jsonl", 5, start=1000)
    refused = weitiao("train", recipe)
    assert (refused.returncode, "trust_remote_code" in refused.stderr) == (2, True)
    done = weitiao("train", recipe, "model.trust_remote_code=true")
    assert done.returncode == 0, done.stderr
    assert "one after another" in done.stderr.replace("\n", " ")

    torch.manual_seed(7)
    plain = AutoModelForCausalLM.from_pretrained(house, **code)
    lora = LoraConfig(task_type="CAUSAL_LM", r=4, lora_alpha=8, target_modules=LINEAR)
    model = get_peft_model(plain, lora)
    sequences = plain_sequences(tmp_path / "rows.jsonl", house)
    expected = plain_loop(model, sequences, steps=5, seed=7, learning_rate=0.01)
    assert [line["loss"] for line in steps_of(tmp_path / "run")] == pytest.approx(expected, rel=1e-5)

    prompts = [one.token_ids[:9].tolist() for one in sequences[:2]]
    opened = open_model(tmp_path / "run")
    answers = generate(opened.model, prompts, GenerationConfig(max_new_tokens=6), stop_ids=frozenset())
    for prompt, answer in zip(prompts, answers, strict=True):
        ids = torch.tensor([prompt])
        for token in answer.token_ids:
            assert model.eval()(input_ids=ids).logits[0, -1].argmax() == token
            ids = torch.cat([ids, torch.tensor([[token]])], dim=1)

    merged = weitiao("merge", tmp_path / "run", tmp_path / "merged")
    assert merged.returncode == 0, merged.stderr
    whole = AutoModelForCausalLM.from_pretrained(tmp_path / "merged", **code)
    torch.testing.assert_close(whole(input_ids=ids).logits, model(input_ids=ids).logits, atol=1e-4, rtol=1e-4)
