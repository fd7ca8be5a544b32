"""The chunked loss against PyTorch's own in float64."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from peft import LoraConfig, inject_adapter_in_model
from transformers import Mamba2Config, Mamba2ForCausalLM

from weitiao.generation.config import GenerationConfig
from weitiao.generation.generate import generate
from weitiao.models import head as head_module
from weitiao.models.attention import set_backend
from weitiao.models.config import ModelConfig
from weitiao.models.head import CHUNK_LOGITS, cross_entropy
from weitiao.models.load import load_model


def test_losses_and_gradients_equal_pytorchs_over_several_chunks() -> None:
    torch.manual_seed(0)
    vocabulary, num_targets = 40_000, 900
    assert num_targets * vocabulary > 2 * CHUNK_LOGITS
    hidden = torch.randn(num_targets, 6, requires_grad=True)
    head = torch.nn.Linear(6, vocabulary)
    labels, upstream = torch.randint(vocabulary, (num_targets,)), torch.rand(num_targets)
    losses = cross_entropy(hidden, head, labels)
    (losses * upstream).sum().backward()

    exact = [t.detach().double().requires_grad_() for t in (hidden, head.weight, head.bias)]
    expected = F.cross_entropy(F.linear(*exact), labels, reduction="none")
    (expected * upstream.double()).sum().backward()
    torch.testing.assert_close(losses.double(), expected, atol=1e-5, rtol=1e-6)
    for made, reference in zip((hidden, head.weight, head.bias), exact, strict=True):
        torch.testing.assert_close(made.grad.double(), reference.grad, atol=1e-5, rtol=1e-4)


def test_a_frozen_head_gets_no_gradient() -> None:
    hidden = torch.randn(5, 4, requires_grad=True)
    head = torch.nn.Linear(4, 9, bias=False).requires_grad_(False)
    cross_entropy(hidden, head, torch.arange(5)).sum().backward()
    assert head.weight.grad is None
    assert hidden.grad is not None


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_the_gradient_of_what_is_nearly_learned_survives_a_short_type(dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    head = torch.nn.Linear(64, 1000, bias=False, dtype=dtype).requires_grad_(False)
    torch.nn.init.normal_(head.weight)
    labels = torch.randint(1000, (200,))
    hidden = (head.weight[labels].float() * 0.4 + 0.1 * torch.randn(200, 64)).to(dtype).requires_grad_()
    cross_entropy(hidden, head, labels).sum().backward()
    exact = hidden.detach().double().requires_grad_()
    losses = F.cross_entropy(exact @ head.weight.double().t(), labels, reduction="none")
    losses.sum().backward()
    assert losses.neg().exp().mean() > 0.99
    assert (hidden.grad.double() - exact.grad).norm() / exact.grad.norm() < 0.02


def adapted_head(**settings: object) -> torch.nn.Module:
    """PEFT's layer around a linear one, both with values that matter."""
    holder = torch.nn.Module()
    holder.lm_head = torch.nn.Linear(8, 50)
    model = inject_adapter_in_model(LoraConfig(r=3, target_modules=["lm_head"], **settings), holder)
    for parameter in model.lm_head.parameters():
        torch.nn.init.normal_(parameter)
    return model.lm_head


@pytest.mark.parametrize("settings", [{}, {"use_dora": True}, {"bias": "lora_only"}], ids=str)
def test_a_head_with_an_adapter_is_called_as_it_is(
    settings: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(head_module, "CHUNK_LOGITS", 50 * 7)  # three chunks
    torch.manual_seed(0)
    head, labels, upstream = adapted_head(**settings), torch.randint(50, (20,)), torch.rand(20)
    learned = [p for p in head.parameters() if p.requires_grad]
    results = []
    for losses in (cross_entropy, lambda h, f, y: F.cross_entropy(f(h), y, reduction="none")):
        hidden = torch.randn(20, 8, generator=torch.Generator().manual_seed(1)).requires_grad_()
        made = losses(hidden, head, labels)
        results.append([made.detach(), *torch.autograd.grad((made * upstream).sum(), [hidden, *learned])])
    assert len(learned) >= 2
    for ours, expected in zip(*results, strict=True):
        torch.testing.assert_close(ours, expected, atol=1e-5, rtol=1e-5)


def test_states_that_are_longer_than_the_head_go_through_the_models_own_cast(tmp_path: Path) -> None:
    """Mamba 2 hands on float32 (`residual_in_fp32`), whatever the format of its weights."""
    config = Mamba2Config(
        vocab_size=50, hidden_size=32, num_hidden_layers=1, num_heads=8, head_dim=8, state_size=8, n_groups=1,
        residual_in_fp32=True,
    )  # fmt: skip
    torch.manual_seed(0)
    Mamba2ForCausalLM(config).save_pretrained(tmp_path)
    model = load_model(ModelConfig(name=str(tmp_path), dtype="bfloat16"))
    set_backend(model, "alone")
    rows = [[5, 6, 7, 8], [5, 6, 9]]
    found = generate(model, rows, GenerationConfig(max_new_tokens=3), stop_ids=frozenset())
    for row, answer in zip(rows, found, strict=True):
        whole = model.generate(torch.tensor([row]), max_new_tokens=3, min_new_tokens=3, do_sample=False)
        assert list(answer.token_ids) == whole[0, len(row) :].tolist()
