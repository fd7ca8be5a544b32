"""A base model in four bits (QLoRA, https://arxiv.org/abs/2305.14314, section 3) or eight (LLM.int8(),
https://arxiv.org/abs/2208.07339): what bitsandbytes does to the linear layers while they are loaded."""

from __future__ import annotations

import importlib.util
import logging
from typing import TYPE_CHECKING, Any, Literal

from weitiao.errors import MissingExtraError

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel

Quantization = Literal["nf4", "fp4", "int8"]


def quantization_options(quantization: Quantization, dtype: torch.dtype) -> dict[str, Any]:
    """Keyword arguments of `from_pretrained` for a model in four or eight bits.

    Args:
        quantization: The code that weights are rounded to: four bits in blocks of 64 with a scale each, which are
            quantised too; or eight with a scale for each output, where inputs are rounded as well, token by token.
        dtype: In which the layers compute; the embeddings and the head stay in it.

    Raises:
        MissingExtraError: bitsandbytes is not installed.
    """
    if importlib.util.find_spec("bitsandbytes") is None:
        raise MissingExtraError(f"model.quantization: {quantization}", "quant")
    from transformers import BitsAndBytesConfig

    if quantization == "int8":
        quiet_int8()
        # A threshold above 0 leaves out columns in which any token is large: rows side by side would change each other.
        return {"quantization_config": BitsAndBytesConfig(load_in_8bit=True, llm_int8_threshold=0.0)}
    settings = BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type=quantization,
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=dtype,
    )
    return {"quantization_config": settings}


def quiet_int8() -> None:
    """Keep bitsandbytes from saying at every product that inputs go through float16."""
    logging.getLogger("bitsandbytes.autograd._functions").setLevel(logging.ERROR)


def keep_layout(model: PreTrainedModel) -> None:
    """Keep four-bit weights as they were rounded, on processors with bfloat16 units too.

    There bitsandbytes packs them anew at the first call that learns nothing, a validation or a trial, for a kernel
    without a backward pass: whatever lies below such a layer then learns nothing from it, without a word.
    """
    for module in model.modules():
        if getattr(module, "support_avx512bf16_for_cpu", False):
            module.support_avx512bf16_for_cpu = False


def dequantized(model: PreTrainedModel, dtype: torch.dtype) -> PreTrainedModel:
    """The same model with the rounded weights written out: an adapter merged into few bits would be rounded away."""
    plain: PreTrainedModel = model.dequantize(dtype)
    return plain
