"""Open whatever a person names: a run, an adapter, or a model."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from weitiao.console import quoted
from weitiao.errors import RunError
from weitiao.methods.adapter import ADAPTER_CONFIG, load_adapter, read_adapter_config
from weitiao.models.config import ModelConfig
from weitiao.models.names import local_path

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerFast


@dataclass(frozen=True, slots=True)
class OpenModel:
    """A model that is ready to be run.

    Attributes:
        model: In evaluation mode; a `PeftModel` when there is an adapter.
        tokenizer: With the chat template that the model was trained with.
        name: What it was opened by.
        adapter: Where the adapter lies; None for a model without one.
    """

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerFast
    name: str
    adapter: Path | None


def find_adapter(target: str | Path) -> Path | None:
    """The adapter directory of a run or an adapter directory; None when `target` is neither.

    Raises:
        RunError: The run has no final weights yet.
    """
    path = local_path(target)
    if path is None:
        return None
    if (path / ADAPTER_CONFIG).exists():
        return path
    if not (path / "recipe.yaml").exists():
        return None
    if not (path / "final" / ADAPTER_CONFIG).exists():
        raise RunError(
            f"{path} has no final weights: its training has not ended.", f"Go on with: weitiao train {quoted(path)}"
        )
    return path / "final"


def open_model(
    target: str | Path, *, base: ModelConfig | None = None, attention: str | None = None, device: str = "cpu"
) -> OpenModel:
    """Load a run directory, an adapter directory, or a model by name, path or hub id.

    Args:
        target: What to open.
        base: The base model of an adapter. By default the one that its run's recipe or the adapter itself names, also
            when the two were moved together.
        attention: A name registered with `transformers.AttentionInterface`; forest attention by default.
        device: Where the weights go.

    Raises:
        ModelError: There is no such thing, or adapter and base model do not fit.
        RunError: The run has no final weights yet.
    """
    from weitiao.methods.base import base_model, find_moved
    from weitiao.models.attention import FOREST
    from weitiao.models.fingerprint import model_fingerprint
    from weitiao.models.load import load_model, load_tokenizer
    from weitiao.models.names import resolve_model

    attention = attention or FOREST
    adapter = find_adapter(target)
    if adapter is None:
        config = base or ModelConfig(name=str(target))
        model = load_model(config, attention=attention, device=device)
        return OpenModel(model, load_tokenizer(config), str(target), None)
    read_adapter_config(adapter)  # says what is wrong before the model is loaded
    config = base_model(adapter) if base is None else find_moved(base, adapter)
    model = load_model(config, attention=attention, device=device)
    tokenizer = adapter_tokenizer(adapter, config)
    tuned = load_adapter(model, adapter, fingerprint=model_fingerprint(resolve_model(config)))
    return OpenModel(tuned.eval(), tokenizer, str(target), adapter)


def adapter_tokenizer(adapter: Path, base: ModelConfig) -> PreTrainedTokenizerFast:
    """The tokenizer that an adapter brings, with the template of its training; that of its base when it brings none.

    Args:
        adapter: The adapter directory.
        base: Its base model.

    Raises:
        ModelError: It cannot be used.
    """
    from weitiao.models.load import load_tokenizer, read_tokenizer

    if (adapter / "tokenizer.json").exists():
        return read_tokenizer(adapter, trust_remote_code=base.trust_remote_code)
    return load_tokenizer(base)
