"""The rotary positions of a GGUF file as settings of transformers, which reads none of them (but for gpt-oss)."""

from __future__ import annotations

import copy
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from weitiao.errors import ModelError

if TYPE_CHECKING:
    from collections.abc import Callable

    from gguf import GGUFReader
    from numpy.typing import NDArray
    from transformers import PretrainedConfig

_FREQUENCIES, _LONG, _SHORT = "rope_freqs.weight", "rope_factors_long.weight", "rope_factors_short.weight"
"""By how much each frequency is divided: always (Llama 3.1 and later); in long contexts and in short (LongRoPE)."""
ROPE_TENSORS = (_FREQUENCIES, _LONG, _SHORT)
"""Tensors that are settings, not weights."""
REMEDY = "Use the model's Hugging Face directory or hub id instead."


def main_rotation(config: PretrainedConfig) -> dict[str, Any]:
    """The settings of a configuration that a file's are about: those of the layers that see everything."""
    parameters: dict[str, Any] = config.rope_parameters
    whole: dict[str, Any] = parameters.get("full_attention", parameters)
    return whole


def scale_positions(path: Path, reader: GGUFReader, config: PretrainedConfig) -> None:
    """Put what the file says of its rotary positions into a configuration.

    Args:
        path, reader: The file.
        config: What transformers read of it.

    Raises:
        ModelError: They are scaled in a way that is not known here.
    """
    architecture = str(reader.fields["general.architecture"].contents())

    def said(name: str) -> Any:
        field = reader.fields.get(f"{architecture}.rope.scaling.{name}")
        return None if field is None else field.contents()

    tensors = {one.name: one.data for one in reader.tensors if one.name in ROPE_TENSORS}
    kind = said("type") or ("linear" if said("factor") else "none")
    if _LONG in tensors and _SHORT in tensors:
        main_rotation(config).update(_longrope(said, tensors))
        config.original_max_position_embeddings = _original(said)  # Phi-3 takes it from here
    elif kind == "linear":
        main_rotation(config).update({"rope_type": "linear", "factor": float(said("factor"))})
    elif kind == "yarn" and architecture != "gpt-oss" and said("yarn_ext_factor") in (None, -1.0, 1.0):
        main_rotation(config).update(_yarn(said))
    elif kind != "none":
        raise ModelError(f"{path} scales its rotary positions ({kind}), which is not read from GGUF.", REMEDY)
    if _FREQUENCIES in tensors:
        main_rotation(config).update(_llama3(path, config, tensors[_FREQUENCIES]))


def _yarn(said: Callable[[str], Any]) -> dict[str, Any]:
    """YaRN (https://arxiv.org/abs/2309.00071); by what llama.cpp scales attention is told where it is not the usual."""
    factor = float(said("factor"))
    settings = {"rope_type": "yarn", "factor": factor, "original_max_position_embeddings": _original(said)}
    settings |= {name: float(value) for name in ("beta_fast", "beta_slow") if (value := said(f"yarn_{name}"))}
    own, damped = float(said("attn_factor") or 1), float(said("yarn_log_multiplier") or 0)
    if own != 1 or damped:
        settings["attention_factor"] = own * (0.1 * math.log(factor) + 1) / (0.1 * damped * math.log(factor) + 1)
    return settings


def _longrope(said: Callable[[str], Any], tensors: dict[str, NDArray[np.float32]]) -> dict[str, Any]:
    """LongRoPE (https://arxiv.org/abs/2402.13753), as Phi-3 has it."""
    return {
        "rope_type": "longrope",
        "long_factor": tensors[_LONG].astype(float).tolist(),
        "short_factor": tensors[_SHORT].astype(float).tolist(),
        "original_max_position_embeddings": _original(said),
        "attention_factor": float(said("attn_factor") or 1),
    }


def _original(said: Callable[[str], Any]) -> int:
    return int(said("original_context_length"))


def _llama3(path: Path, config: PretrainedConfig, factors: NDArray[np.float32]) -> dict[str, float | str]:
    """The settings of Llama 3.1 that give these divisors of the frequencies; the file holds nothing but them."""
    from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

    theta = config.rope_parameters["rope_theta"]
    plain = theta ** (-np.arange(0, 2 * len(factors), 2) / (2 * len(factors)))
    for original in (2**power for power in range(5, 21)):
        settings = {
            "rope_type": "llama3", "rope_theta": theta, "factor": float(factors.max()), "low_freq_factor": 1.0,
            "high_freq_factor": 4.0, "original_max_position_embeddings": original,
        }  # fmt: skip
        tried = copy.deepcopy(config)
        tried.rope_parameters = settings
        frequencies, _ = ROPE_INIT_FUNCTIONS["llama3"](tried, "cpu")
        if np.allclose(plain / frequencies.numpy(), factors, rtol=1e-4):
            return settings
    raise ModelError(f"{path} holds factors of rotary positions that are not those of Llama 3.", REMEDY)
