"""Reward models on disk: sequence classification with one label, as plain transformers and PEFT read and write it."""

from __future__ import annotations

import copy
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from weitiao.errors import ModelError
from weitiao.methods.adapter import ADAPTER_CONFIG, ADAPTER_WEIGHTS, load_adapter, read_adapter_config, require_base
from weitiao.models.config import ModelConfig
from weitiao.models.directory import read_json_object

if TYPE_CHECKING:
    from torch import Tensor, nn
    from transformers import PreTrainedModel, PreTrainedTokenizerFast

TASK = "SEQ_CLS"


@dataclass(frozen=True, slots=True)
class Scorer:
    """A reward model that is ready to be run.

    Attributes:
        model: In evaluation mode; its decoder is run in forests.
        head: Final states [N, D] to scores [N, 1].
        tokenizer: With the chat template of its training.
        name: What it was opened by.
    """

    model: nn.Module
    head: nn.Module
    tokenizer: PreTrainedTokenizerFast
    name: str


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


def open_scorer(target: str | Path, *, base: ModelConfig | None = None, device: str = "cpu") -> Scorer:
    """Open a reward model: a run, an adapter of PEFT for sequence classification, or a model by name, path or hub id.

    Args:
        target: What to open.
        base: The base model of an adapter, or how a model is loaded.
        device: Where it runs.

    Raises:
        ModelError: It gives no score, or more than one.
    """
    from weitiao.methods.base import base_model, find_moved
    from weitiao.methods.merging import with_below
    from weitiao.methods.open import final_tokenizer, find_final
    from weitiao.models.attention import FOREST
    from weitiao.models.fingerprint import model_fingerprint
    from weitiao.models.load import load_model, load_tokenizer
    from weitiao.models.names import local_path, resolve_model
    from weitiao.models.parts import causal_model

    final = find_final(target)
    place = final or local_path(target)
    if place is not None and place.is_dir() and not is_classifier(place):
        raise ModelError(
            f"{target} gives no scores: it is a model that writes text.",
            "Name a reward model: a run with objective: reward, or any sequence classification model with one label.",
        )
    model: nn.Module
    if final is not None and (final / ADAPTER_CONFIG).exists():
        read_adapter_config(final, task=TASK)
        config = base_model(final) if base is None else find_moved(base, final)
        loaded = load_model(config, attention=FOREST, device=device, scores="new")
        require_base(final, model_fingerprint(resolve_model(config)))
        model = load_adapter(with_below(loaded, final), final, task=TASK).eval()
        tokenizer = final_tokenizer(final, config)
    else:
        config = base or ModelConfig(name=str(target))
        if final is not None:
            config = config.moved_to(str(final))
        model = load_model(config, attention=FOREST, device=device, scores="own")
        tokenizer = load_tokenizer(config)
    whole = causal_model(model)
    return Scorer(model, getattr(whole, head_name(whole)), tokenizer, str(target))
