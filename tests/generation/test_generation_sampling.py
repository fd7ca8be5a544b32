"""Drawn tokens: the distribution that transformers' logits warpers leave, and answers that can be drawn again."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from reference import VOCABULARY, build
from transformers import LogitsProcessorList, TemperatureLogitsWarper, TopKLogitsWarper, TopPLogitsWarper

from weitiao.generation.cache import SHORT
from weitiao.generation.config import GenerationConfig
from weitiao.generation.generate import Completion, generate
from weitiao.generation.sampling import draw
from weitiao.models.attention import FOREST

NUM_DRAWS = 20_000


@pytest.mark.parametrize(
    "settings",
    [
        {"temperature": 0.7},
        {"temperature": 1.0, "top_k": 7},
        {"temperature": 1.3, "top_p": 0.8},
        {"temperature": 2.0, "top_p": 0.6, "top_k": 12},
        {"temperature": 1.0, "top_p": 1e-6},
        {"temperature": 1.0, "top_k": 1000},
    ],
)
def test_draws_follow_the_distribution_of_transformers(settings: dict[str, Any]) -> None:
    logits_BV = torch.randn(1, VOCABULARY, generator=torch.Generator().manual_seed(3)) * 2
    warpers = LogitsProcessorList([TemperatureLogitsWarper(settings["temperature"])])
    if "top_k" in settings:
        warpers.append(TopKLogitsWarper(settings["top_k"]))
    if "top_p" in settings:
        warpers.append(TopPLogitsWarper(settings["top_p"]))
    expected_V = warpers(torch.zeros(1, 1, dtype=torch.int64), logits_BV.clone()).softmax(-1)[0]
    # an even grid of random numbers: every token gets its share up to one draw at each end
    grid = (torch.arange(NUM_DRAWS, dtype=torch.float64) + 0.5) / NUM_DRAWS
    drawn = draw(logits_BV.expand(NUM_DRAWS, -1), grid, GenerationConfig(**settings))
    shares_V = torch.bincount(drawn.flatten(), minlength=VOCABULARY) / NUM_DRAWS
    torch.testing.assert_close(shares_V, expected_V, atol=2 / NUM_DRAWS, rtol=0)
    assert not shares_V[expected_V == 0].any()


@pytest.mark.parametrize("temperature", [1.0, 50.0])
def test_top_p_over_a_large_vocabulary(temperature: float) -> None:
    """Sharp: few tokens hold the probability. Flat: many thousand do."""
    logits_BV = torch.randn(1, 20_000, generator=torch.Generator().manual_seed(3)) * 5
    warped = TopPLogitsWarper(0.9)(torch.zeros(1, 1, dtype=torch.int64), logits_BV / temperature)
    allowed = set(warped[0].isfinite().nonzero().flatten().tolist())
    grid = (torch.arange(300, dtype=torch.float64) + 0.5) / 300
    drawn = draw(logits_BV.expand(300, -1), grid, GenerationConfig(temperature=temperature, top_p=0.9))
    found = set(drawn.flatten().tolist())
    assert found <= allowed
    assert len(found) > (250 if temperature > 1 else 5)


def test_the_last_random_number_below_one_draws_a_token() -> None:
    largest = torch.tensor([1 - 2.0**-53], dtype=torch.float64)
    assert draw(torch.zeros(1, 5), largest, GenerationConfig(temperature=1.0)).tolist() == [[4]]


def test_drawn_answers_depend_on_the_seed_and_not_on_the_batch() -> None:
    model = build("llama", FOREST)
    prompts = [[5, 6, 7, 8], [5, 6, 7, 9, 10], [5, 6], [5, 6], [40, 41]]

    def answers(**settings: Any) -> list[Completion]:
        config = GenerationConfig(max_new_tokens=15, temperature=1.0, top_p=0.9, **settings)
        return generate(model, prompts, config, stop_ids=frozenset({3}))

    together = answers(seed=1)
    assert answers(seed=1) == together
    assert answers(seed=1, batch_size=2) == together
    assert answers(seed=2) != together
    assert together[2] != together[3], "the same prompt twice gets two draws"


@pytest.mark.parametrize("num_common", [0, SHORT + 6], ids=["short", "long"])
@pytest.mark.parametrize("family", ["llama", "mistral-window"])
def test_samples_of_a_prompt_are_those_that_it_gets_alone(family: str, num_common: int) -> None:
    model = build(family, FOREST)
    common = [9 + place % 50 for place in range(num_common)]
    rests = ([5, 6, 7, 8], [5, 6, 7, 9, 10, 11, 12], [40, 41])
    prompts = [[*common, *rest] for rest in rests for _ in range(6)]
    config = GenerationConfig(max_new_tokens=40, temperature=1.0, seed=3)
    ends = frozenset(range(8))  # samples of a prompt end at different steps, and prompts too
    together = generate(model, prompts, config, stop_ids=ends, logprobs=True)
    alone = generate(model, prompts, config.model_copy(update={"batch_size": 1}), stop_ids=ends, logprobs=True)
    assert together == alone
    assert len({len(one.token_ids) for one in together}) > 4
    noted, exact = ([x for one in some for x in one.logprobs] for some in (together, alone))
    assert noted == pytest.approx(exact, abs=1e-4)
