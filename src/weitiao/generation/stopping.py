"""Where answers end, written down for other programs: they stop where ours do."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import nn

from weitiao.generation.generate import stop_ids
from weitiao.models.parts import causal_model

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


def write_generation_config(directory: Path, model: nn.Module, tokenizer: PreTrainedTokenizerBase) -> None:
    """Write `generation_config.json`: the model's own, with every token at which our answers end.

    It is written as it is: transformers refuses to save settings that were changed when others, which came with the
    model, have no effect beside each other (a temperature without sampling).

    Args:
        directory: Where it goes; one that is there is replaced.
        model: A causal language model, with or without an adapter.
        tokenizer: With the chat template that the model is used with.
    """
    own = causal_model(model).generation_config
    values: dict[str, Any] = {} if own is None else json.loads(own.to_json_string(use_diff=True))
    values.pop("_from_model_config", None)
    found = values.get("eos_token_id")
    first = [] if found is None else [found] if isinstance(found, int) else list(found)
    ends = [*first, *sorted(stop_ids(model, tokenizer).difference(first))]
    values["eos_token_id"] = ends[0] if len(ends) == 1 else ends
    text = json.dumps(values, indent=2, sort_keys=True) + "\n"
    (directory / "generation_config.json").write_text(text, encoding="utf-8")
