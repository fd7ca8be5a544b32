"""Keys and values of tokens that stand for themselves: with which sequences begin, or go on."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

from torch import Tensor, nn

from weitiao.errors import ModelError

States = tuple[Tensor, Tensor]
"""Keys and values of a layer, each [K, P, D]."""


@dataclass(frozen=True, slots=True, eq=False)
class Prefix:
    """Keys and values of P tokens with which sequences begin or go on, by attention module.

    Attributes:
        length: P.
        layers: Filled while they are computed.
    """

    length: int
    layers: dict[nn.Module, States] = field(default_factory=dict)

    def fill(self, layer: nn.Module, key: Tensor, value: Tensor) -> None:
        """Take over what a layer computed."""
        require_first(layer, self.layers)
        self.layers[layer] = (key, value)

    def write(self, layer: nn.Module, start: int, key: Tensor, value: Tensor) -> None:
        """Put the keys and values [K, T, D] of some of the tokens, those from `start` on, into their places."""
        if layer not in self.layers:
            whole = (states.new_empty(states.shape[0], self.length, states.shape[2]) for states in (key, value))
            self.layers[layer] = (next(whole), next(whole))
        for states, fresh in zip(self.layers[layer], (key, value), strict=True):
            states[:, start : start + fresh.shape[1]] = fresh

    @property
    def nbytes(self) -> int:
        """Memory of the keys and values."""
        return sum(states.nbytes for pair in self.layers.values() for states in pair)


@dataclass(frozen=True, slots=True)
class Part:
    """The first tokens of a prefix, which stand somewhere in a sequence: what comes before them is another part.

    Attributes:
        prefix: Where their keys and values are.
        length: How many of its tokens are meant, one at least.
    """

    prefix: Prefix
    length: int

    def states(self, layer: nn.Module) -> States:
        """Their keys and values in a layer."""
        key, value = self.prefix.layers[layer]
        return key[:, : self.length], value[:, : self.length]


@dataclass(frozen=True, slots=True)
class Shared:
    """A part of sequences of the batch.

    Attributes:
        part: The tokens.
        start: The position of the first.
        rows: Whose they are, on the device; None where all have it.
    """

    part: Part
    start: int
    rows: Tensor | None


def cut(parts: Sequence[Part], length: int) -> tuple[Part, ...]:
    """The first tokens of the parts of a sequence."""
    found = []
    for part in parts:
        if length > 0:
            found.append(Part(part.prefix, min(part.length, length)))
        length -= part.length
    return tuple(found)


def require_first(layer: nn.Module, layers: Collection[nn.Module]) -> None:
    """Refuse a layer that attends a second time in one call: its keys and values would take the place of the first.

    Raises:
        ModelError: It is among `layers`.
    """
    if layer in layers:
        raise ModelError(
            f"A {type(layer).__name__} attends more than once for a token; weitiao can train this model, but not "
            "let it answer.",
            "Choose a model of another family.",
        )
