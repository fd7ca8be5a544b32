"""Which linear layers get an adapter: those of the text decoder, by name, without the routers of mixtures."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from weitiao.errors import ModelError

if TYPE_CHECKING:
    from torch import nn
    from transformers import PreTrainedModel


def linear_targets(model: PreTrainedModel, wanted: list[str] | str, *, required: bool) -> list[str] | str:
    """What PEFT is to look for: names, or a pattern where names alone would find layers that read no text.

    Args:
        model: The base model.
        wanted: Names, or `all-linear`.
        required: Whether there has to be one.

    Raises:
        ModelError: No linear layer that reads text has one of the names.
    """
    named = {name: module for name, module in model.named_modules() if isinstance(module, _linear())}
    head, text = model.get_output_embeddings(), set(model.get_decoder().modules())
    readers = {name for name, module in named.items() if module in text or module is head}
    if wanted == "all-linear":
        left_out = {head, *_routers(model.get_decoder())}
        readers = {name for name in readers if named[name] not in left_out}
        wanted = sorted(name for name in {name.rsplit(".", 1)[-1] for name in readers} if _adaptable(model, name))
    missing = [w for w in wanted if not any(_matches(name, w) for name in readers)]
    if missing or (required and not wanted):
        known = ", ".join(sorted({name.rsplit(".", 1)[-1] for name in readers}))
        raise ModelError(
            f"method.target_modules: {type(model).__name__} has no linear layer for text named "
            f"{', '.join(missing) or 'anything'}.",
            f"Choose from: {known}; or all-linear." if known else "Choose a model of another family.",
        )
    if refused := [name for name in wanted if not _adaptable(model, name)]:
        raise ModelError(
            f"method.target_modules: {type(model).__name__} reads the weights of {', '.join(refused)} past the layer, "
            "so an adapter on it would do nothing.",
            "Leave it out, or say all-linear.",
        )
    assert isinstance(wanted, list)
    found = {name for name in named if any(_matches(name, w) for w in wanted)}
    if found <= readers:
        return wanted
    return "|".join(re.escape(name) for name in sorted(found & readers))


def _adaptable(model: PreTrainedModel, name: str) -> bool:
    """Whether PEFT puts LoRA there: the kernels of Mamba read the weights of some layers past their modules."""
    from peft import LoraConfig
    from peft.tuners.tuners_utils import _check_lora_target_modules_mamba

    try:
        _check_lora_target_modules_mamba(LoraConfig(), model, name)
    except ValueError:
        return False
    return True


def _routers(decoder: nn.Module) -> set[nn.Module]:
    """Linear layers that choose experts: they lie beside stacks of matrices, and have one output for each of a stack.

    Keys and values may have as many outputs by chance: those are two layers in one module.
    """
    from torch import nn

    found: set[nn.Module] = set()
    for block in decoder.modules():
        parts = [part for part in block.children() if not isinstance(part, nn.Conv1d)]
        stacks = {w.shape[0] for part in parts for w in part.parameters(recurse=False) if w.ndim == 3}
        for module in block.modules() if stacks else ():
            chosen = [one for one in module.children() if isinstance(one, nn.Linear) and one.out_features in stacks]
            found.update(chosen if len(chosen) == 1 else ())
    return found


def _linear() -> tuple[type, ...]:
    from torch import nn
    from transformers.pytorch_utils import Conv1D  # GPT-2 has its linear layers transposed

    return nn.Linear, Conv1D


def _matches(name: str, wanted: str) -> bool:
    """Whether PEFT takes a module of this name for one that is wanted."""
    return name == wanted or name.endswith(f".{wanted}")
