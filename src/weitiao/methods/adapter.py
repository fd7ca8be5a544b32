"""Adapters on disk: PEFT's own format, with the tokenizer, and a note of the base model they belong to."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from weitiao.errors import ModelError

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import PreTrainedModel, PreTrainedTokenizerFast

ADAPTER_CONFIG = "adapter_config.json"
BASE_NOTE = "weitiao_base.json"


def save_adapter(
    directory: Path, model: PeftModel, tokenizer: PreTrainedTokenizerFast, *, base: str, fingerprint: str
) -> None:
    """Write adapter, tokenizer and chat template, so that plain `peft` and `transformers` load them.

    Args:
        directory: Is made if it is not there.
        model: The adapted model.
        tokenizer: With the chat template that was trained with.
        base: Name of the base model as the recipe has it.
        fingerprint: `model_fingerprint` of the base model.
    """
    model.save_pretrained(str(directory), save_embedding_layers=False)
    tokenizer.save_pretrained(str(directory))
    note = {"base": base, "fingerprint": fingerprint}
    (directory / BASE_NOTE).write_text(json.dumps(note, indent=2) + "\n", encoding="utf-8")


def read_base_note(directory: Path) -> dict[str, str]:
    """Name and fingerprint of the base model of an adapter; empty for an adapter that another tool wrote."""
    path = directory / BASE_NOTE
    if not path.exists():
        return {}
    note: dict[str, str] = json.loads(path.read_text(encoding="utf-8"))
    return note


def load_adapter(model: PreTrainedModel, directory: Path, *, fingerprint: str) -> PeftModel:
    """Put the adapter of a directory on a base model.

    Raises:
        ModelError: The adapter belongs to another base model, or its files are damaged.
    """
    from peft import PeftModel
    from safetensors import SafetensorError

    from weitiao.models.quiet import quiet_transformers

    note = read_base_note(directory)
    if note and note["fingerprint"] != fingerprint:
        raise ModelError(
            f"The adapter in {directory} was trained on another base model ({note['base']}, {note['fingerprint']}); "
            f"this one is {fingerprint}.",
            "Name the base model that the adapter was trained on.",
        )
    try:
        with quiet_transformers():
            return PeftModel.from_pretrained(model, str(directory))
    except (SafetensorError, RuntimeError, ValueError, OSError) as error:
        reason = str(error).strip().splitlines()[0]
        raise ModelError(
            f"The adapter in {directory} does not fit {type(model).__name__}: {reason}",
            "Check that it is complete and that the base model is the one it was trained on.",
        ) from error
