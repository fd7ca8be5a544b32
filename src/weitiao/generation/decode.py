"""The loop that writes the answers of one batch, a token of each at a time."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import Protocol

from torch import Tensor, nn

from weitiao.errors import ModelError
from weitiao.generation.alone import Beginning, RowsAlone, run_beginning
from weitiao.generation.batches import Prompt, lay_out
from weitiao.generation.cache import Cache
from weitiao.generation.config import GenerationConfig
from weitiao.generation.network import Network
from weitiao.generation.parts import Prefix
from weitiao.generation.sampling import Sampler
from weitiao.models.attention import runs_alone
from weitiao.models.parts import context_length, decoder, evaluating


def decode(
    model: nn.Module,
    prompts: Sequence[Prompt],
    config: GenerationConfig,
    *,
    stop_ids: frozenset[int],
    numbers: Sequence[int],
    prefix: Prefix | Beginning | None = None,
    note: Sequence[list[float]] | None = None,
) -> Iterator[list[tuple[int, int]]]:
    """Write the answers to a batch of prompts.

    Args:
        model: A causal language model with forest attention, possibly with a PEFT adapter.
        prompts: Token ids, none empty.
        config: How answers are written.
        stop_ids: Tokens that end an answer.
        numbers: The number of each prompt among all, which chooses its random numbers.
        prefix: Tokens with which all prompts begin, computed before; each prompt has more than these.
        note: A list for each prompt, which gets the log-probability of every token of its answer.

    Yields:
        For each step, pairs of a prompt's index and its next token. After a token of `stop_ids` or its last allowed
        token a prompt appears no more.

    Raises:
        ModelError: The model is of a family that cannot be run so, or a prompt fills its whole context.
    """
    with evaluating(model):
        context = context_length(decoder(model).config)
        limits = [_limit(prompt, config, context) for prompt in prompts]
        sampler = Sampler(config, numbers, note)
        writing: Writing
        if runs_alone(model):
            assert not isinstance(prefix, Prefix)
            writing = RowsAlone(model, prompts, prefix)
        else:
            assert not isinstance(prefix, Beginning)
            writing = _Together(model, prompts, config, prefix)
        logits_BV = writing.prefill()
        rows, num_written = list(range(len(prompts))), 0
        while True:
            tokens = sampler.sample(logits_BV, rows)
            num_written += 1
            yield list(zip(rows, tokens, strict=True))
            ended = {
                place
                for place, (row_index, token) in enumerate(zip(rows, tokens, strict=True))
                if token in stop_ids or num_written == limits[row_index]
            }
            order = writing.drop(ended)
            rows, tokens = [rows[place] for place in order], [tokens[place] for place in order]
            if not rows:
                return
            logits_BV = writing.step(tokens)


def compute_prefix(model: nn.Module, tokens: Prompt, rest: Prompt) -> Prefix | Beginning:
    """What is to be known of the tokens with which prompts begin, for `decode`.

    Args:
        model: As for `decode`.
        tokens: At least one, and fewer than the model's context.
        rest: How one of the prompts goes on.
    """
    if runs_alone(model):
        return run_beginning(model, tokens, rest)
    with evaluating(model):
        return Network(model).prefix(tokens)


def _limit(prompt: Prompt, config: GenerationConfig, context: int | None) -> int:
    """How many tokens an answer may have."""
    if context is None:
        return config.max_new_tokens
    if len(prompt) >= context:
        raise ModelError(
            f"A prompt of {len(prompt)} tokens leaves no room for an answer in the model's context of {context}.",
            "Shorten the prompt, or use a model with a longer context.",
        )
    return min(config.max_new_tokens, context - len(prompt))


class Writing(Protocol):
    """The sequences of a batch, each growing by a token per step."""

    def prefill(self) -> Tensor:
        """Run the prompts; the logits [B, V] of their next tokens."""
        ...

    def drop(self, places: Collection[int]) -> list[int]:
        """Let sequences leave; for each that is left, the place in which it was before."""
        ...

    def step(self, tokens: Sequence[int]) -> Tensor:
        """Run the newest token of each sequence; the logits [B, V] of the next ones."""
        ...


class _Together:
    """Sequences that are computed together, what they have in common once."""

    def __init__(
        self, model: nn.Module, prompts: Sequence[Prompt], config: GenerationConfig, prefix: Prefix | None
    ) -> None:
        self._network, self._prefix = Network(model), prefix
        self._row = lay_out(prompts, share_prefixes=config.share_prefixes)
        self._cache = Cache.of(self._row, decoder(model).device)

    def prefill(self) -> Tensor:
        return self._network.prefill(self._row, self._cache, self._prefix)

    def drop(self, places: Collection[int]) -> list[int]:
        return self._cache.drop(places)

    def step(self, tokens: Sequence[int]) -> Tensor:
        return self._network.step(self._cache, tokens)
