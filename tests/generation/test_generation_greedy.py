"""Greedy answers: token by token those that transformers' own generate writes to each prompt alone."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from reference import FAMILIES, VOCABULARY, build
from torch import nn
from transformers import AutoModelForCausalLM, AutoTokenizer, DeepseekV3Config

from weitiao.generation.batches import lay_out
from weitiao.generation.cache import Cache
from weitiao.generation.config import GenerationConfig
from weitiao.generation.generate import Completion, generate, probe_answers
from weitiao.methods.fused.layer import FusedLayer, fuse_layers
from weitiao.models.attention import FOREST

NUM_TOKENS = 66  # more than the columns that the cache holds at first
STEM = [5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18]
PROMPTS = [
    [*STEM, 20],
    [*STEM, 21, 22, 23],
    STEM,
    STEM,
    [*STEM, 20, 30, 40, 50, 60, 70, 80],
    [*STEM[:9], 90, 91, 92, 93, 94],
]


def expected(
    model: Any, prompts: Sequence[Sequence[int]], *, stop: int | None = None, num_tokens: int = NUM_TOKENS
) -> list[Completion]:
    """What transformers writes, one prompt at a time; prompts that are equal are asked once."""
    answers: dict[tuple[int, ...], Completion] = {}
    for prompt in set(map(tuple, prompts)):
        ids = torch.tensor([list(prompt)])
        mask = torch.ones_like(ids)
        out = model.generate(
            input_ids=ids,
            attention_mask=mask,
            do_sample=False,
            max_new_tokens=num_tokens,
            eos_token_id=stop,
            pad_token_id=0,
        )
        tokens = out[0, len(prompt) :].tolist()
        stopped = tokens[-1] == stop
        answers[prompt] = Completion(tuple(tokens[:-1] if stopped else tokens), stopped)
    return [answers[tuple(prompt)] for prompt in prompts]


def cut(tokens: tuple[int, ...], stop: int) -> Completion:
    """A greedy answer as it is when a token ends it."""
    return Completion(tokens[: tokens.index(stop)], True) if stop in tokens else Completion(tokens, False)


def adapted(model: nn.Module) -> nn.Module:
    """A LoRA adapter that changes what the model says."""
    torch.manual_seed(1)
    config = LoraConfig(
        r=4, target_modules=["q_proj", "v_proj", "down_proj"], init_lora_weights=False, lora_dropout=0.5
    )
    return get_peft_model(model, config).eval()  # type: ignore[arg-type]


@pytest.mark.parametrize("family", FAMILIES)
def test_answers_equal_those_of_transformers(family: str) -> None:
    whole = expected(build(family, "eager"), PROMPTS)
    assert len(set(whole)) > 3, "the prompts get different answers"
    stop = whole[0].token_ids[len(whole[0].token_ids) // 2]  # rows leave the batch at different steps
    stopped = [cut(answer.token_ids, stop) for answer in whole]
    assert len({len(answer.token_ids) for answer in stopped}) > 1
    short = [Completion(answer.token_ids[:12], False) for answer in whole]
    model = build(family, FOREST)
    everything = GenerationConfig(max_new_tokens=NUM_TOKENS)
    assert generate(model, PROMPTS, everything, stop_ids=frozenset()) == whole
    for share_prefixes in (True, False):
        config = GenerationConfig(max_new_tokens=NUM_TOKENS, share_prefixes=share_prefixes)
        small_batches = config.model_copy(update={"batch_size": 2, "max_new_tokens": 12})
        assert generate(model, PROMPTS, small_batches, stop_ids=frozenset()) == short, share_prefixes
        assert generate(model, PROMPTS, config, stop_ids=frozenset({stop})) == stopped, share_prefixes


@pytest.mark.parametrize("family", FAMILIES)
def test_prompts_that_several_sequences_have_are_kept_once(family: str) -> None:
    prompts = [*PROMPTS, STEM[:9], *PROMPTS[:3], *PROMPTS[:5]]
    whole = expected(build(family, "eager"), prompts, num_tokens=30)
    stop = whole[0].token_ids[15]  # some groups leave the batch before others
    config = GenerationConfig(max_new_tokens=30)
    answers = generate(build(family, FOREST), prompts, config, stop_ids=frozenset({stop}))
    assert answers == [cut(answer.token_ids, stop) for answer in whole]
    row = lay_out(list(map(tuple, prompts)))
    assert Cache.of(row, torch.device("cpu")).groups is not None


@pytest.mark.parametrize("family", ["llama", "mistral-window"])
def test_a_batch_of_one_writes_the_same(family: str) -> None:
    model = build(family, FOREST)
    config = GenerationConfig(max_new_tokens=20)
    together = generate(model, PROMPTS, config, stop_ids=frozenset({3}))
    alone = generate(model, PROMPTS, config.model_copy(update={"batch_size": 1}), stop_ids=frozenset({3}))
    assert alone == together


def test_what_all_prompts_begin_with_is_run_once_for_all_batches() -> None:
    model = build("llama", FOREST)
    prompts = [[*STEM, number] for number in range(20, 28)]
    runs: list[int] = []
    model.model.register_forward_pre_hook(
        lambda module, args, kwargs: runs.append(kwargs["input_ids"].shape[1]), with_kwargs=True
    )
    config = GenerationConfig(max_new_tokens=1, batch_size=2)
    probe_answers(model, prompts, config)
    runs.clear()  # what is run once, to find out whether the model may be run so
    answers = generate(model, prompts, config, stop_ids=frozenset())
    assert runs == [len(STEM), 2, 2, 2, 2]
    runs.clear()
    assert generate(model, prompts, config.model_copy(update={"batch_size": 8}), stop_ids=frozenset()) == answers
    assert runs == [len(STEM) + 8]
    runs.clear()
    assert (
        generate(model, [STEM] * 3, config, stop_ids=frozenset())[0]
        == expected(build("llama", "sdpa"), [STEM], num_tokens=1)[0]
    )
    # the last token of a prompt is what the answer comes from
    assert runs[:3] == [len(STEM) - 1, 1, 1]


def test_batches_with_different_beginnings_keep_the_order_of_the_prompts() -> None:
    prompts = [*PROMPTS, [99, *STEM], [1], [1, 2], [99, *STEM, 4]]
    config = GenerationConfig(max_new_tokens=12, batch_size=3, token_budget=30)
    seen: list[tuple[int, int]] = []
    answers = generate(
        build("llama", FOREST),
        prompts,
        config,
        stop_ids=frozenset(),
        on_progress=lambda done, total: seen.append((done, total)),
    )
    assert answers == expected(build("llama", "sdpa"), prompts, num_tokens=12)
    assert seen == sorted(seen)
    assert seen[-1] == (len(prompts), len(prompts))


def test_values_of_another_width_than_keys() -> None:
    """DeepSeek's latent attention; it also takes the path of the devices that have no flash attention with one."""
    config = DeepseekV3Config(
        vocab_size=VOCABULARY, hidden_size=32, intermediate_size=48, moe_intermediate_size=16, num_hidden_layers=2,
        num_attention_heads=4, num_key_value_heads=4, n_routed_experts=4, num_experts_per_tok=2, n_group=1,
        topk_group=1, kv_lora_rank=8, q_lora_rank=8, qk_rope_head_dim=8, qk_nope_head_dim=8, v_head_dim=12,
        first_k_dense_replace=1, initializer_range=0.3, max_position_embeddings=256,
    )  # fmt: skip
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(config, attn_implementation="sdpa").eval()
    whole = expected(model, PROMPTS, num_tokens=20)
    model.set_attn_implementation(FOREST)
    assert generate(model, PROMPTS, GenerationConfig(max_new_tokens=20), stop_ids=frozenset()) == whole


def test_an_adapter_speaks_and_its_base_when_it_is_switched_off() -> None:
    config = GenerationConfig(max_new_tokens=20)
    base = expected(build("llama", "sdpa"), PROMPTS, num_tokens=20)
    tuned = expected(adapted(build("llama", "sdpa")), PROMPTS, num_tokens=20)
    assert tuned != base
    model = adapted(build("llama", FOREST))
    assert generate(model, PROMPTS, config, stop_ids=frozenset()) == tuned
    with model.disable_adapter():  # type: ignore[operator]
        assert generate(model, PROMPTS, config, stop_ids=frozenset()) == base


def test_fused_layers_in_the_middle_of_training() -> None:
    model = adapted(build("llama", FOREST))
    assert fuse_layers(model) == 2
    model.train()
    answers = generate(model, PROMPTS, GenerationConfig(max_new_tokens=20), stop_ids=frozenset())
    assert answers == expected(adapted(build("llama", "sdpa")), PROMPTS, num_tokens=20)
    assert all(m.training for m in model.modules() if isinstance(m, FusedLayer | nn.Dropout))


def test_the_real_model_in_a_batch(smollm2_dir: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(smollm2_dir)
    questions = ["What is the capital of France?", "Name a primary colour.", "Name a primary colour and why."]
    prompts = [
        tokenizer.apply_chat_template(
            [{"role": "user", "content": text}], add_generation_prompt=True, return_dict=False
        )
        for text in questions
    ]
    model = AutoModelForCausalLM.from_pretrained(smollm2_dir, dtype=torch.float32, attn_implementation="sdpa")
    stop = tokenizer.convert_tokens_to_ids("<|im_end|>")
    whole = expected(model, prompts, stop=stop, num_tokens=10)
    model.set_attn_implementation(FOREST)
    answers = generate(model, prompts, GenerationConfig(max_new_tokens=10), stop_ids=frozenset({stop}))
    assert answers == whole
    assert "Paris" in tokenizer.decode(answers[0].token_ids)
