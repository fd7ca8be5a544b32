"""Adapters on disk: PEFT's own format, with the tokenizer, and a note of the base model they belong to."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

from weitiao.errors import ModelError
from weitiao.models.boundary import loading
from weitiao.models.directory import is_pointer, read_json_object

if TYPE_CHECKING:
    from peft import PeftConfig, PeftModel
    from transformers import PreTrainedModel, PreTrainedTokenizerFast

ADAPTER_CONFIG = "adapter_config.json"
ADAPTER_WEIGHTS = "adapter_model.safetensors"
BASE_NOTE = "weitiao_base.json"

_ANOTHER = "Name the base model that the adapter was trained on, with --base-model."


def save_adapter(
    directory: Path,
    model: PeftModel,
    tokenizer: PreTrainedTokenizerFast,
    *,
    base: str,
    fingerprint: str,
    revision: str | None = None,
) -> None:
    """Write adapter, tokenizer, chat template and stop tokens, so that plain `peft` and `transformers` load them.

    Args:
        directory: Is made if it is not there.
        model: The adapted model.
        tokenizer: With the chat template that was trained with.
        base: Name of the base model as the recipe has it.
        fingerprint: `model_fingerprint` of the base model.
        revision: Of a base model from the hub.
    """
    from weitiao.generation.stopping import write_generation_config

    for config in model.peft_config.values():  # PEFT writes down where the model was loaded from, a cache for instance
        config.base_model_name_or_path, config.revision = base, revision
    model.save_pretrained(str(directory), save_embedding_layers=False)
    tokenizer.save_pretrained(str(directory))
    write_generation_config(directory, model, tokenizer)
    note = {"base": base, "fingerprint": fingerprint, **({} if revision is None else {"revision": revision})}
    (directory / BASE_NOTE).write_text(json.dumps(note, indent=2) + "\n", encoding="utf-8")


def read_base_note(directory: Path) -> dict[str, str]:
    """Name, fingerprint and revision of the base model of an adapter; empty for an adapter that another tool wrote.

    Raises:
        ModelError: The note is damaged.
    """
    path = directory / BASE_NOTE
    if not path.exists():
        return {}
    note = read_json_object(path)
    if not (isinstance(note.get("base"), str) and isinstance(note.get("fingerprint"), str)):
        raise ModelError(f"{path} names no base model: it is damaged.", "Copy the adapter again.")
    return {key: value for key, value in note.items() if isinstance(value, str)}


def read_adapter_config(directory: Path) -> PeftConfig:
    """PEFT's configuration of an adapter that sits inside the layers of a language model.

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
        kind, task = str(getattr(config.peft_type, "value", config.peft_type)), config.task_type
    if config.is_prompt_learning or config.is_adaption_prompt:
        raise ModelError(
            f"The adapter in {directory} is of type {kind}, which puts virtual tokens before the input; weitiao runs "
            "adapters that sit inside the layers.",
            "Use an adapter of another type, LoRA for instance.",
        )
    if task not in (None, "CAUSAL_LM"):
        raise ModelError(
            f"The adapter in {directory} was trained for the task {getattr(task, 'value', task)}, not to write text.",
            "Use an adapter of the task CAUSAL_LM.",
        )
    return config


def load_adapter(model: PreTrainedModel, directory: Path, *, fingerprint: str) -> PeftModel:
    """Put the adapter of a directory on a base model.

    Args:
        model: The base model. Where the adapter was trained on a vocabulary of another size, it gets that size.
        directory: The adapter directory.
        fingerprint: `model_fingerprint` of the base model.

    Raises:
        ModelError: The adapter belongs to another base model, is of a kind that cannot be run, or is damaged.
    """
    from peft import PeftModel

    from weitiao.methods.vocabulary import match_vocabulary

    note = read_base_note(directory)
    if note and note["fingerprint"] != fingerprint:
        raise ModelError(
            f"The adapter in {directory} was trained on another base model ({note['base']}, {note['fingerprint']}); "
            f"this one is {fingerprint}.",
            _ANOTHER,
        )
    config = read_adapter_config(directory)
    remedy = f"Check that it is complete. {_ANOTHER}"
    what = f"The adapter in {directory} does not fit {type(model).__name__}"
    with loading(what, directory, packages=("peft", "transformers"), remedy=remedy), warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of tensors that are missing, which are refused here
        match_vocabulary(model, directory / ADAPTER_WEIGHTS)
        tuned = PeftModel.from_pretrained(model, str(directory), config=config)
        _check_tensors(tuned, directory, what)
    return tuned


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
