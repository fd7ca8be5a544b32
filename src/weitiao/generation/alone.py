"""Answers of models whose rows are run alone: each has a state of its own, which `transformers` makes and reads."""

from __future__ import annotations

import inspect
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from transformers.generation.utils import ALL_CACHE_NAMES

from weitiao.models.parts import Readout, decoder


class RowsAlone:
    """The sequences of a batch, as `decode` writes them.

    Args:
        model: A causal language model whose rows are run alone.
        prompts: Token ids, none empty.
    """

    def __init__(self, model: nn.Module, prompts: Sequence[Sequence[int]]) -> None:
        self._decoder, self._readout = decoder(model), Readout(model)
        self._takes_positions = "position_ids" in inspect.signature(self._decoder.forward).parameters
        self._rows = [_Row(list(prompt)) for prompt in prompts]

    def prefill(self) -> Tensor:
        return torch.cat([self._run(row, row.tokens) for row in self._rows])

    def drop(self, places: Collection[int]) -> list[int]:
        order = [place for place in range(len(self._rows)) if place not in places]
        self._rows = [self._rows[place] for place in order]
        return order

    def step(self, tokens: Sequence[int]) -> Tensor:
        return torch.cat([self._step(row, token) for row, token in zip(self._rows, tokens, strict=True)])

    def _step(self, row: _Row, token: int) -> Tensor:
        row.tokens.append(token)
        # a model that hands on no state runs the whole sequence again
        return self._run(row, [token] if row.state else row.tokens)

    @torch.no_grad()
    def _run(self, row: _Row, tokens: Sequence[int]) -> Tensor:
        device, length = self._decoder.device, len(row.tokens)
        # said, because a hybrid model may count the tokens before by a layer that keeps none
        places = torch.arange(length - len(tokens), length, device=device)[None]
        positions = {"position_ids": places} if self._takes_positions else {}
        ids = torch.tensor([tokens], device=device)
        output = self._decoder(input_ids=ids, use_cache=True, **positions, **row.state)
        row.state = {name: output[name] for name in ALL_CACHE_NAMES if output.get(name) is not None}
        return self._readout(output.last_hidden_state[0, -1:])


@dataclass(slots=True)
class _Row:
    """A sequence, and what the model handed on of it: by the name under which it is given back."""

    tokens: list[int]
    state: dict[str, Any] = field(default_factory=dict)
