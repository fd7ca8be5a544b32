"""A batch that sequences join and leave while it runs: the newest tokens of all, and pieces of prompts, in one call."""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from weitiao.forest.layout import Ints
from weitiao.generation.alone import Row, goes_on_at_once, run_alone
from weitiao.generation.attention import Beside, PieceAttention, StepAttention
from weitiao.generation.cache import Cache
from weitiao.generation.network import Network
from weitiao.generation.parts import Part, Prefix, cut
from weitiao.generation.prefixes import Prefixes
from weitiao.models.attention import Attends, runs_alone

SHARED_TOKENS = 64
"""A beginning of so many tokens is read where it lies, for all sequences that have it at once; a shorter one is copied
into each: a call for it in every layer would take longer."""

PRIVATE_TOKENS = 256
"""So much of a prompt is copied at most. Private parts are as wide as the widest of them."""

WIDEST_TOKENS = 512
"""A private part that has grown so wide is put aside, and read where it lies from then on."""

Routing = Callable[[Sequence[tuple[Hashable, int]]], None]
"""Is told, before tokens are run, whose they are: in their order, so many for each."""


class Opening(Protocol):
    """A prompt on its way into the batch."""

    @property
    def whose(self) -> Hashable:
        """By which adapter it is read."""
        ...

    @property
    def cached(self) -> int:
        """How many of its tokens were known."""
        ...

    @property
    def left(self) -> int:
        """How many are still to be run."""
        ...


Begun = TypeVar("Begun", bound=Opening)


class Joining(Protocol[Begun]):
    """Sequences that come and go."""

    def begin(self, whose: Hashable, tokens: Sequence[int]) -> Begun:
        """Look a prompt up; it is not empty."""
        ...

    def run(self, newest: Sequence[int], pieces: Sequence[tuple[Begun, int]]) -> Tensor:
        """Run the newest token of each sequence, and so many of the next tokens of some openings.

        Returns:
            Logits [B + P, V] behind each sequence and each piece.
        """
        ...

    def join(self, opening: Begun) -> None:
        """Let a prompt that has been run become the last sequence."""
        ...

    def drop(self, places: Collection[int]) -> list[int]:
        """Let sequences leave; for each that is left, the place in which it was before."""
        ...

    def forget(self, whose: Hashable) -> None:
        """Let go of what is known of the sequences of an adapter."""
        ...


def joining(model: nn.Module, *, prefix_bytes: int, routing: Routing) -> Joining[Any]:
    """An empty batch for a model.

    Args:
        model: A causal language model, in evaluation mode; it was tried how it may be run (`probe_answers`).
        prefix_bytes: Memory for what is kept of earlier sequences.
        routing: Told whose the tokens are, before each run.
    """
    return JoiningAlone(model, routing) if runs_alone(model) else JoiningRows(model, Prefixes(prefix_bytes), routing)


@dataclass(slots=True, eq=False)
class _Begun:
    whose: Hashable
    tokens: Ints
    parts: tuple[Part, ...]
    fresh: Prefix
    done: int = 0

    @property
    def cached(self) -> int:
        return len(self.tokens) - self.fresh.length

    @property
    def left(self) -> int:
        return self.fresh.length - self.done


@dataclass(slots=True)
class _Joined:
    """A sequence: its tokens that were run; parts that are all of them but the private ones, without the first few."""

    whose: Hashable
    tokens: list[int]
    parts: tuple[Part, ...]
    skip: int


class JoiningRows:
    """Sequences whose tokens go through the model in one row; see `Joining`."""

    def __init__(self, model: nn.Module, prefixes: Prefixes, routing: Routing) -> None:
        self._network, self._prefixes, self._routing = Network(model), prefixes, routing
        self._cache = Cache(self._network.device)
        self._rows: list[_Joined] = []

    def begin(self, whose: Hashable, tokens: Sequence[int]) -> _Begun:
        ids = np.array(tokens, np.int64)
        parts = self._prefixes.find(whose, ids)
        return _Begun(whose, ids, parts, Prefix(len(ids) - sum(part.length for part in parts)))

    def run(self, newest: Sequence[int], pieces: Sequence[tuple[_Begun, int]]) -> Tensor:
        runs: list[tuple[int, Attends]] = []
        tokens, positions = list(newest), self._cache.positions
        if newest:
            for place, (row, token) in enumerate(zip(self._rows, newest, strict=True)):
                row.tokens.append(token)
                if self._cache.private_length(place) >= WIDEST_TOKENS:
                    row.parts, row.skip = self._cache.put_aside(place), 0
            self._cache.open_column()
            runs.append((len(newest), StepAttention(self._cache)))
        places = list(range(len(newest)))
        for begun, size in pieces:
            start = begun.cached + begun.done
            tokens += begun.tokens[start : start + size].tolist()
            positions += range(start, start + size)
            places.append(len(tokens) - 1)
            runs.append((size, PieceAttention(begun.parts, begun.fresh, begun.done)))
        self._routing([*((row.whose, 1) for row in self._rows if newest), *((one.whose, n) for one, n in pieces)])
        attends = runs[0][1] if len(runs) == 1 else Beside(runs)
        logits = self._network.run(torch.tensor(tokens), torch.tensor(positions), attends, places)
        for begun, size in pieces:
            begun.done += size
        return logits

    def join(self, opening: _Begun) -> None:
        assert opening.left == 0
        num, cached = len(opening.tokens), opening.cached
        parts = (*opening.parts, Part(opening.fresh, opening.fresh.length))
        where_it_lies = max(cached if cached >= SHARED_TOKENS else 0, num - PRIVATE_TOKENS)
        private = {layer: _states_from(parts, where_it_lies, layer) for layer in opening.fresh.layers}
        self._cache.join(cut(parts, where_it_lies), num - where_it_lies, private)
        self._rows.append(_Joined(opening.whose, opening.tokens.tolist(), parts, num - where_it_lies))
        self._prefixes.put(opening.whose, opening.tokens, parts)

    def drop(self, places: Collection[int]) -> list[int]:
        for place in places:
            row = self._rows[place]
            if self._cache.private_length(place) > row.skip:
                rest = self._cache.private(place, row.skip)
                tokens = np.array(row.tokens, np.int64)
                self._prefixes.put(row.whose, tokens, (*row.parts, Part(rest, rest.length)))
        order = self._cache.drop(places)
        self._rows = [self._rows[place] for place in order]
        return order

    def forget(self, whose: Hashable) -> None:
        self._prefixes.forget(whose)


def _states_from(parts: Sequence[Part], start: int, layer: nn.Module) -> tuple[Tensor, Tensor]:
    """Keys and values of the tokens of parts from one on."""
    found = []
    for part in parts:
        if start < part.length:
            found.append(tuple(states[:, max(start, 0) :] for states in part.states(layer)))
        start -= part.length
    key, value = (torch.cat(states, dim=1) for states in zip(*found, strict=True))
    return key, value


@dataclass(slots=True, eq=False)
class _BegunAlone:
    whose: Hashable
    tokens: Sequence[int]
    row: Row
    cached: int = 0

    @property
    def left(self) -> int:
        return len(self.tokens) - len(self.row.tokens)


class JoiningAlone:
    """Sequences of a model whose rows are run alone, one call for each; see `Joining`. Nothing of them is kept."""

    def __init__(self, model: nn.Module, routing: Routing) -> None:
        self._run, self._routing = run_alone(model), routing
        self._at_once = goes_on_at_once(model)
        self._rows: list[tuple[Hashable, Row]] = []

    def begin(self, whose: Hashable, tokens: Sequence[int]) -> _BegunAlone:
        return _BegunAlone(whose, tokens, Row([]))

    def run(self, newest: Sequence[int], pieces: Sequence[tuple[_BegunAlone, int]]) -> Tensor:
        logits = [self._next(whose, row, [token]) for (whose, row), token in zip(self._rows, newest, strict=True)]
        for begun, size in pieces:
            done = len(begun.row.tokens)
            some = begun.tokens[done : done + size]
            at_once = self._at_once or not done
            parts = [some] if at_once else [[token] for token in some]
            logits.append([self._next(begun.whose, begun.row, part) for part in parts][-1])
        return torch.cat(logits)

    def _next(self, whose: Hashable, row: Row, tokens: Sequence[int]) -> Tensor:
        # a model that hands on nothing is given all of the row again
        self._routing([(whose, len(tokens) + (len(row.tokens) if row.after is None else 0))])
        return self._run(row, tokens)

    def join(self, opening: _BegunAlone) -> None:
        self._rows.append((opening.whose, opening.row))

    def drop(self, places: Collection[int]) -> list[int]:
        order = [place for place in range(len(self._rows)) if place not in places]
        self._rows = [self._rows[place] for place in order]
        return order

    def forget(self, whose: Hashable) -> None:
        """There is nothing."""
