"""Answers of models whose rows are run alone: each has a state of its own, which `transformers` makes and reads."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from weitiao.models.alone import HandedOn, run_on
from weitiao.models.in_float32 import in_float32
from weitiao.models.parts import Readout, decoder, evaluating
from weitiao.models.probe import ROUNDING


@dataclass(slots=True)
class Row:
    """A sequence, and what the model handed on of it."""

    tokens: list[int]
    after: HandedOn | None = None

    def copied(self) -> Row:
        """Another sequence that begins so."""
        return Row(list(self.tokens), None if self.after is None else self.after.copied())


@dataclass(frozen=True, slots=True)
class Beginning:
    """What prompts begin with, run once.

    Attributes:
        row: Its tokens and state, which every prompt copies.
        in_one: Whether the model goes on from a state with several tokens at once; else with one after another.
    """

    row: Row
    in_one: bool


class RowsAlone:
    """The sequences of a batch, as `decode` writes them.

    Args:
        model: A causal language model whose rows are run alone.
        prompts: Token ids, none empty.
        beginning: Of all of them, from `run_beginning`; each has more tokens than it.
    """

    def __init__(self, model: nn.Module, prompts: Sequence[Sequence[int]], beginning: Beginning | None = None) -> None:
        self._run, self._beginning = _Runner(model), beginning
        self._prompts = prompts
        self._rows: list[Row] = []

    def prefill(self) -> Tensor:
        logits = []
        for prompt in self._prompts:
            row = Row([]) if self._beginning is None else self._beginning.row.copied()
            rest = prompt[len(row.tokens) :]
            in_one = self._beginning is None or self._beginning.in_one or row.after is None
            logits.append(self._run(row, rest) if in_one else [self._run(row, [token]) for token in rest][-1])
            self._rows.append(row)
        return torch.cat(logits)

    def drop(self, places: Collection[int]) -> list[int]:
        order = [place for place in range(len(self._rows)) if place not in places]
        self._rows = [self._rows[place] for place in order]
        return order

    def step(self, tokens: Sequence[int]) -> Tensor:
        return torch.cat([self._run(row, [token]) for row, token in zip(self._rows, tokens, strict=True)])


def run_beginning(model: nn.Module, tokens: Sequence[int], rest: Sequence[int]) -> Beginning:
    """Run what prompts begin with, and find out how the model goes on from there.

    Some recurrent layers take a state with one token and start anew with several: it is measured.

    Args:
        model: A causal language model whose rows are run alone.
        tokens: At least one.
        rest: How one of the prompts goes on.
    """
    run, row = _Runner(model), Row([])
    with evaluating(model):
        run(row, tokens)
        with in_float32(model) as short:
            tried = row
            if short:
                tried = Row([])
                run(tried, tokens)
            at_once, one_by_one = tried.copied(), tried.copied()
            found = run(at_once, rest[:_TRIED])
            expected = [run(one_by_one, [token]) for token in rest[:_TRIED]][-1]
    error = (found - expected).abs().max()
    return Beginning(row, bool(error <= ROUNDING[found.dtype] * expected.abs().max()))


def run_alone(model: nn.Module) -> Callable[[Row, Sequence[int]], Tensor]:
    """What runs more tokens of a row, and gives the logits [1, V] behind the last."""
    return _Runner(model)


def goes_on_at_once(model: nn.Module) -> bool:
    """Whether a model whose rows are run alone goes on from a state with several tokens at once, as was measured."""
    tokens = list(range(1, 2 * _TRIED + 1))
    return run_beginning(model, tokens[:_TRIED], tokens[_TRIED:]).in_one


class _Runner:
    """Runs more tokens of a row; the logits [1, V] behind the last."""

    def __init__(self, model: nn.Module) -> None:
        self._decoder, self._readout = decoder(model), Readout(model)

    @torch.no_grad()
    def __call__(self, row: Row, tokens: Sequence[int]) -> Tensor:
        row.tokens += tokens
        if row.after is None:  # the first tokens, or a model that hands on nothing: all of the sequence is run
            tokens = row.tokens
        places = np.arange(len(row.tokens) - len(tokens), len(row.tokens))
        states_LD, after = run_on(self._decoder, np.array(tokens, np.int64), places, row.after)
        row.after = after if after.state else None
        return self._readout(states_LD[-1:])


_TRIED = 4
"""Tokens with which it is measured whether a model goes on with several at once."""
