"""The chunked loss against PyTorch's own in float64."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from weitiao.models.head import CHUNK_LOGITS, cross_entropy


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
