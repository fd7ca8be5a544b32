"""A reward model, opened to score: a run, an adapter, or any plain sequence classification model with one number."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from weitiao.errors import ModelError
from weitiao.methods.adapter import ADAPTER_CONFIG, load_adapter, read_adapter_config, require_base
from weitiao.methods.classifier import TASK, head_name, is_classifier
from weitiao.models.config import ModelConfig

if TYPE_CHECKING:
    from torch import nn
    from transformers import PreTrainedTokenizerFast


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
