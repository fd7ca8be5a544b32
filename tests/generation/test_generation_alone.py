"""Answers of models whose rows run alone: what all prompts begin with is run once, and each goes on from its state."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from test_generation_greedy import expected
from transformers import AutoModelForCausalLM, FalconMambaConfig, Lfm2Config, PreTrainedConfig

from weitiao.generation.alone import RowsAlone, run_beginning
from weitiao.generation.config import GenerationConfig
from weitiao.generation.generate import generate
from weitiao.models.attention import runs_alone, set_backend

STEM = list(range(5, 25))
PROMPTS = [[*STEM, 30], [*STEM, 31, 32, 33], [*STEM, 40, 41], [*STEM, 50, 51, 52, 53, 54]]
CONFIGS = {
    "convolutions and attention": Lfm2Config(
        vocab_size=120, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, layer_types=["conv", "full_attention"], initializer_range=0.15, pad_token_id=0,
    ),
    "recurrent": FalconMambaConfig(
        vocab_size=120, hidden_size=32, num_hidden_layers=2, state_size=4, initializer_range=0.15, pad_token_id=0
    ),
}  # fmt: skip


def made(config: PreTrainedConfig) -> torch.nn.Module:
    torch.manual_seed(0)
    return AutoModelForCausalLM.from_config(config).eval()


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def test_a_beginning_is_run_once_and_answers_are_those_of_transformers(config: PreTrainedConfig) -> None:
    whole = expected(made(config), PROMPTS, num_tokens=12)
    model, runs = made(config), []
    set_backend(model, "alone")
    settings = GenerationConfig(max_new_tokens=12, batch_size=3)
    generate(model, PROMPTS, settings, stop_ids=frozenset())  # once, to find out how it may be run
    model.base_model.register_forward_pre_hook(
        lambda module, args, kwargs: runs.append(kwargs["input_ids"].shape[1]), with_kwargs=True
    )
    assert generate(model, PROMPTS, settings, stop_ids=frozenset()) == whole
    assert runs_alone(model)
    assert runs.count(len(STEM)) == 1
    assert max(runs) == len(STEM)
    runs.clear()
    apart = settings.model_copy(update={"share_prefixes": False})
    assert generate(model, PROMPTS, apart, stop_ids=frozenset()) == whole
    assert sum(length > len(STEM) for length in runs) == len(PROMPTS)


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def test_rounding_does_not_hide_that_rows_have_to_be_alone(config: PreTrainedConfig) -> None:
    """In bfloat16 the losses of mixed rows are no further apart than rounding explains; the answers are others."""
    model = made(config).bfloat16()
    weights = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    whole = expected(model, PROMPTS, num_tokens=12)
    assert generate(model, PROMPTS, GenerationConfig(max_new_tokens=12), stop_ids=frozenset()) == whole
    assert runs_alone(model)
    assert all(tensor.dtype == torch.bfloat16 and tensor.equal(weights[n]) for n, tensor in model.state_dict().items())


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def test_a_model_that_takes_one_token_at_a_time_is_given_one(config: PreTrainedConfig) -> None:
    model = made(config)
    set_backend(model, "alone")
    plain = RowsAlone(model, PROMPTS).prefill()
    beginning = run_beginning(model, STEM, PROMPTS[1][len(STEM) :])
    for one in (beginning, replace(beginning, in_one=False)):
        torch.testing.assert_close(RowsAlone(model, PROMPTS, one).prefill(), plain, atol=1e-5, rtol=1e-5)
    assert beginning.row.tokens == STEM  # what rows copy stays as it was
