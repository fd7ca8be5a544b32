"""A small run that llama.cpp can take: SmolLM2's tokenizer, and random weights that are made in a moment."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast
from workbench import write_recipe, write_rows

from weitiao.recipe import load_recipe
from weitiao.study.train import train

END = "<jupyter_output>"


def make_model(directory: Path, tokenizer: PreTrainedTokenizerFast) -> Path:
    """A random Llama of two layers, as wide as llama.cpp's formats of 256 weights need."""
    ends = tokenizer.eos_token_id
    config = LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=256, intermediate_size=256, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=512, initializer_range=0.1, tie_word_embeddings=True,
        bos_token_id=tokenizer.bos_token_id, eos_token_id=ends, pad_token_id=ends,
    )  # fmt: skip
    with torch.random.fork_rng():
        torch.manual_seed(0)
        LlamaForCausalLM(config).save_pretrained(directory)
    tokenizer.save_pretrained(directory)
    return directory


def make_run(directory: Path, model: Path, **sections: Any) -> Path:
    """A run that learned a little of it."""
    directory.mkdir(parents=True, exist_ok=True)
    test = write_rows(directory / "test.jsonl", 6, start=100)
    settings: dict[str, Any] = {
        "data": {"test": str(test)},
        "train": {"max_steps": 3},
        "evaluate": {"generation": {"max_new_tokens": 8}},
    }
    recipe = load_recipe(write_recipe(directory, model, **{**settings, **sections}))
    train(recipe)
    return directory / "run"


@pytest.fixture(scope="session")
def smol_llama_dir(tmp_path_factory: pytest.TempPathFactory, smollm2_dir: Path) -> Path:
    """Its chat template ends turns with a token that llama.cpp does not know as an end."""
    tokenizer = AutoTokenizer.from_pretrained(smollm2_dir)
    tokenizer.chat_template = tokenizer.chat_template.replace("<|im_end|>", END)
    return make_model(tmp_path_factory.mktemp("smol-llama"), tokenizer)


@pytest.fixture(scope="session")
def smol_run(tmp_path_factory: pytest.TempPathFactory, smol_llama_dir: Path) -> Path:
    """A run with LoRA; what tests export of it goes elsewhere."""
    return make_run(tmp_path_factory.mktemp("smol-run"), smol_llama_dir)


def table_of(done: Any) -> dict[str, dict[str, Any]]:
    """The models of what `weitiao export --json` printed, by their format."""
    return {one["format"]: one for one in json.loads(done.stdout)["models"]}
