"""Adapters on disk, in PEFT's own format, of whatever tool: onto the base model that they belong to."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

from weitiao.errors import ModelError
from weitiao.methods.note import read_note
from weitiao.models.boundary import loading
from weitiao.models.directory import is_pointer, read_json_object

if TYPE_CHECKING:
    from peft import PeftConfig, PeftModel
    from torch import nn
    from transformers import PreTrainedModel

ADAPTER_CONFIG = "adapter_config.json"
ADAPTER_WEIGHTS = "adapter_model.safetensors"

NOT_COMPUTED = ("base_model_name_or_path", "inference_mode", "peft_version", "revision")
"""What a configuration says about where and how the adapter was made, and not about what it computes."""
_OF_THE_BEGINNING = ("init_lora_weights", "init_weights", "init_ia3_weights", "eva_config", "loftq_config")

_ANOTHER = "Name the base model that the adapter was trained on, with --base-model."


def read_adapter_config(directory: Path, *, task: str = "CAUSAL_LM") -> PeftConfig:
    """PEFT's configuration of an adapter that sits inside the layers of a language model.

    Args:
        directory: Of the adapter.
        task: What it is to be for, as PEFT calls it; one that does not say may be for any.

    Raises:
        ModelError: It cannot be read, its weights are missing or a pickle, or it is an adapter of another kind.
    """
    from peft import PeftConfig

    weights = directory / ADAPTER_WEIGHTS
    if not weights.is_file() or is_pointer(weights):
        found = "is a pointer of Git LFS" if weights.is_file() else "is not there"
        pickled = " adapter_model.bin is a pickle, which can run code when it is read."
        raise ModelError(
            f"{weights} {found}.{pickled if (directory / 'adapter_model.bin').exists() else ''}",
            "Save or copy the adapter again, whole and as safetensors.",
        )
    read_json_object(directory / ADAPTER_CONFIG)
    with loading(f"The adapter in {directory} cannot be loaded", directory, packages=("peft",)):
        config = PeftConfig.from_pretrained(str(directory))
        kind, given = str(getattr(config.peft_type, "value", config.peft_type)), config.task_type
    if config.is_prompt_learning or config.is_adaption_prompt:
        raise ModelError(
            f"The adapter in {directory} is of type {kind}, which puts virtual tokens before the input; weitiao runs "
            "adapters that sit inside the layers.",
            "Use an adapter of another type, LoRA for instance.",
        )
    if given not in (None, task):
        scores = " What gives scores is run by `weitiao score`." if given == "SEQ_CLS" else ""
        raise ModelError(
            f"The adapter in {directory} was trained for the task {getattr(given, 'value', given)}, not {task}.",
            f"Use an adapter of the task {task}.{scores}",
        )
    return config


def require_base(directory: Path, fingerprint: str) -> None:
    """Refuse a base model that an adapter was not trained on.

    Args:
        directory: Of the adapter.
        fingerprint: `model_fingerprint` of the base model.

    Raises:
        ModelError: The note beside the adapter has another one.
    """
    note = read_note(directory)
    if note is not None and note.fingerprint != fingerprint:
        raise ModelError(
            f"The adapter in {directory} was trained on another base model ({note.base}, {note.fingerprint}); "
            f"this one is {fingerprint}.",
            _ANOTHER,
        )


def load_adapter(model: PreTrainedModel, directory: Path, *, task: str = "CAUSAL_LM") -> PeftModel:
    """Put the adapter of a directory on a base model.

    Args:
        model: The base model. Where the adapter was trained on a vocabulary of another size, it gets that size.
        directory: The adapter directory.
        task: What it is to be for.

    Raises:
        ModelError: The adapter is of a kind that cannot be run, or is damaged.
    """
    from peft import PeftModel

    from weitiao.methods.vocabulary import match_vocabulary

    config = read_adapter_config(directory, task=task)
    remedy = f"Check that it is complete. {_ANOTHER}"
    what = f"The adapter in {directory} does not fit {type(model).__name__}"
    with loading(what, directory, packages=("peft", "transformers"), remedy=remedy), warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of tensors that are missing, which are refused here
        match_vocabulary(model, directory / ADAPTER_WEIGHTS)
        tuned = PeftModel.from_pretrained(model, str(directory), config=config)
        _check_tensors(tuned, directory, what)
    return tuned


def differing_settings(directory: Path, config: PeftConfig) -> str | None:
    """In what an adapter computes otherwise than one of a configuration; None when its weights fit there as they are.

    How its weights began, and what was dropped while they learned, does not count.

    Args:
        directory: Of the adapter.
        config: PEFT's configuration of the other.
    """
    there, here = read_adapter_config(directory).to_dict(), config.to_dict()
    for name in ("peft_type", "r", *sorted(there.keys() | here.keys())):
        if name in (*NOT_COMPUTED, *_OF_THE_BEGINNING) or name.endswith("dropout"):
            continue
        one, other = _plain(there.get(name)), _plain(here.get(name))
        if one != other:
            return f"its {name} is {one}, not {other}"
    return None


def _plain(value: Any) -> Any:
    """A setting as it can be compared and shown: sets in order, members of an enumeration by their value."""
    return sorted(value) if isinstance(value, set | list | tuple) else getattr(value, "value", value)


def take_weights(model: nn.Module, directory: Path) -> None:
    """Give an adapter that is in a model the weights of one of the same form.

    Args:
        model: A `PeftModel`.
        directory: Of the adapter whose weights it gets.

    Raises:
        ModelError: They do not fit.
    """
    from peft import PeftModel, set_peft_model_state_dict
    from safetensors.torch import load_file

    assert isinstance(model, PeftModel)
    what = f"The adapter in {directory} does not fit {type(model.get_base_model()).__name__}"
    with loading(what, directory, packages=("peft",), remedy=f"Check that it is complete. {_ANOTHER}"):
        _check_tensors(model, directory, what)
        set_peft_model_state_dict(model, load_file(directory / ADAPTER_WEIGHTS))


def _check_tensors(model: PeftModel, directory: Path, what: str) -> None:
    """Refuse an adapter of which a part was left at its first values, or found no place: PEFT only warns of either."""
    from peft import get_peft_model_state_dict
    from safetensors import safe_open

    from weitiao.methods.vocabulary import embedding_names

    wanted = set(get_peft_model_state_dict(model, save_embedding_layers=False))
    with safe_open(directory / ADAPTER_WEIGHTS, framework="pt") as file:
        found = set(file.keys())
    vocabulary = tuple(f"base_model.model.{name}." for name in embedding_names(model.get_base_model()))
    if missing := sorted(wanted - found):
        raise ModelError(f"{what}: its file lacks {len(missing)} tensors, {missing[0]} among them.", _ANOTHER)
    if unplaced := sorted(name for name in found - wanted if not name.startswith(vocabulary)):
        raise ModelError(
            f"{what}: there is no place for {len(unplaced)} of its tensors, {unplaced[0]} among them.", _ANOTHER
        )
