"""Open whatever a person names: a run, an adapter, or a model."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from weitiao.console import quoted
from weitiao.errors import ModelError, RunError
from weitiao.methods.adapter import ADAPTER_CONFIG, load_adapter, read_adapter_config, require_base
from weitiao.methods.note import NOTE
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
        final: Where the tuned weights lie; None for a model that was not tuned here.
    """

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerFast
    name: str
    final: Path | None

    @property
    def has_base(self) -> bool:
        """Whether the base model is in it as well: an adapter of PEFT can be switched off."""
        return hasattr(self.model, "disable_adapter")


def find_final(target: str | Path) -> Path | None:
    """Where the tuned weights of a run lie, or those of a directory that holds such; None when `target` is neither.

    Raises:
        RunError: The run has no final weights yet.
    """
    path = local_path(target)
    if path is None:
        return None
    if _holds_tuned(path):
        return path
    if not (path / "recipe.yaml").exists():
        return None
    if not _holds_tuned(path / "final"):
        raise RunError(
            f"{path} has no final weights: its training has not ended.", f"Go on with: weitiao train {quoted(path)}"
        )
    return path / "final"


def _holds_tuned(path: Path) -> bool:
    return (path / ADAPTER_CONFIG).exists() or (path / NOTE).exists()


def open_model(
    target: str | Path,
    *,
    base: ModelConfig | None = None,
    attention: str | None = None,
    device: str = "cpu",
    dequantize: bool = False,
) -> OpenModel:
    """Load a run directory, an adapter directory, or a model by name, path or hub id.

    Args:
        target: What to open.
        base: The base model of an adapter. By default the one that its run's recipe or the adapter itself names, also
            when the two were moved together.
        attention: A name registered with `transformers.AttentionInterface`; forest attention by default.
        device: Where the weights go.
        dequantize: Write the weights of a quantised base out again, to merge an adapter into them.

    Raises:
        ModelError: There is no such thing, or adapter and base model do not fit.
        RunError: The run has no final weights yet.
    """
    from weitiao.methods.base import base_model, find_moved
    from weitiao.methods.bottleneck import is_bottleneck, load_bottleneck
    from weitiao.methods.classifier import is_classifier
    from weitiao.methods.merging import with_below
    from weitiao.models.attention import FOREST
    from weitiao.models.fingerprint import model_fingerprint
    from weitiao.models.host_weights import settle
    from weitiao.models.load import load_model, load_tokenizer
    from weitiao.models.names import resolve_model

    attention = attention or FOREST
    final = find_final(target)
    place = final or local_path(target)
    if place is not None and place.is_dir() and is_classifier(place):
        raise ModelError(
            f"{target} is a reward model: it gives scores, and writes no text.",
            "Score rows with it: weitiao score MODEL --data FILE.",
        )
    if final is None:
        config = base or ModelConfig(name=str(target))
        model = load_model(config, attention=attention, device=device)
        return OpenModel(model, load_tokenizer(config), str(target), None)
    is_adapter = (final / ADAPTER_CONFIG).exists() or not (final / "config.json").exists()
    is_own = is_bottleneck(final)
    if is_adapter and not is_own:
        read_adapter_config(final)  # says what is wrong before the model is loaded
    config = base_model(final) if base is None else find_moved(base, final)
    if not is_adapter:
        model = load_model(config.moved_to(str(final)), attention=attention, device=device)
        return OpenModel(model, final_tokenizer(final, config), str(target), final)
    model = load_model(config, attention=attention, device=device, dequantize=dequantize)
    tokenizer = final_tokenizer(final, config)
    fingerprint = model_fingerprint(resolve_model(config))
    require_base(final, fingerprint)
    model = with_below(model, final)
    tuned = load_bottleneck(model, final) if is_own else load_adapter(model, final)
    settle(tuned)
    return OpenModel(tuned.eval(), tokenizer, str(target), final)


def final_tokenizer(final: Path, base: ModelConfig) -> PreTrainedTokenizerFast:
    """The tokenizer that tuned weights bring, with the template of its training; that of the base when they bring none.

    Args:
        final: Their directory.
        base: Their base model.

    Raises:
        ModelError: It cannot be used.
    """
    from weitiao.models.load import load_tokenizer, read_tokenizer

    if (final / "tokenizer.json").exists():
        return read_tokenizer(final, trust_remote_code=base.trust_remote_code)
    return load_tokenizer(base)
