"""Open whatever a person names: a run, an adapter, or a model."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from weitiao.errors import ModelError, RunError
from weitiao.methods.adapter import ADAPTER_CONFIG, load_adapter, read_base_note
from weitiao.models.config import ModelConfig
from weitiao.terminal import quoted

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
    path = Path(target)
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
        base: The base model of an adapter, when it is not the one that the adapter names.
        attention: A name registered with `transformers.AttentionInterface`; forest attention by default.
        device: Where the weights go.

    Raises:
        ModelError: There is no such thing, or adapter and base model do not fit.
        RunError: The run has no final weights yet.
    """
    from weitiao.models.attention import FOREST
    from weitiao.models.fingerprint import model_fingerprint
    from weitiao.models.load import load_model, load_tokenizer, read_tokenizer
    from weitiao.models.names import resolve_model

    attention = attention or FOREST
    adapter = find_adapter(target)
    if adapter is None:
        config = base or ModelConfig(name=str(target))
        model = load_model(config, attention=attention, device=device)
        return OpenModel(model, load_tokenizer(config), str(target), None)
    config = base or ModelConfig(name=base_name(adapter))
    model = load_model(config, attention=attention, device=device)
    tokenizer = read_tokenizer(adapter) if (adapter / "tokenizer.json").exists() else load_tokenizer(config)
    tuned = load_adapter(model, adapter, fingerprint=model_fingerprint(resolve_model(config)))
    return OpenModel(tuned.eval(), tokenizer, str(target), adapter)


def base_name(adapter: Path) -> str:
    """The base model that an adapter names.

    Raises:
        ModelError: It names none.
    """
    name: str | None = read_base_note(adapter).get("base")
    if name is None:
        name = json.loads((adapter / ADAPTER_CONFIG).read_text(encoding="utf-8")).get("base_model_name_or_path")
    if not name:
        raise ModelError(
            f"{adapter / ADAPTER_CONFIG} names no base model.", "Set base_model_name_or_path in it to the base model."
        )
    return name
