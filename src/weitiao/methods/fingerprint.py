"""Which weights a tuned model is: one hash of its base model and its adapter."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from weitiao.errors import ModelError
from weitiao.files import sha256
from weitiao.methods.adapter import ADAPTER_CONFIG, ADAPTER_WEIGHTS, NOT_COMPUTED
from weitiao.methods.note import BELOW, read_note
from weitiao.models.config import ModelConfig
from weitiao.models.directory import read_json_object
from weitiao.models.fingerprint import model_fingerprint
from weitiao.models.names import resolve_model


def weights_hash(model: ModelConfig, final: Path | None) -> str:
    """Hash of a model's weights; of what was made of them, an adapter or a whole model, when there is that.

    Raises:
        ModelError: There is no such model, or its files or those of the adapter are damaged.
    """
    if final is None:
        return _combined(model_fingerprint(resolve_model(model)))
    # the fingerprint that is noted is the one that `open_model` will hold the base model against
    note = read_note(final)
    base = model_fingerprint(resolve_model(model)) if note is None else note.fingerprint
    if (final / "config.json").is_file():
        return _combined(base, model_fingerprint(final))
    return _combined(base, adapter_hash(final))


def adapter_hash(adapter: Path) -> str:
    """Hash of what an adapter computes: its weights, what lies below it, its configuration without names and versions.

    Raises:
        ModelError: Its files are missing or damaged.
    """
    weights = adapter / ADAPTER_WEIGHTS
    if not weights.is_file():
        raise ModelError(f"{adapter} has no {ADAPTER_WEIGHTS}.", "Save the adapter as safetensors, complete.")
    # PEFT writes sets, such as the names of the adapted layers, in any order
    computed = {
        key: sorted(value, key=str) if isinstance(value, list) else value
        for key, value in read_json_object(adapter / ADAPTER_CONFIG).items()
        if key not in NOT_COMPUTED
    }
    below = [adapter_hash(adapter / BELOW)] if (adapter / BELOW).is_dir() else []
    return _combined(json.dumps(computed, sort_keys=True), sha256(weights), *below)


def _combined(*parts: str) -> str:
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()
