"""Vocabularies that another tool changed: new tokens, for which the base model has no embeddings."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from weitiao.errors import ModelError

if TYPE_CHECKING:
    from torch import nn
    from transformers import PreTrainedModel

# Where PEFT keeps a whole matrix of the vocabulary, and in which dimension the vocabulary lies.
_WHOLE = ("weight", "base_layer.weight", "modules_to_save.weight", "token_adapter.base_layer.weight")
_VOCABULARY_DIMENSION = {**dict.fromkeys(_WHOLE, 0), "lora_B.weight": 0, "lora_embedding_A": 1}


def embedding_names(model: nn.Module) -> list[str]:
    """The names of input and output embedding inside a causal language model."""
    ends = [model.get_input_embeddings(), model.get_output_embeddings()]  # type: ignore[operator]
    return [name for name, module in model.named_modules() if any(module is end for end in ends)]


def match_vocabulary(model: PreTrainedModel, weights: Path) -> None:
    """Give a base model the vocabulary that an adapter was trained on.

    The adapter has to bring the embeddings of new tokens. Without the adapter, these tokens have the mean of all
    embeddings, so that the base model does not write them.

    Args:
        model: The base model, before the adapter is put on it.
        weights: The adapter's safetensors file.

    Raises:
        ModelError: The vocabulary is larger, and the adapter does not bring the new embeddings.
    """
    import torch
    from safetensors import safe_open

    ends = embedding_names(model)
    sizes: dict[tuple[str, str], int] = {}
    with safe_open(weights, framework="pt") as file:
        names = set(file.keys())
        for end in ends:
            for suffix, dimension in _VOCABULARY_DIMENSION.items():
                if (name := f"base_model.model.{end}.{suffix}") in names:
                    sizes[end, suffix] = file.get_slice(name).get_shape()[dimension]
    before = model.get_input_embeddings().weight.shape[0]
    size = max(set(sizes.values()) - {before}, default=before)
    if size == before:
        return
    brought = {end for (end, suffix), found in sizes.items() if found == size and suffix in _WHOLE}
    tied = model.get_output_embeddings().weight is model.get_input_embeddings().weight
    if size > before and (not brought if tied else brought != set(ends)):
        raise ModelError(
            f"The adapter in {weights.parent} was trained with {size - before} tokens that its base model does not "
            "have, and does not bring their embeddings.",
            "Save it again with PEFT's save_embedding_layers=True, or name the base model that has these tokens.",
        )
    model.resize_token_embeddings(size, mean_resizing=False)
    with torch.no_grad():
        for embedding in (model.get_input_embeddings(), model.get_output_embeddings()) if size > before else ():
            embedding.weight[before:] = embedding.weight[:before].mean(0)
