"""The two parts of a causal language model: the decoder without a head, and the head that turns states into logits.

Training and generation call them apart, because logits are needed at few of the positions.
"""

from __future__ import annotations

from typing import cast

from peft import PeftModel
from torch import nn
from transformers import PreTrainedModel

from weitiao.errors import ModelError

# Names under which configurations keep a factor or a cap that is applied to the logits or right before the head.
LOGIT_CHANGES = ("final_logit_softcapping", "logits_soft_cap", "logits_scaling", "logit_scale", "lm_head_multiplier")

# Layers in which a token sees what lies before it, all of it or a window of it, through the attention function.
ATTENTION_LAYERS = ("full_attention", "sliding_attention")


def causal_model(model: nn.Module) -> PreTrainedModel:
    """The causal language model itself, under a PEFT wrapper or without one.

    Raises:
        ModelError: The adapter consists of prompts that the wrapper puts before the input.
    """
    if not isinstance(model, PeftModel):
        return cast(PreTrainedModel, model)
    if model.active_peft_config.is_prompt_learning:
        raise ModelError(
            f"The adapter is of type {model.active_peft_config.peft_type.value}, which puts virtual tokens before the "
            "input; weitiao runs adapters that sit inside the layers.",
            "Use an adapter of another type, LoRA for instance.",
        )
    return cast(PreTrainedModel, model.get_base_model())


def decoder(model: nn.Module) -> PreTrainedModel:
    """The model without its head: token ids to the final hidden states.

    Args:
        model: A causal language model, possibly with a PEFT adapter inside its layers.

    Returns:
        The module whose output has `last_hidden_state`; the parameters are shared with `model`.

    Raises:
        ModelError: Logits are more than `head(last_hidden_state)` in this family, or it has layers that do not go
            through the attention function, so that a layout could not separate its sequences.
    """
    causal = causal_model(model)
    config = causal.config.get_text_config()
    for name in LOGIT_CHANGES:
        if (value := getattr(config, name, None)) not in (None, 1):
            raise ModelError(
                f"{type(causal).__name__} changes its logits behind the head ({name}={value} in config.json), "
                "which weitiao does not compute.",
                "Choose a model of another family.",
            )
    if not causal._supports_attention_backend:
        raise ModelError(
            f"{type(causal).__name__} does not take its attention from transformers' AttentionInterface.",
            "Choose a model of another family.",
        )
    if other := sorted(set(getattr(config, "layer_types", None) or ()) - set(ATTENTION_LAYERS)):
        raise ModelError(
            f"{type(causal).__name__} has layers of type {', '.join(other)}, in which sequences that share a row "
            "cannot be kept apart.",
            f"Choose a model whose layers are all of type {' or '.join(ATTENTION_LAYERS)}.",
        )
    return cast(PreTrainedModel, causal.base_model)


def output_embedding(model: nn.Module) -> nn.Module:
    """The head: final hidden states [..., D] to logits [..., V].

    Args:
        model: A causal language model, possibly with a PEFT adapter.

    Returns:
        The module, usually a linear layer with weight [V, D] and without a bias.

    Raises:
        ModelError: The model has no head.
    """
    head = causal_model(model).get_output_embeddings()
    if head is None:
        raise ModelError(
            f"{type(causal_model(model)).__name__} has no output embedding.", "Choose a causal language model."
        )
    return cast(nn.Module, head)
