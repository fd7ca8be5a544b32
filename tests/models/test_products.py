"""Products with frozen weights are those of float64, however the weight lies."""

from __future__ import annotations

import pytest
import torch

from weitiao.models.products import LEAST_PRODUCTS, product


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
