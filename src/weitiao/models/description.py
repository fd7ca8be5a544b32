"""`weitiao model info`: what a model is, from its configuration and the headers of its files; no weights are loaded."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from weitiao.models.boundary import loading
from weitiao.models.config import ModelConfig
from weitiao.models.directory import EXPERT_COUNTS, licence, quantization
from weitiao.models.load import causal_class, load_config, load_tokenizer
from weitiao.models.names import resolve_model

if TYPE_CHECKING:
    from transformers import PreTrainedConfig, PreTrainedModel

_FORMAT_BYTES = {"float32": 4.0, "bfloat16": 2.0, "nf4": 0.53}
"""Of a weight; in four bits those of its block's scale are counted."""


@dataclass(frozen=True, slots=True)
class ModelDescription:
    """A model before it is loaded.

    Attributes:
        name: As it was asked for.
        path: Where its files are.
        architecture: The class of `transformers`.
        num_parameters: All of them.
        num_active: Those that compute a token; fewer where experts are chosen.
        num_layers, hidden_size, num_heads, num_key_heads: Of the text decoder; None where it has no such number.
        vocabulary: Tokens that have an embedding.
        context: Positions; None where the configuration names no limit.
        tied: Whether head and embeddings are one matrix.
        stored: Number formats of the files' weights.
        file_bytes: All files.
        tokens: Of the tokenizer.
        template: Whether it brings a chat template.
        licence: What its card says; None where it says nothing.
        special: What is not in every model, in words.
        weight_bytes: Memory of the weights by number format.
    """

    name: str
    path: Path
    architecture: str
    num_parameters: int
    num_active: int
    num_layers: int | None
    hidden_size: int | None
    num_heads: int | None
    num_key_heads: int | None
    vocabulary: int
    context: int | None
    tied: bool
    stored: tuple[str, ...]
    file_bytes: int
    tokens: int
    template: bool
    licence: str | None
    special: tuple[str, ...]
    weight_bytes: dict[str, float]


def describe_model(config: ModelConfig) -> ModelDescription:
    """Describe a model; one of the hub is fetched first.

    Args:
        config: The `model` section.

    Raises:
        ModelError: There is no such model, or its files cannot be read.
    """
    path = resolve_model(config)
    architecture, tokenizer = load_config(config), load_tokenizer(config)
    with loading(f"The model in {path} cannot be described", path):
        model = _sketch(architecture, trust_remote_code=config.trust_remote_code)
    text: Any = architecture.get_text_config()
    rows, special = model.get_input_embeddings().weight.shape[0], list(_special(architecture, text, path))
    if len(tokenizer) > rows:
        special.append(f"{len(tokenizer) - rows:,} tokens have no embedding: is the tokenizer that of another model?")
    total = sum(one.numel() for one in model.parameters())
    return ModelDescription(
        name=config.name,
        path=path,
        architecture=type(model).__name__,
        num_parameters=total,
        num_active=total - _resting(model, text),
        num_layers=getattr(text, "num_hidden_layers", None),
        hidden_size=getattr(text, "hidden_size", None),
        num_heads=getattr(text, "num_attention_heads", None),
        num_key_heads=getattr(text, "num_key_value_heads", None),
        vocabulary=rows,
        context=getattr(text, "max_position_embeddings", None),
        tied=model.get_output_embeddings().weight is model.get_input_embeddings().weight,
        stored=_stored(path),
        file_bytes=sum(file.stat().st_size for file in path.iterdir() if file.is_file()),
        tokens=len(tokenizer),
        template=tokenizer.chat_template is not None,
        licence=licence(path),
        special=tuple(special),
        weight_bytes={name: size * total for name, size in _FORMAT_BYTES.items()},
    )


def _sketch(config: PreTrainedConfig, *, trust_remote_code: bool) -> PreTrainedModel:
    """The model with shapes in the place of weights."""
    import torch

    with torch.device("meta"):
        model: PreTrainedModel = causal_class(config).from_config(
            copy.deepcopy(config), trust_remote_code=trust_remote_code
        )
    model.tie_weights()
    return model


def _resting(model: PreTrainedModel, text: Any) -> int:
    """Parameters of experts that a token does not reach: those of each stack but the chosen ones."""
    chosen = getattr(text, "num_experts_per_tok", None) or getattr(text, "top_k_experts", None)
    if not isinstance(chosen, int):
        return 0
    stacks = [one for one in model.parameters() if one.ndim == 3 and one.shape[0] > chosen]
    return sum(one.numel() - one.numel() * chosen // one.shape[0] for one in stacks)


def _stored(path: Path) -> tuple[str, ...]:
    """The number formats of the weights, most first."""
    from safetensors import safe_open

    found: Counter[str] = Counter()
    for file in sorted(path.glob("*.safetensors")):
        with loading(f"{file} cannot be read", path), safe_open(file, framework="numpy") as weights:
            for key in weights.keys():  # noqa: SIM118 (it is no mapping)
                found[weights.get_slice(key).get_dtype()] += 1
    return tuple(name for name, _ in found.most_common())


def _special(config: PreTrainedConfig, text: Any, path: Path) -> Iterator[str]:
    """What a person who tunes it should know, by its configuration."""
    if chosen := getattr(text, "num_experts_per_tok", None):
        experts = next((n for key in EXPERT_COUNTS if isinstance(n := getattr(text, key, None), int)), None)
        yield f"mixture of experts: {chosen} of {experts} for each token"
    kinds = Counter(getattr(text, "layer_types", None) or getattr(text, "layers_block_type", None) or ())
    if len(kinds) > 1:
        yield "layers: " + ", ".join(f"{number} {kind.replace('_', ' ')}" for kind, number in kinds.items())
    if window := getattr(text, "sliding_window", None):
        yield f"sliding window of {window:,} tokens"
    if cap := getattr(text, "attn_logit_softcapping", None):
        yield f"attention scores capped at {cap:g}"
    rotary = getattr(text, "rope_parameters", None) or {}
    if isinstance(kind := rotary.get("rope_type", "default"), str) and kind != "default":
        yield f"scaled positions ({kind})"
    others = [name for name in getattr(config, "sub_configs", ()) if name != "text_config"]
    if others:
        yield f"more than text: {', '.join(name.removesuffix('_config') for name in others)} (left as it is)"
    if (method := quantization(path)) is not None:
        yield f"quantised ({method})"
    if getattr(config, "auto_map", None):
        yield "brings Python code of its own"
