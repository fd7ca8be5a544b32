"""What is served: a base model with adapters beside each other, or one model as it is."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from weitiao.methods.adapter import require_base
from weitiao.methods.base import base_model, find_moved
from weitiao.methods.open import final_tokenizer, find_final, open_model
from weitiao.models.config import ModelConfig
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
        fingerprint: Of the base model.
    """

    model: nn.Module
    tokenizer: PreTrainedTokenizerFast
    adapters: Adapters | None
    own: object
    fingerprint: str


OWN_ADAPTER = object()
"""The name of the adapter of the run that is served: requests give none."""


def load(target: str | Path, *, base: ModelConfig | None, device: str) -> Loaded:
    """Load what is to be served; the adapter of a run that is plain LoRA stands beside its base.

    Args:
        target: A run, an adapter, or a model by name, path or hub id.
        base: The base model of an adapter, where it is not the one that it names.
        device: Where the weights go.

    Raises:
        WeitiaoError: It cannot be loaded.
    """
    from weitiao.models.fingerprint import model_fingerprint
    from weitiao.models.names import resolve_model

    final = find_final(target)
    adapter = None if final is None else _plain(final)
    if final is None or adapter is None:
        opened = open_model(target, base=base, device=device)
        adapters = None if opened.has_base else Adapters(opened.model)
        place = final if final is not None and (final / "config.json").exists() else None
        config = base or ModelConfig(name=str(place or target))
        fingerprint = "" if opened.has_base else model_fingerprint(resolve_model(config))
        return Loaded(opened.model, opened.tokenizer, adapters, None, fingerprint)
    config = base_model(final) if base is None else find_moved(base, final)
    fingerprint = model_fingerprint(resolve_model(config))
    require_base(final, fingerprint)
    opened = open_model(config.name, base=config, device=device)
    adapters = Adapters(opened.model)
    adapters.require_fit(adapter, final)
    adapters.add(OWN_ADAPTER, adapter)
    return Loaded(opened.model, final_tokenizer(final, config), adapters, OWN_ADAPTER, fingerprint)


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
