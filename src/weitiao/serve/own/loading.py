"""What is served: a base model with adapters beside each other, or one model as it is."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from weitiao.generation.config import GenerationConfig
from weitiao.generation.generate import probe_answers
from weitiao.methods.adapter import require_base
from weitiao.methods.base import base_model, find_moved
from weitiao.methods.open import OpenModel, final_tokenizer, find_final, open_model
from weitiao.models.config import ModelConfig
from weitiao.models.packed import can_pack, packed_linears
from weitiao.models.parts import causal_model, context_length
from weitiao.serve.engine import ServeError
from weitiao.serve.own.adapters import Adapter, Adapters, is_adapter, read_adapter

if TYPE_CHECKING:
    from torch import nn
    from transformers import PreTrainedTokenizerFast


@dataclass(frozen=True, slots=True)
class Loaded:
    """A model that is ready to be served.

    Attributes:
        model: In evaluation mode, with forest attention.
        tokenizer: With the template of what `adapter=None` names.
        adapters: On a base model; None where the model stands for itself and takes none.
        own: The name of the adapter that `adapter=None` means; None is the model itself.
        context: Tokens of prompt and answer together.
        fingerprint: Of the base model.
    """

    model: nn.Module
    tokenizer: PreTrainedTokenizerFast
    adapters: Adapters | None
    own: object
    context: int
    fingerprint: str


_SAMPLE = "Hello! Which colour does the sky have on a clear day, and why?"
_UNBOUNDED = 1 << 20
"""The context of models that name none."""

OWN_ADAPTER = object()
"""The name of the adapter of the run that is served: requests give none."""


def load(target: str | Path, *, base: ModelConfig | None, device: str, context: int | None) -> Loaded:
    """Load what is to be served; the adapter of a run that is plain LoRA stands beside its base.

    Args:
        target: A run, an adapter, or a model by name, path or hub id.
        base: The base model of an adapter, where it is not the one that it names.
        device: Where the weights go.
        context: Tokens of prompt and answer together; what the model has positions for where it is None.

    Raises:
        ServeError: The context is longer than that of the model.
        WeitiaoError: It cannot be loaded, or run.
    """
    from weitiao.models.fingerprint import model_fingerprint
    from weitiao.models.names import resolve_model

    final = find_final(target)
    adapter = None if final is None else _plain(final)
    if final is None or adapter is None:
        opened = open_model(target, base=base, device=device)
        longest = _found_to_run(opened, context)
        if opened.has_base:
            return Loaded(opened.model, opened.tokenizer, None, None, longest, "")
        place = final if final is not None and (final / "config.json").exists() else None
        fingerprint = model_fingerprint(resolve_model(base or ModelConfig(name=str(place or target))))
        return Loaded(opened.model, opened.tokenizer, _adapters(opened), None, longest, fingerprint)
    config = base_model(final) if base is None else find_moved(base, final)
    fingerprint = model_fingerprint(resolve_model(config))
    require_base(final, fingerprint)
    opened = open_model(config.name, base=config, device=device)
    longest = _found_to_run(opened, context)
    adapters = _adapters(opened)
    adapters.require_fit(adapter, final)
    adapters.add(OWN_ADAPTER, adapter)
    return Loaded(opened.model, final_tokenizer(final, config), adapters, OWN_ADAPTER, longest, fingerprint)


def _found_to_run(opened: OpenModel, context: int | None) -> int:
    """Find out how a model may be run up to the end of a context; its length."""
    known = context_length(causal_model(opened.model).config)
    if context is not None and context > (known or context):
        raise ServeError(f"{opened.name} was made for {known:,} tokens, not {context:,}.", "Take fewer: --context.")
    longest = context or known or _UNBOUNDED
    sample = tuple(opened.tokenizer(_SAMPLE)["input_ids"])
    probe_answers(opened.model, [sample], GenerationConfig(max_new_tokens=max(1, longest - len(sample))))
    return longest


def _adapters(opened: OpenModel) -> Adapters:
    """A place for adapters on a base model, which learns no more: its layers are laid out for answers."""
    if can_pack(opened.model):
        for (parent, name, _), packed in packed_linears(opened.model):
            setattr(parent, name, packed)
    return Adapters(opened.model)


def read_for(loaded: Loaded, directory: Path) -> Adapter:
    """Read an adapter that is to stand beside others.

    Raises:
        ServeError: It does not fit.
        ModelError: It is damaged, or was trained on another base model.
    """
    if loaded.adapters is None:
        raise ServeError("The model that is served takes no adapters.", "Serve its base model.")
    place = find_final(directory)
    if place is None or not is_adapter(place):
        raise ServeError(f"{directory} holds no adapter.", "Name a run, or a directory with adapter_config.json.")
    require_base(place, loaded.fingerprint)
    adapter = read_adapter(place)
    loaded.adapters.require_fit(adapter, place)
    return adapter


def _plain(final: Path) -> Adapter | None:
    """The adapter of a run, if it can stand beside others; else the run is opened as it is."""
    if not is_adapter(final):
        return None
    try:
        return read_adapter(final)
    except ServeError:
        return None
