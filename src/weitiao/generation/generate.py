"""Answers to prompts, and where they end, also for other programs."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import nn

from weitiao.generation.batches import common_beginning, make_batches
from weitiao.generation.config import GenerationConfig
from weitiao.generation.decode import compute_prefix, decode
from weitiao.models.attention import runs_alone
from weitiao.models.parts import causal_model, context_length, require_embeddings
from weitiao.models.probe import probe_once
from weitiao.rendering.render import end_of_turn_id

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


@dataclass(frozen=True, slots=True)
class Completion:
    """An answer.

    Attributes:
        token_ids: Its tokens, without the one that ended it.
        stopped: Whether the model ended it; False when it was broken off.
        end: The token that ended it; None when it was broken off.
        logprobs: Where they were asked for, of every token, the ending one included.
    """

    token_ids: tuple[int, ...]
    stopped: bool
    end: int | None = field(default=None, compare=False)
    logprobs: tuple[float, ...] = field(default=(), compare=False)


def generate(
    model: nn.Module,
    prompts: Sequence[Sequence[int]],
    config: GenerationConfig,
    *,
    stop_ids: frozenset[int],
    on_progress: Callable[[int, int], None] | None = None,
    logprobs: bool = False,
) -> list[Completion]:
    """Answer prompts; what all of them have in common is computed once, and so is what those of a batch have.

    Args:
        model: A causal language model loaded with forest attention, possibly with a PEFT adapter. Its training mode is
            off meanwhile.
        prompts: Token ids, none empty.
        config: How answers are written.
        stop_ids: Tokens that end an answer, see `stop_ids`.
        on_progress: Called with the number of answers that are done and of all, whenever some end.
        logprobs: Whether answers come with the log-probabilities of their tokens at this temperature, before top-k and
            top-p.

    Returns:
        The answers in the order of the prompts.

    Raises:
        ModelError: The model is of a family that cannot be run so, a prompt fills its whole context, or has a token
            without an embedding.
    """
    rows = [tuple(prompt) for prompt in prompts]
    require_embeddings(model, (("A prompt", row) for row in rows))
    probe_answers(model, rows, config)
    tokens: list[list[int]] = [[] for _ in rows]
    noted: list[list[float]] = [[] for _ in rows]
    batches = make_batches(
        rows,
        batch_size=config.batch_size,
        token_budget=config.token_budget,
        share_prefixes=config.share_prefixes,
    )
    several = len(rows if runs_alone(model) else batches) > 1  # a batch shares what it begins with by itself
    shared = common_beginning(rows) if config.share_prefixes and several else ()
    prefix = compute_prefix(model, shared, rows[0][len(shared) :]) if shared else None
    done = 0
    for batch in batches:
        running = len(batch)
        asked = [rows[i] for i in batch]
        note = [noted[i] for i in batch] if logprobs else None
        for step in decode(model, asked, config, stop_ids=stop_ids, numbers=batch, prefix=prefix, note=note):
            if on_progress is not None and len(step) < running:
                on_progress(done + len(batch) - len(step), len(rows))
            running = len(step)
            for place, token in step:
                tokens[batch[place]].append(token)
        done += len(batch)
        if on_progress is not None:
            on_progress(done, len(rows))
    return [_completion(answer, stop_ids, tuple(found)) for answer, found in zip(tokens, noted, strict=True)]


def probe_answers(model: nn.Module, prompts: Sequence[Sequence[int]], config: GenerationConfig) -> None:
    """Refuse a model whose answers would be others than by its own forward.

    Args:
        model: As for `generate`.
        prompts: Token ids.
        config: How answers are written.

    Raises:
        ModelError: As `probe_forest` does, or a prompt holds a token without an embedding.
    """
    if not prompts:
        return
    require_embeddings(model, (("A prompt", row) for row in prompts))
    longest = max(map(len, prompts)) + config.max_new_tokens
    context = context_length(causal_model(model).config)
    longest = longest if context is None else min(longest, context)
    probe_once(model, prompts, longest=longest, share_prefixes=config.share_prefixes)


def _completion(tokens: list[int], stop_ids: frozenset[int], logprobs: tuple[float, ...]) -> Completion:
    stopped = tokens[-1] in stop_ids
    return Completion(tuple(tokens[:-1] if stopped else tokens), stopped, tokens[-1] if stopped else None, logprobs)


def stop_ids(model: nn.Module, tokenizer: PreTrainedTokenizerBase) -> frozenset[int]:
    """The tokens that end an answer.

    They are the end-of-sequence tokens of the model's generation settings and of the tokenizer, and the token with
    which the chat template ends a turn.
    """
    generation_config = causal_model(model).generation_config
    of_model = None if generation_config is None else generation_config.eos_token_id
    found = [of_model] if of_model is None or isinstance(of_model, int) else list(of_model)
    return frozenset(
        token for token in (*found, tokenizer.eos_token_id, end_of_turn_id(tokenizer)) if token is not None
    )


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
