"""Which layers `all-linear` means."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from transformers import (
    AfmoeConfig,
    AfmoeForCausalLM,
    HunYuanMoEV1Config,
    HunYuanMoEV1ForCausalLM,
    JetMoeConfig,
    JetMoeForCausalLM,
    PreTrainedModel,
)

from weitiao.methods.lora import LoraConfig

SIZES = {"vocab_size": 64, "hidden_size": 32, "num_hidden_layers": 2, "max_position_embeddings": 64}


def afmoe() -> PreTrainedModel:
    return AfmoeForCausalLM(
        AfmoeConfig(
            **SIZES, intermediate_size=48, moe_intermediate_size=16, num_attention_heads=4, num_key_value_heads=2,
            head_dim=8, num_experts=6, num_experts_per_tok=2, num_dense_layers=1,
        )
    )  # fmt: skip


def hunyuan() -> PreTrainedModel:
    return HunYuanMoEV1ForCausalLM(
        HunYuanMoEV1Config(
            **SIZES, intermediate_size=48, num_attention_heads=4, num_key_value_heads=2, head_dim=8, num_experts=6,
            moe_topk=2,
        )
    )  # fmt: skip


def jetmoe() -> PreTrainedModel:
    return JetMoeForCausalLM(
        JetMoeConfig(
            **SIZES, intermediate_size=48, num_key_value_heads=2, kv_channels=8, num_local_experts=6,
            num_experts_per_tok=2,
        )
    )  # fmt: skip


def adapted_layers(model: PreTrainedModel) -> set[str]:
    adapted = LoraConfig(r=2).build().apply(model, seed=0)
    return {name.split(".lora_")[0] for name, one in adapted.named_parameters() if one.requires_grad}


@pytest.mark.parametrize(
    ("make", "router", "projection"),
    [(afmoe, "router.gate", "v_proj"), (hunyuan, "gate.wg", "v_proj"), (jetmoe, "router.layer", "kv_proj")],
)
def test_routers_get_no_adapter(make: Callable[[], PreTrainedModel], router: str, projection: str) -> None:
    model = make()
    assert any(name.endswith(router) for name, _ in model.named_modules())
    learned = adapted_layers(model)
    assert not any(name.endswith(router) for name in learned)
    assert sum(name.endswith(projection) for name in learned) == SIZES["num_hidden_layers"]


def test_keys_and_values_as_wide_as_there_are_experts_get_one() -> None:
    sizes = {"num_attention_heads": 4, "num_key_value_heads": 1, "head_dim": 8, "num_experts": 8, "moe_topk": 2}
    model = HunYuanMoEV1ForCausalLM(HunYuanMoEV1Config(**SIZES, **sizes, intermediate_size=48))
    learned = {name.rsplit(".", 1)[-1] for name in adapted_layers(model)}
    assert {"k_proj", "v_proj"} <= learned
    assert "wg" not in learned
