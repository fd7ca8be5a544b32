"""What bounds an answer, what a batch costs, and which models cannot be run."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
import torch
from reference import VOCABULARY, build
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    LlamaConfig,
)

from weitiao.errors import ModelError
from weitiao.forest.layout import build_forest
from weitiao.generation.attention import StepAttention
from weitiao.generation.batches import lay_out, make_batches
from weitiao.generation.cache import Cache
from weitiao.generation.config import GenerationConfig
from weitiao.generation.generate import generate, stop_ids
from weitiao.models.attention import FOREST
from weitiao.models.scoring import Scoring
from weitiao.objectives.sft import Sft
from weitiao.rendering.items import TokenSequence, as_items


def random_prompts(seed: int) -> list[tuple[int, ...]]:
    rng = random.Random(seed)
    stem = tuple(rng.randrange(5) for _ in range(rng.randrange(6)))
    return [stem + tuple(rng.randrange(3) for _ in range(rng.randrange(1, 7))) for _ in range(rng.randrange(1, 12))]


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("share_prefixes", [True, False])
def test_the_path_of_every_prompt_spells_it(seed: int, share_prefixes: bool) -> None:
    prompts = random_prompts(seed)
    row = lay_out(prompts, share_prefixes=share_prefixes)
    assert [tuple(row.layout.token_ids[path].tolist()) for path in row.paths] == prompts
    assert all((row.layout.position_ids[path] == range(len(path))).all() for path in row.paths)
    assert all((path[: row.shared_length] == range(row.shared_length)).all() for path in row.paths)
    beginnings = {prompt[: row.shared_length + 1] for prompt in prompts}
    assert not share_prefixes or len(beginnings) > 1 or row.shared_length == min(map(len, prompts))
    distinct_prefixes = {prompt[: i + 1] for prompt in prompts for i in range(len(prompt))}
    assert len(row.layout) == (len(distinct_prefixes) if share_prefixes else sum(map(len, prompts)))


@pytest.mark.parametrize("seed", range(20))
def test_batches_hold_every_prompt_once_within_the_budgets(seed: int) -> None:
    prompts = random_prompts(seed)
    batches = make_batches(prompts, batch_size=4, token_budget=10)
    assert sorted(index for batch in batches for index in batch) == list(range(len(prompts)))
    for batch in batches:
        assert len(batch) <= 4
        assert len(batch) == 1 or len(lay_out([prompts[i] for i in batch]).layout) <= 10


def test_an_answer_ends_where_the_context_does() -> None:
    model = build("llama", FOREST)  # a context of 512
    prompts = [[7] * 500, [7] * 510, [7] * 511]
    answers = generate(model, prompts, GenerationConfig(max_new_tokens=20), stop_ids=frozenset())
    assert [len(answer.token_ids) for answer in answers] == [12, 2, 1]
    assert not any(answer.stopped for answer in answers)


def test_a_prompt_that_fills_the_context_is_refused() -> None:
    with pytest.raises(ModelError, match="512 tokens leaves no room"):
        generate(build("llama", FOREST), [[7] * 512], GenerationConfig(), stop_ids=frozenset())


def test_an_answer_that_ends_at_once_is_empty() -> None:
    model = build("llama", FOREST)
    (answer,) = generate(model, [[7, 8]], GenerationConfig(max_new_tokens=1), stop_ids=frozenset())
    (empty,) = generate(model, [[7, 8]], GenerationConfig(), stop_ids=frozenset(answer.token_ids))
    assert (len(answer.token_ids), answer.stopped) == (1, False)
    assert (empty.token_ids, empty.stopped) == ((), True)


def test_no_prompts_get_no_answers() -> None:
    assert generate(build("llama", FOREST), [], GenerationConfig(), stop_ids=frozenset()) == []


def test_training_goes_on_after_answers_as_if_there_had_been_none() -> None:
    forest = build_forest(as_items([TokenSequence.of("a:1", (4, 5, 6, 7), (0.0, 0.0, 1.0, 1.0))]))
    losses = []
    for answers_between in (False, True):
        model = build("llama", FOREST).train()
        if answers_between:
            generate(model, [[4, 5], [4, 6, 7]], GenerationConfig(max_new_tokens=5), stop_ids=frozenset())
        assert model.training
        loss = Sft(model)(forest).total
        loss.backward()
        losses.append((loss.item(), [p.grad.sum().item() for p in model.parameters() if p.grad is not None]))
    assert losses[0] == losses[1]


def test_the_shared_beginning_is_kept_once_and_rows_that_ended_are_not_run() -> None:
    prompts = [(1, 2, 3, 4, 5), (1, 2, 3, 6), (1, 2, 3, 7, 8, 9)]
    cache = Cache.of(lay_out(prompts), torch.device("cpu"))
    layer = torch.nn.Identity()
    places = torch.arange(9.0)[None, :, None].expand(2, 9, 4)
    cache.fill(layer, places, places)
    (shared,) = cache.shared
    assert (shared.rows, shared.start) == (None, 0)
    assert shared.part.prefix.layers[layer][0].shape == (2, 3, 4)
    assert cache.positions == [5, 4, 6]
    assert cache.drop({0}) == [2, 1]  # the last row moved into the gap
    assert cache.positions == [6, 4]
    cache.open_column()
    query, fresh = torch.zeros(4, 2, 4), torch.full((2, 2, 4), 90.0)
    out = StepAttention(cache).attend(layer, query, fresh, fresh, Scoring(1.0))
    # queries of zeros see all that is visible alike: the mean of 0, 1, 2 and the row's own places
    assert out[0, :, 0].tolist() == pytest.approx([(3 + 6 + 7 + 8 + 90) / 7, (3 + 5 + 90) / 5])


_SIZES = {
    "vocab_size": VOCABULARY, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2,
    "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 8, "pad_token_id": 0,
}  # fmt: skip


def test_answers_end_at_the_tokens_of_the_settings_the_tokenizer_and_the_template(tiny_llama_dir: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(tiny_llama_dir)
    model = AutoModelForCausalLM.from_config(LlamaConfig(**_SIZES))
    end_of_turn, end_of_text = tokenizer.convert_tokens_to_ids(["<|im_end|>", "<|endoftext|>"])
    model.generation_config.eos_token_id = [77, 78]
    tokenizer.eos_token = "<|endoftext|>"
    assert stop_ids(model, tokenizer) == {77, 78, end_of_text, end_of_turn}
