"""Products are those of float64, however the weight lies, and so are the gradients of layers that are made of them."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.autograd.graph import saved_tensors_hooks
from transformers import AutoModelForCausalLM

from weitiao.models.products import LEAST_PRODUCTS, FastLinear, is_linear, product, put_fast_linears


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("turned", [False, True], ids=["as it is", "turned round"])
def test_products_are_those_of_float64(dtype: torch.dtype, turned: bool) -> None:
    torch.manual_seed(0)
    x, onto = torch.randn(600, 208).to(dtype)[:, 8:], torch.randn(600, 160).to(dtype)
    weight = torch.randn(200, 160).to(dtype).t() if turned else torch.randn(160, 200).to(dtype)
    assert x.shape[0] * weight.numel() > LEAST_PRODUCTS
    expected = x.double() @ weight.double().t()
    tolerance = {"rtol": 1e-5, "atol": 1e-4} if dtype == torch.float32 else {"rtol": 2e-2, "atol": 0.2}
    torch.testing.assert_close(product(x, weight).double(), expected, **tolerance)
    torch.testing.assert_close(product(x, weight, onto=onto).double(), expected + onto.double(), **tolerance)
    torch.testing.assert_close(
        product(x, weight, into=torch.empty(600, 160, dtype=dtype)).double(), expected, **tolerance
    )


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("rows", [7, 1300], ids=["few", "many"])
def test_a_fast_layer_has_the_values_and_gradients_of_a_plain_one_in_float64(bias: bool, rows: int) -> None:
    torch.manual_seed(0)
    plain = nn.Linear(128, 160, bias=bias)
    fast, exact = FastLinear(plain), copy.deepcopy(plain).double()
    assert is_linear(fast)
    assert dict(fast.named_parameters()).keys() == dict(plain.named_parameters()).keys()
    x, grad = torch.randn(1, rows, 128), torch.randn(1, rows, 160)
    given, wanted = x.clone().requires_grad_(), x.double().requires_grad_()
    out, expected = fast(given), exact(wanted)
    torch.testing.assert_close(out.double(), expected, rtol=1e-5, atol=1e-5)
    out.backward(grad)
    expected.backward(grad.double())
    for one, other in [(given, wanted), *zip(plain.parameters(), exact.parameters(), strict=True)]:
        assert one.grad is not None
        torch.testing.assert_close(one.grad.double(), other.grad, rtol=1e-4, atol=2e-4)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert fast(x).dtype == torch.bfloat16


def test_a_model_with_fast_layers_is_the_same_model(tiny_llama_dir: Path) -> None:
    model = AutoModelForCausalLM.from_pretrained(tiny_llama_dir)
    names = {name: parameter.data_ptr() for name, parameter in model.named_parameters(remove_duplicate=False)}
    put_fast_linears(model)
    assert {name: one.data_ptr() for name, one in model.named_parameters(remove_duplicate=False)} == names
    assert all(is_linear(one) for one in model.modules() if isinstance(one, nn.Linear))


@pytest.mark.parametrize(("of_x", "of_weight"), [(True, False), (False, True), (True, True)])
def test_a_fast_layer_keeps_what_a_plain_one_keeps(of_x: bool, of_weight: bool) -> None:
    """Of a frozen layer the input is not kept: it would be most of what a step holds where the first layers learn."""
    plain = nn.Linear(256, 256, bias=False).requires_grad_(of_weight)
    x = torch.randn(LEAST_PRODUCTS // 256**2 + 1, 256, requires_grad=of_x)

    def kept(layer: nn.Module) -> set[int]:
        found: set[int] = set()

        def note(tensor: torch.Tensor) -> torch.Tensor:
            found.add(tensor.untyped_storage().data_ptr())
            return tensor

        with saved_tensors_hooks(note, lambda tensor: tensor):
            layer(x)
        return found

    assert kept(FastLinear(plain)) == kept(plain)
