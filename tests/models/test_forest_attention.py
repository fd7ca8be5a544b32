"""Forest attention in eight families: the loss and the gradient of each sequence alone."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from reference import FAMILIES, build, forest_rows, gradient, loss_and_gradient

from weitiao.forest.layout import Layout, build_forest, build_layout
from weitiao.forest.plan import pack
from weitiao.models.attention import FOREST, ForestAttention
from weitiao.models.attention_flex import block_mask
from weitiao.models.scoring import Scoring
from weitiao.objectives.sft import Sft
from weitiao.rendering.items import as_items


@pytest.mark.parametrize("share", [True, False])
@pytest.mark.parametrize("family", FAMILIES)
def test_loss_and_gradient_equal_those_of_each_sequence_alone(family: str, share: bool) -> None:
    rows = forest_rows()
    expected_loss, expected_gradient = loss_and_gradient(build(family, "eager"), rows)
    model = build(family, FOREST)
    loss = Sft(model)(build_forest(as_items(rows), share_prefixes=share)).total
    loss.backward()
    assert loss.item() == pytest.approx(expected_loss, rel=1e-6)
    error = (gradient(model) - expected_gradient).norm() / expected_gradient.norm()
    assert error < 1e-5


def test_losses_of_sequences_are_theirs_however_they_are_packed() -> None:
    rows = forest_rows()
    model = build("llama", FOREST)
    alone = {s.row_id: Sft(model)(build_forest(as_items([s]))).total.item() for s in rows}
    for budget in (55, 90, 500):
        for forest in pack(as_items(rows), token_budget=budget, share_prefixes=True):
            together = Sft(model)(forest).per_item.tolist()
            assert dict(zip(forest.row_ids, together, strict=True)) == pytest.approx(
                {row_id: alone[row_id] for row_id in forest.row_ids}, rel=1e-5
            )


@pytest.mark.parametrize("window", [None, 7, 150])
def test_flex_attention_sees_what_the_dense_mask_shows_and_skips_blocks_it_hides(window: int | None) -> None:
    from torch.nn.attention.flex_attention import create_block_mask

    layout = branching_layout()
    made = block_mask(layout, torch.device("cpu"), sliding_window=window)
    reference = create_block_mask(made.mask_mod, None, None, len(layout), len(layout), device="cpu")
    assert made.seq_lengths == reference.seq_lengths
    if window is None:
        assert torch.equal(made.to_dense(), reference.to_dense())
        assert torch.equal(made.full_kv_num_blocks, reference.full_kv_num_blocks)
    assert made.to_dense().sum() < 0.8 * made.to_dense().numel()
    torch.manual_seed(0)
    query, key, value = (torch.randn(heads, len(layout), 16, dtype=torch.float64) for heads in (4, 2, 2))
    for extra in ({}, {"softcap": 0.5}, {"sinks": torch.randn(4, dtype=torch.float64)}):
        flex, dense = (
            ForestAttention(layout, torch.device("cpu"), backend).attend(
                torch.nn.Identity(), query, key, value, Scoring(0.25, window, **extra)
            )
            for backend in ("flex", "dense")
        )
        close = 1e-6 if extra else 1e-12  # beside sinks and caps, scores are made in float32
        torch.testing.assert_close(flex, dense, rtol=close, atol=close)


def branching_layout() -> Layout:
    """A trunk of 300 tokens with branches of 5 to 255, and two trees of their own: 13 blocks of 128 tokens."""
    trunk = np.arange(300)
    rows = [np.concatenate([trunk, np.full(length, 400 + length)]) for length in range(5, 300, 50)]
    return build_layout([*rows, np.full(290, 1000), np.full(215, 1001)])[0]


def test_smollm2_forest_gradient_equals_each_sequence_alone(smollm2_dir) -> None:  # type: ignore[no-untyped-def]
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from weitiao.data.example import Example
    from weitiao.methods.fused.layer import num_fused
    from weitiao.methods.lora import LoraConfig
    from weitiao.rendering.config import RenderingConfig
    from weitiao.rendering.render import render

    questions = ["2 + 2 = ?", "Which colour has the sky?", "天空是什么颜色？"]
    examples = [
        Example(
            f"rows:{i}",
            (
                {"role": "system", "content": "Answer in one word, without any explanation, and end with a full stop."},
                {"role": "user", "content": question},
                {"role": "assistant", "content": answer},
            ),
        )
        for i, (question, answer) in enumerate(zip(questions, ["4.", "Blue.", "蓝色。"], strict=True))
    ]
    tokenizer = AutoTokenizer.from_pretrained(smollm2_dir)
    rows = render(examples, tokenizer, RenderingConfig(), max_context=512).sequences

    def adapted(attention: str, *, fused: bool = False) -> torch.nn.Module:
        base = AutoModelForCausalLM.from_pretrained(smollm2_dir, dtype=torch.float32, attn_implementation=attention)
        model = LoraConfig(r=4, fused=fused).build().apply(base, seed=0)
        torch.manual_seed(1)
        for parameter in model.parameters():
            if parameter.requires_grad:
                torch.nn.init.normal_(parameter, std=0.02)
        return model

    expected_loss, expected_gradient = loss_and_gradient(adapted("sdpa"), rows)
    for fused in (False, True):
        model = adapted(FOREST, fused=fused)
        assert num_fused(model) == (30 if fused else 0)
        loss = Sft(model)(build_forest(as_items(rows))).total
        loss.backward()
        assert loss.item() == pytest.approx(expected_loss, rel=3e-6)
        assert (gradient(model) - expected_gradient).norm() / expected_gradient.norm() < 1e-5
