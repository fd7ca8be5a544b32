"""Reward models on disk: sequence classification with one label, as plain transformers and PEFT read and write it."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from weitiao.errors import ModelError
from weitiao.methods.adapter import ADAPTER_CONFIG, ADAPTER_WEIGHTS
from weitiao.models.directory import read_json_object

if TYPE_CHECKING:
    from torch import Tensor, nn
    from transformers import PreTrainedModel, PreTrainedTokenizerFast

TASK = "SEQ_CLS"


def classifier_of(model: nn.Module) -> PreTrainedModel:
    """The class of plain transformers that reads one number from this model's final states, around its own decoder.

    Args:
        model: A causal language model, possibly inside PEFT's.

    Raises:
        ModelError: Transformers has no such class for its family.
    """
    import torch
    from transformers import AutoModelForSequenceClassification

    from weitiao.models.boundary import quiet_transformers
    from weitiao.models.parts import causal_model, decoder

    causal = causal_model(model)
    config = copy.deepcopy(causal.config)
    config.num_labels = 1
    refusal = ModelError(
        f"transformers has no class for {config.model_type} that gives sequences one number.",
        "Choose a model of another family for the reward model.",
    )
    try:
        with torch.device("meta"), quiet_transformers():
            whole: PreTrainedModel = AutoModelForSequenceClassification.from_config(config, attn_implementation="eager")
    except ValueError as error:
        raise refusal from error
    prefix, own = whole.base_model_prefix, decoder(causal)
    if type(getattr(whole, prefix, None)) is not type(own) or len(list(whole.named_children())) != 2:
        raise refusal
    setattr(whole, prefix, own)
    return whole


def head_name(model: PreTrainedModel) -> str:
    """Under which name a classifier holds what reads its decoder's states."""
    return next(str(name) for name, _ in model.named_children() if name != model.base_model_prefix)


def save_as_classifier(directory: Path, model: nn.Module, head_1D: Tensor, tokenizer: PreTrainedTokenizerFast) -> None:
    """Make a reward model of the weights that a method has written: a model, or an adapter of PEFT.

    The padding token becomes one that no conversation ends in: transformers reads the state of the last token that is
    not padding.

    Args:
        directory: With the weights.
        model: Whose weights they are.
        head_1D: The head.
        tokenizer: Of the training; it is written again with the padding token.

    Raises:
        ModelError: It is an adapter of another kind, or transformers has no class for the family.
    """
    import torch
    from safetensors.torch import load_file, save_file

    whole = classifier_of(model)
    name = head_name(whole)
    tokenizer = copy.deepcopy(tokenizer)
    pad = _padding(tokenizer)
    if pad is not None:
        tokenizer.pad_token = tokenizer.convert_ids_to_tokens(pad)
        tokenizer.save_pretrained(str(directory))
    if (directory / ADAPTER_CONFIG).exists():
        weights = load_file(directory / ADAPTER_WEIGHTS)
        save_file(
            {**weights, f"base_model.model.{name}.weight": head_1D.detach().cpu().contiguous()},
            directory / ADAPTER_WEIGHTS,
            metadata={"format": "pt"},
        )
        values: dict[str, Any] = read_json_object(directory / ADAPTER_CONFIG)
        values |= {"task_type": TASK, "modules_to_save": [*(values.get("modules_to_save") or []), name]}
        (directory / ADAPTER_CONFIG).write_text(json.dumps(values, indent=2), encoding="utf-8")
        return
    whole.config.pad_token_id = pad
    setattr(whole, name, torch.nn.Linear(head_1D.shape[1], 1, bias=False, device="meta"))
    getattr(whole, name).weight = torch.nn.Parameter(head_1D.detach().to(whole.dtype))
    whole.save_pretrained(str(directory))


def _padding(tokenizer: PreTrainedTokenizerFast) -> int | None:
    """A special token that is no end of a turn or text; None where there is no other."""
    from weitiao.rendering.render import end_of_turn_id

    ends = {tokenizer.eos_token_id, end_of_turn_id(tokenizer)}
    known = [tokenizer.pad_token_id, tokenizer.unk_token_id, *sorted(tokenizer.added_tokens_decoder)]
    return next((one for one in known if one is not None and one not in ends), None)


def is_classifier(directory: Path) -> bool:
    """Whether weights give sequences a number, and write no text."""
    if (directory / ADAPTER_CONFIG).exists():
        return bool(read_json_object(directory / ADAPTER_CONFIG).get("task_type") == TASK)
    if not (directory / "config.json").exists():
        return False
    names = read_json_object(directory / "config.json").get("architectures") or []
    return any(str(name).endswith("ForSequenceClassification") for name in names)
