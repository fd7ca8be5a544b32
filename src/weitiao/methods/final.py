"""What a training leaves in `final/`: the weights, the tokenizer, and one note that says what they are."""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from weitiao.methods.note import BELOW, NOTE, Note

if TYPE_CHECKING:
    from torch import nn
    from transformers import PreTrainedTokenizerFast

    from weitiao.methods.method import Method


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
