"""What a training leaves in `final/`: the weights, the tokenizer, and one note that says what they are."""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from weitiao.errors import ModelError
from weitiao.models.directory import read_json_object

if TYPE_CHECKING:
    from torch import nn
    from transformers import PreTrainedTokenizerFast

    from weitiao.methods.method import Method

NOTE = "weitiao_base.json"
BELOW = "start"
"""In an adapter directory: the adapter that was merged into the base model before this one was trained."""


@dataclass(frozen=True, slots=True)
class Note:
    """What `final/` says about itself.

    Attributes:
        base: Name of the base model as the recipe has it.
        fingerprint: `model_fingerprint` of the base model.
        revision: Of a base model from the hub.
        method: Type of the method.
        template: Name of the chat template; `auto` is the base model's own.
        date: The day that the template prints, when it prints one.
    """

    base: str
    fingerprint: str
    revision: str | None = None
    method: str | None = None
    template: str | None = None
    date: str | None = None


def save_final(
    directory: Path,
    model: nn.Module,
    tokenizer: PreTrainedTokenizerFast,
    *,
    method: Method,
    note: Note,
    below: Path | None = None,
) -> None:
    """Write weights, tokenizer, chat template, stop tokens and note, so that plain `peft` and `transformers` load them.

    Args:
        directory: Is made if it is not there.
        model: The tuned model.
        tokenizer: With the chat template that was trained with.
        method: Writes the weights.
        note: What they are.
        below: The adapter that was merged into the base model first; it is kept beside an adapter, which stands on it.
    """
    from weitiao.generation.generate import write_generation_config

    directory.mkdir(parents=True, exist_ok=True)
    method.save(directory, model, base=note.base, revision=note.revision)
    if below is not None and not (directory / "config.json").exists():
        shutil.copytree(below, directory / BELOW)
    tokenizer.save_pretrained(str(directory))
    write_generation_config(directory, model, tokenizer)
    values = {key: value for key, value in asdict(note).items() if value is not None}
    (directory / NOTE).write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")


def read_note(directory: Path) -> Note | None:
    """The note of a directory; None for an adapter that another tool wrote.

    Raises:
        ModelError: It is damaged.
    """
    path = directory / NOTE
    if not path.exists():
        return None
    note = read_json_object(path)
    if not (isinstance(note.get("base"), str) and isinstance(note.get("fingerprint"), str)):
        raise ModelError(f"{path} names no base model: it is damaged.", "Copy the adapter again.")
    return Note(**{key: value for key, value in note.items() if isinstance(value, str) and key in Note.__slots__})
