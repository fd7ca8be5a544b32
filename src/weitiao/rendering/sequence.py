"""The form in which the layers below text see an example: token ids with a loss weight per token."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Sequence:
    """An example rendered to tokens.

    Attributes:
        row_id: The `Example.row_id` it was rendered from.
        token_ids: L token ids.
        weights: L loss weights. `weights[i]` weighs the prediction *of* token i from the tokens before it, so
            `weights[0]` is always 0; a prompt token weighs 0 unless the prompt is trained on.
        truncated: Whether the end was cut off, and with it the last end-of-turn token.
    """

    row_id: str
    token_ids: tuple[int, ...]
    weights: tuple[float, ...]
    truncated: bool = False

    def __post_init__(self) -> None:
        assert len(self.token_ids) == len(self.weights) > 0
        assert self.weights[0] == 0.0

    def __len__(self) -> int:
        return len(self.token_ids)

    @property
    def inputs(self) -> tuple[int, ...]:
        """The token ids that have to be computed: those before the last one that carries a weight (at least one)."""
        return self.token_ids[: next((i for i in range(len(self.weights) - 1, 0, -1) if self.weights[i]), 1)]

    @property
    def weight(self) -> float:
        """The sum of the loss weights."""
        return sum(self.weights)
