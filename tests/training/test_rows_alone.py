"""A model with recurrent layers through the whole way: trained, resumed, evaluated, merged; each row run alone."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from peft import LoraConfig, get_peft_model
from reference import plain_loop, plain_sequences
from transformers import AutoModelForCausalLM, AutoTokenizer, Lfm2Config
from workbench import steps_of, weitiao, write_recipe, write_rows

LINEAR = ["q_proj", "k_proj", "v_proj", "out_proj", "in_proj", "w1", "w2", "w3"]
NUM_STEPS = 5


@pytest.fixture(scope="session")
def hybrid_dir(tiny_llama_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random LFM2, convolutions and attention in turn, with the tokenizer of the tiny Llama."""
    directory = tmp_path_factory.mktemp("models") / "hybrid"
    tokenizer = AutoTokenizer.from_pretrained(tiny_llama_dir)
    config = Lfm2Config(
        vocab_size=len(tokenizer), hidden_size=64, intermediate_size=96, num_hidden_layers=4, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=512, initializer_range=0.15, block_auto_adjust_ff_dim=False,
        layer_types=["conv", "full_attention"] * 2, bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.unk_token_id,
    )  # fmt: skip
    torch.manual_seed(0)
    AutoModelForCausalLM.from_config(config).save_pretrained(directory)
    tokenizer.save_pretrained(directory)
    return directory


def test_it_learns_as_plain_transformers_and_peft_do_and_is_used_like_any_other(
    hybrid_dir: Path, tmp_path: Path
) -> None:
    settings = {"max_steps": NUM_STEPS, "warmup": 0, "seed": 7, "save_every": 3}
    recipe = write_recipe(
        tmp_path,
        hybrid_dir,
        train=settings,
        data={"validation": "held_out.jsonl", "test": "held_out.jsonl"},
        evaluate={"metrics": ["exact_match"], "generation": {"max_new_tokens": 8}},
    )
    write_rows(tmp_path / "held_out.jsonl", 5, start=1000)
    done = weitiao("train", recipe)
    assert done.returncode == 0, done.stderr
    assert "rows lie side by side" in done.stderr.replace("\n", " ")
    assert "one after another" in done.stderr.replace("\n", " ")
    run = tmp_path / "run"

    torch.manual_seed(7)
    model = get_peft_model(
        AutoModelForCausalLM.from_pretrained(hybrid_dir, attn_implementation="eager"),
        LoraConfig(task_type="CAUSAL_LM", r=4, lora_alpha=8, target_modules=LINEAR),
    )
    sequences = plain_sequences(tmp_path / "rows.jsonl", hybrid_dir)
    expected = plain_loop(model, sequences, steps=NUM_STEPS, seed=7, learning_rate=0.01)
    losses = [line["loss"] for line in steps_of(run)]
    assert losses == pytest.approx(expected, rel=1e-5)
    assert losses[-1] < 0.95 * losses[0]

    whole = (run / "final" / "adapter_model.safetensors").read_bytes()
    shutil.rmtree(run / "final")
    shutil.rmtree(run / "checkpoints" / f"step-{NUM_STEPS:08d}")
    again = weitiao("train", run)  # from the third step
    assert again.returncode == 0, again.stderr
    assert (run / "final" / "adapter_model.safetensors").read_bytes() == whole

    scored = weitiao("eval", run)
    assert scored.returncode == 0, scored.stderr
    merged = weitiao("merge", run, tmp_path / "merged")
    assert merged.returncode == 0, merged.stderr
    plain = AutoModelForCausalLM.from_pretrained(tmp_path / "merged", attn_implementation="eager")
    ids = torch.tensor([sequences[0].token_ids.tolist()])
    torch.testing.assert_close(plain(input_ids=ids).logits, model.eval()(input_ids=ids).logits, atol=1e-4, rtol=1e-4)


def test_it_can_be_asked_for_and_says_so(tiny_llama_dir: Path, tmp_path: Path) -> None:
    for name, attention in (("forest", "auto"), ("alone", "alone")):
        recipe = write_recipe(tmp_path / name, tiny_llama_dir, train={"max_steps": 3})
        done = weitiao("train", recipe, f"model.attention={attention}")
        assert done.returncode == 0, done.stderr
        assert ("Attention: each row alone" in done.stderr) == (attention == "alone")
    forest, alone = ([line["loss"] for line in steps_of(tmp_path / name / "run")] for name in ("forest", "alone"))
    assert alone == pytest.approx(forest, rel=1e-5)
