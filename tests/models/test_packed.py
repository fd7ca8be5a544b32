"""Linear layers that are laid out for answers: the same numbers up to rounding, and no second copy of the weights."""

from __future__ import annotations

import pytest
import torch
from reference import VOCABULARY, build
from torch import nn

from weitiao.models.packed import PackedLinear, can_pack, packed_linears


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("shape", [(1,), (16,), (1, 5), (2, 1, 70)])
def test_a_packed_layer_gives_what_the_layer_gives(shape: tuple[int, ...], bias: bool) -> None:
    torch.manual_seed(0)
    linear, x = nn.Linear(33, 47, bias=bias), torch.randn(*shape, 33)
    with torch.no_grad():
        exact = nn.functional.linear(
            x.double(), linear.weight.double(), None if bias is False else linear.bias.double()
        )
        torch.testing.assert_close(PackedLinear(linear.weight, linear.bias)(x).double(), exact, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("family", ["llama", "mixtral", "gpt_neox", "gpt_oss", "gemma2"])
def test_a_packed_model_gives_the_same_logits(family: str) -> None:
    model = build(family, "eager")
    ids = torch.randint(0, VOCABULARY, (1, 40), generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        expected = model(ids).logits
        assert can_pack(model)
        head = model.get_output_embeddings()  # type: ignore[operator]
        tied = head.weight is model.get_input_embeddings().weight  # type: ignore[operator]
        before = sum(one.numel() for one in model.parameters())
        replaced = packed_linears(model)
        assert len(replaced) > 8
        for (parent, name, linear), packed in replaced:
            assert packed.weight.equal(linear.weight)
            setattr(parent, name, packed)
        left = sum(one.numel() for one in model.parameters())
        assert not any(type(one) is nn.Linear for one in model.modules())
        assert left < before
        assert tied or left <= before - head.weight.numel()
        torch.testing.assert_close(model(ids).logits, expected, atol=2e-4, rtol=1e-4)


def test_other_formats_are_left_as_they_are() -> None:
    assert not can_pack(build("llama", "eager").bfloat16())
