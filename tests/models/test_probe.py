"""Whether a model may be run in a forest is measured: what differs is refused with the number, what agrees runs."""

from __future__ import annotations

import copy
import random
import re
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from reference import FAMILIES, VOCABULARY, build, forest_rows, gradient, loss_and_gradient
from torch import nn
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    CohereConfig,
    FalconMambaConfig,
    GPT2Config,
    GraniteConfig,
    Lfm2Config,
    Llama4TextConfig,
    LlamaConfig,
    MistralConfig,
    ModernBertDecoderConfig,
    OPTConfig,
    Phi3Config,
    PretrainedConfig,
    Qwen2Config,
    Qwen3NextConfig,
)

from weitiao.errors import ModelError
from weitiao.forest.layout import build_forest
from weitiao.generation.config import GenerationConfig
from weitiao.generation.generate import generate
from weitiao.methods.fused.layer import fuse_layers
from weitiao.models.alone import branches
from weitiao.models.attention import FOREST, runs_alone
from weitiao.models.losses import token_losses
from weitiao.models.parts import checkpoint_layers, decoder
from weitiao.models.probe import forest_or_alone, probe_forest, probe_once
from weitiao.rendering.items import TokenSequence, as_items

SIZES: dict[str, Any] = {
    "vocab_size": VOCABULARY, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2,
    "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 8, "max_position_embeddings": 512,
    "initializer_range": 0.15, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2,
}  # fmt: skip
ROWS = [row.token_ids.tolist() for row in forest_rows()]
LEAVES = [row.inputs for row in forest_rows() if row.row_id[-1] not in "25"]  # those two are how others begin


def made(config: PretrainedConfig, attention: str = FOREST) -> nn.Module:
    torch.manual_seed(0)
    return AutoModelForCausalLM.from_config(copy.deepcopy(config), attn_implementation=attention).eval()


def without(*names: str, **more: Any) -> dict[str, Any]:
    return {name: value for name, value in SIZES.items() if name not in names} | more


@pytest.mark.parametrize(
    "config",
    [
        GraniteConfig(**without("head_dim"), logits_scaling=8.0, embedding_multiplier=3.0, residual_multiplier=0.5),
        CohereConfig(**without("head_dim"), logit_scale=0.0625),
        ModernBertDecoderConfig(**without("num_key_value_heads", "head_dim"), sliding_window=12),
        GPT2Config(vocab_size=VOCABULARY, n_embd=32, n_layer=2, n_head=4, n_positions=512, initializer_range=0.15),
        OPTConfig(**without("intermediate_size"), ffn_dim=48, word_embed_proj_dim=32, init_std=0.15),
        Llama4TextConfig(**SIZES, intermediate_size_mlp=48, num_local_experts=2, num_experts_per_tok=1),
    ],
    ids=["granite scales logits", "cohere scales logits", "a layer before the head", "gpt2", "opt", "llama4"],
)
def test_logits_that_are_more_than_the_head_are_computed(config: PretrainedConfig) -> None:
    model = made(config)
    probe_forest(model, ROWS, longest=51)
    require_equal(model, made(config, "eager"))


def require_equal(model: nn.Module, plain: nn.Module) -> None:
    """Losses, gradients and greedy answers against those of a plain model, sequence by sequence."""
    rows = forest_rows()
    expected_loss, expected_gradient = loss_and_gradient(plain, rows)
    losses, weights = token_losses(model, build_forest(as_items(rows)))
    (losses * weights).sum().backward()
    assert (losses * weights).sum().item() == pytest.approx(expected_loss, rel=1e-6)
    assert (gradient(model) - expected_gradient).norm() / expected_gradient.norm() < 1e-5
    prompts = [ROWS[0][:9], ROWS[2][:12], ROWS[5][:5]]
    answers = generate(model, prompts, GenerationConfig(max_new_tokens=5, temperature=0), stop_ids=frozenset())
    for prompt, answer in zip(prompts, answers, strict=True):
        ids = list(prompt)
        with torch.no_grad():
            for _ in range(5):
                ids.append(int(plain(input_ids=torch.tensor([ids]), use_cache=False).logits[0, -1].argmax()))
        assert list(answer.token_ids) == ids[len(prompt) :]


def test_the_dropout_of_attention_is_called_what_the_model_calls_it() -> None:
    model = made(GPT2Config(vocab_size=VOCABULARY, n_embd=32, n_layer=1, n_head=4, attn_pdrop=0.3)).train()
    with pytest.raises(ModelError, match=r"attn_pdrop=0\.3.*\n?.*Set attn_pdrop to 0"):
        token_losses(model, build_forest(as_items(forest_rows())))


@pytest.mark.parametrize(
    ("config", "reason"),
    [
        (Lfm2Config(**without("head_dim"), layer_types=["conv", "full_attention"]), r"by \d+\.\d+%.*side by side"),
        (
            Qwen3NextConfig(
                **SIZES, layer_types=["linear_attention", "full_attention"], num_experts=4, num_experts_per_tok=2,
                moe_intermediate_size=16, shared_expert_intermediate_size=16, linear_num_value_heads=2,
                linear_num_key_heads=2, linear_key_head_dim=8, linear_value_head_dim=8,
            ),
            r"by \d+\.\d+%.*side by side",
        ),
        (
            FalconMambaConfig(
                vocab_size=VOCABULARY, hidden_size=32, num_hidden_layers=2, state_size=4, initializer_range=0.15
            ),
            r"by \d+\.\d+%.*side by side",
        ),
        (AutoConfig.for_model("bloom", vocab_size=VOCABULARY, hidden_size=32, n_layer=2, n_head=4), r"by \d+\.\d\d%"),
        (AutoConfig.for_model("mpt", vocab_size=VOCABULARY, d_model=32, n_layers=2, n_heads=4), "MptForC.* cannot be"),
        (AutoConfig.for_model("stablelm", **without("head_dim")), "not handed the forest"),
    ],
    ids=["convolution", "linear attention", "recurrent", "alibi", "mpt", "no keyword arguments"],
)  # fmt: skip
def test_what_differs_is_refused_by_name_and_number_and_its_rows_run_alone(
    config: PretrainedConfig, reason: str
) -> None:
    model = made(config)
    with pytest.raises(ModelError, match=reason) as found:
        probe_forest(model, ROWS, longest=51)
    assert found.value.remedy
    assert not runs_alone(model)
    why = forest_or_alone(model, ROWS, longest=51)
    assert why is not None
    assert re.search(reason, why)
    assert runs_alone(model)
    assert forest_or_alone(model, ROWS, longest=51) is None
    assert branches(decoder(model)) == ("once for all" in why)
    tokens: list[int] = []
    hook = decoder(model).register_forward_pre_hook(
        lambda module, args, given: tokens.append(given["input_ids"].shape[1]), with_kwargs=True
    )
    token_losses(model, build_forest(as_items(forest_rows())))
    hook.remove()
    # of beginnings that are run once there are as many tokens as in a forest
    expected = len(build_forest(as_items(forest_rows())).layout) if branches(decoder(model)) else sum(map(len, LEAVES))
    assert sum(tokens) == expected
    require_equal(model, made(config, "eager"))


def test_layers_that_are_computed_twice_hand_on_no_state() -> None:
    config = Lfm2Config(**without("head_dim"), layer_types=["conv", "full_attention"])
    model, rows = made(config).train(), forest_rows()
    forest_or_alone(model, ROWS, longest=51)
    assert branches(decoder(model))
    checkpoint_layers(model, 1)  # after it was tried
    assert not branches(decoder(model))
    losses, weights = token_losses(model, build_forest(as_items(rows)))
    expected, _ = loss_and_gradient(made(config, "eager"), rows)
    assert (losses * weights).sum().item() == pytest.approx(expected, rel=1e-6)


def test_what_is_wrong_alone_too_is_refused() -> None:
    model = made(AutoConfig.for_model("bert", **without("num_key_value_heads", "head_dim"), is_decoder=False))
    with pytest.raises(ModelError, match="BertLMHeadModel"):
        forest_or_alone(model, ROWS, longest=51)


def phi3_long() -> PretrainedConfig:
    factors = {"short_factor": [1.0] * 4, "long_factor": [4.0] * 4}
    return Phi3Config(
        **without("head_dim"),
        original_max_position_embeddings=64,
        rope_parameters={
            "rope_type": "longrope",
            "rope_theta": 10000.0,
            **factors,
            "original_max_position_embeddings": 64,
        },
    )


def test_rotations_that_depend_on_the_longest_row_are_refused_from_where_they_change() -> None:
    model = made(phi3_long())
    probe_forest(model, ROWS, longest=64)
    with pytest.raises(ModelError, match="from 65 on") as found:
        probe_forest(model, ROWS, longest=200)
    assert "up to 64 tokens" in str(found.value.remedy)


def test_a_model_found_exact_is_asked_again_for_longer_rows_only(caplog: pytest.LogCaptureFixture) -> None:
    model, calls = made(phi3_long()), []
    model.model.register_forward_hook(lambda *_: calls.append(1))
    probe_once(model, ROWS, longest=51)
    first = len(calls)
    probe_once(model, ROWS, longest=40)
    assert first
    assert len(calls) == first
    probe_once(model, ROWS, longest=51, share_prefixes=False)
    assert len(calls) > first
    for _ in range(2):
        probe_once(model, ROWS, longest=200)
    (said,) = [record.getMessage() for record in caplog.records]
    assert "from 65 on" in said
    assert runs_alone(model)


def test_a_mask_in_chunks_is_refused_for_rows_longer_than_a_chunk() -> None:
    config = Llama4TextConfig(
        **SIZES, intermediate_size_mlp=48, num_local_experts=2, num_experts_per_tok=1, attention_chunk_size=40,
        layer_types=["chunked_attention", "full_attention"],
    )  # fmt: skip
    model = made(config)
    probe_forest(model, ROWS, longest=40)
    with pytest.raises(ModelError, match="from 41 on"):
        probe_forest(model, ROWS, longest=100)


def test_a_window_is_followed_at_any_length() -> None:
    probe_forest(made(MistralConfig(**SIZES, sliding_window=30)), ROWS, longest=300)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16], ids=str)
def test_families_that_agree_are_let_through_in_every_type(family: str, dtype: torch.dtype) -> None:
    model = build(family, FOREST).to(dtype)
    for share in (True, False):
        probe_forest(model, ROWS, longest=90, share_prefixes=share)
    assert model.config._attn_implementation == FOREST


def test_fused_layers_and_adapters_are_probed_as_they_are() -> None:
    model = get_peft_model(build("llama", FOREST), LoraConfig(task_type="CAUSAL_LM", r=4, target_modules=["q_proj"]))
    for parameter in model.parameters():
        if parameter.requires_grad:
            torch.nn.init.normal_(parameter, std=0.2)
    assert fuse_layers(model) == 2
    probe_forest(model.train(), ROWS, longest=51)
    assert model.training
    layer = model.get_base_model().model.layers[1]
    layer.mlp = copy.deepcopy(layer.mlp)
    with torch.no_grad():
        layer.mlp.up_proj.weight.mul_(2)  # the fused layer alone computes another function now
    with pytest.raises(ModelError, match="computed alone"):
        probe_forest(model, ROWS, longest=51)


@pytest.mark.parametrize("rows", [[[7]], [[7] * 40], [[7, 7], [7]], [[0], [1]]])
def test_rows_of_any_kind_will_do(rows: list[list[int]]) -> None:
    probe_forest(build("llama", FOREST), rows, longest=max(map(len, rows)))


def test_random_rows_never_raise_a_false_alarm() -> None:
    rng, model = random.Random(0), made(LlamaConfig(**SIZES))
    for _ in range(30):
        rows = [[rng.randrange(VOCABULARY) for _ in range(rng.randrange(1, 60))] for _ in range(rng.randrange(1, 5))]
        probe_forest(model, rows, longest=max(map(len, rows)))


def test_the_number_is_how_far_the_losses_are_apart() -> None:
    """Layers that hand on another window than the one of the model's mask."""
    config = Qwen2Config(
        **without("head_dim"), use_sliding_window=True, sliding_window=12, layer_types=["sliding_attention"] * 2
    )
    model, plain = made(config), made(config, "eager")
    probe_forest(model, ROWS, longest=51)
    for layer in model.model.layers:
        layer.self_attn.sliding_window = 3
    with pytest.raises(ModelError) as found:
        probe_forest(model, [ROWS[0]], longest=16)
    stated = float(re.search(r"by (\d+\.\d\d)%", str(found.value)).group(1)) / 100  # type: ignore[union-attr]
    row = TokenSequence.of("row", ROWS[0][:16], (0.0,) + (1.0,) * 15)
    with torch.no_grad():
        wrong, _ = token_losses(model, build_forest(as_items([row])))
        ids = torch.tensor(row.token_ids.tolist())
        right = torch.nn.functional.cross_entropy(plain(ids[None]).logits[0, :-1], ids[1:], reduction="none")
    apart = (wrong - right).abs() / right.mean()
    assert apart.mean() < stated <= apart.max() + 1e-4
