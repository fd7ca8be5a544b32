"""An adapter of PEFT merged into the model that it is on, in memory."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

from weitiao.errors import ModelError
from weitiao.machine.cgroup import give_back_memory
from weitiao.methods.adapter import load_adapter
from weitiao.methods.note import BELOW
from weitiao.models.boundary import loading

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import PreTrainedModel

    from weitiao.models.scratch import Scratch


def merged(model: PeftModel, scratch: Scratch | None = None) -> PreTrainedModel:
    """The plain model with the adapter in its weights.

    Args:
        model: Base and adapter.
        scratch: Takes the weights of each layer as soon as they are merged; in memory they stay without it.

    Raises:
        ModelError: PEFT cannot merge an adapter of this kind.
    """
    kind = str(getattr(model.active_peft_config.peft_type, "value", model.active_peft_config.peft_type))
    with (
        loading(
            f"The adapter of type {kind} cannot be merged into {type(model.get_base_model()).__name__}",
            packages=("peft",),
            remedy="Serve base and adapter as they are.",
        ),
        warnings.catch_warnings(),
    ):
        # PEFT warns of adapters on tied embeddings, which are untied here.
        warnings.simplefilter("ignore", UserWarning)
        untied = _untie(model)
        if scratch is not None:
            _merge_layers(model, scratch)
        plain: PreTrainedModel = model.merge_and_unload()
        if untied:
            _tie_again(plain)
    return plain


def _merge_layers(model: PeftModel, scratch: Scratch) -> None:
    """Merge layer by layer those that an adapter stands on alone; what else there is of it is left as it was."""
    import torch
    from peft.tuners.tuners_utils import BaseTunerLayer

    for layer in [one for one in model.modules() if isinstance(one, BaseTunerLayer)]:
        base = getattr(layer, "base_layer", None)
        if base is not None and not isinstance(base, BaseTunerLayer) and not hasattr(layer, "parameter_name"):
            layer.merge()
            scratch.move(base.parameters(), torch.float32)
            give_back_memory()


def with_below(model: PreTrainedModel, directory: Path) -> PreTrainedModel:
    """A base model with everything merged into it that an adapter directory names as lying below.

    Args:
        model: The base model.
        directory: Of the adapter that is on top; it is not put on.
    """
    return merge_stack(model, directory / BELOW) if (directory / BELOW).is_dir() else model


def merge_stack(model: PreTrainedModel, directory: Path) -> PreTrainedModel:
    """A base model with the adapter of a directory, and what lies below it, merged into its weights.

    Raises:
        ModelError: The weights are quantised, or the adapter does not fit.
    """
    if getattr(model, "is_quantized", False):
        raise ModelError(
            f"The adapter in {directory} cannot be merged into weights that are quantised: rounding would lose it.",
            "Merge it first with weitiao merge, and name the merged model in the recipe.",
        )
    return merged(load_adapter(with_below(model, directory), directory))


def _untie(model: PeftModel) -> bool:
    """Where an adapter is on one of two tied embeddings, give the head a weight of its own, so that what is merged into
    one leaves the other alone; returns whether it was done."""
    from torch import nn

    causal = model.get_base_model()
    first, head = causal.get_input_embeddings(), causal.get_output_embeddings()
    inner_first, inner_head = _unwrapped(first), _unwrapped(head)
    if inner_head.weight is not inner_first.weight or (inner_first is first and inner_head is head):
        return False
    inner_head.weight = nn.Parameter(inner_head.weight.detach().clone(), requires_grad=False)
    return True


def _unwrapped(module: Any) -> Any:
    """The embedding itself, inside what PEFT may have put around it."""
    for name in ("base_layer", "original_module"):
        module = getattr(module, name, module)
    return module


def _tie_again(plain: PreTrainedModel) -> None:
    """Let input embedding and head share a weight again where the adapter changed both alike, else say they do not."""
    import torch

    first, head = plain.get_input_embeddings(), plain.get_output_embeddings()
    same = torch.equal(first.weight, head.weight)
    if same:
        head.weight = first.weight
    else:
        plain.all_tied_weights_keys = {}
    for config in (plain.config, plain.config.get_text_config()):
        config.tie_word_embeddings = same
