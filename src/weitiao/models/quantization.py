"""A base model in four bits: what bitsandbytes does to the linear layers while they are loaded (QLoRA,
https://arxiv.org/abs/2305.14314, section 3)."""

from __future__ import annotations

import importlib.util
from typing import TYPE_CHECKING, Any, Literal

from weitiao.errors import MissingExtraError

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel

Quantization = Literal["nf4", "fp4"]


def quantization_options(quantization: Quantization, dtype: torch.dtype) -> dict[str, Any]:
    """Keyword arguments of `from_pretrained` for a model in four bits.

    Args:
        quantization: The code that weights are rounded to, in blocks of 64 with a scale each, which are quantised too.
        dtype: In which the layers compute; the embeddings and the head stay in it.

    Raises:
        MissingExtraError: bitsandbytes is not installed.
    """
    if importlib.util.find_spec("bitsandbytes") is None:
        raise MissingExtraError(f"model.quantization: {quantization}", "quant")
    from transformers import BitsAndBytesConfig

    settings = BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type=quantization,
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=dtype,
    )
    return {"quantization_config": settings}


def dequantized(model: PreTrainedModel, dtype: torch.dtype) -> PreTrainedModel:
    """The same model with the rounded weights written out: an adapter merged into four bits would be rounded away."""
    plain: PreTrainedModel = model.dequantize(dtype)
    return plain
